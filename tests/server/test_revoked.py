import os

import pytest

from voiceedge.errors import ConfigError
from voiceedge.server.grant import ANYBODY, Grant
from voiceedge.server.revoked import Revoked

GRANT = Grant(tenant="shop", subject="alice", token_id="t-1")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "revoked.txt"
    path.write_text("# stolen on Monday\nt-9   # a laptop\n\nbob\n", "utf-8")
    return path


def test_tokens_and_subjects_are_named(file):
    revoked = Revoked(file)
    assert revoked.names(Grant(tenant="shop", subject="alice", token_id="t-9"))
    assert revoked.names(Grant(tenant="shop", subject="bob", token_id="t-1"))
    assert not revoked.names(GRANT)
    assert not revoked.names(ANYBODY)


def test_a_line_that_is_added_counts_from_the_next_look_on(file):
    revoked = Revoked(file)
    file.write_text("t-1\n", "utf-8")
    later = file.stat().st_mtime_ns + 1_000_000_000
    os.utime(file, ns=(later, later))
    revoked.refresh()
    assert revoked.names(GRANT)


def test_a_file_that_is_gone_lets_nobody_back_in(file):
    revoked = Revoked(file)
    file.unlink()
    revoked.refresh()
    assert revoked.names(Grant(tenant="shop", subject="bob"))


def test_without_the_file_the_node_does_not_start(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        Revoked(tmp_path / "revoked.txt")
