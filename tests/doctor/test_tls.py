"""The configured certificate, as a client would see it."""

import pytest

from tests.certificates import VALID, self_signed
from voiceedge.config import Config
from voiceedge.doctor import tls
from voiceedge.doctor.tls import tls_findings
from voiceedge.server.tls import tls_context
from voiceedge.trace import epoch_s

DAY_S = 86_400


def found(certificate=None, key=None, after_days=0):
    settings = Config(tls_certificate=certificate, tls_key=key)
    (finding,) = tls_findings(certificate, lambda: tls_context(settings), lambda: epoch_s() + int(after_days * DAY_S))
    return finding


def test_without_a_certificate_there_is_nothing_to_look_at():
    assert (found().level, found().text) == ("ok", "not configured: the port speaks plain HTTP")


def test_a_certificate_is_told_with_its_names_and_its_end(tmp_path):
    finding = found(*self_signed(tmp_path), after_days=0.5)
    assert "node.pem fits its key; for 127.0.0.1, localhost; until " in finding.text
    assert finding.text.endswith("GMT, in 1 day")
    assert finding.level == "warning"  # it ends in two days


def test_a_certificate_that_lasts_is_fine(tmp_path, monkeypatch):
    monkeypatch.setattr(tls, "SOON_DAYS", 1)
    assert found(*self_signed(tmp_path), after_days=0.5).level == "ok"


def test_a_certificate_that_is_not_valid_yet_is_a_problem(tmp_path):
    finding = found(*self_signed(tmp_path), after_days=-30)
    assert finding.level == "problem"
    assert finding.text.endswith("not valid yet")


def test_an_expired_certificate_is_a_problem_and_still_read(tmp_path):
    finding = found(*self_signed(tmp_path), after_days=VALID.days + 1)
    assert (finding.level, finding.advice) == ("problem", "Renew it.")
    assert "localhost" in finding.text
    assert finding.text.endswith("it has expired")


def test_a_key_that_does_not_belong_to_it_is_a_problem(tmp_path):
    certificate, _ = self_signed(tmp_path)
    _, key = self_signed(tmp_path, "other")
    finding = found(certificate, key)
    assert finding.level == "problem"
    assert "does not belong to the certificate" in finding.text


@pytest.mark.parametrize("missing", ["certificate", "key"])
def test_a_file_that_is_not_there_is_a_problem(tmp_path, missing):
    certificate, key = self_signed(tmp_path)
    (certificate if missing == "certificate" else key).unlink()
    assert f"Cannot read the TLS {missing}" in found(certificate, key).text


def test_half_a_configuration_is_a_problem(tmp_path):
    assert "go together" in found(self_signed(tmp_path)[0]).text
