"""`voiceedge doctor`, as a person or a script uses it."""

import copy
import json
import weakref

import pytest

from tests.certificates import self_signed
from tests.e2e.nodes import running_node
from voiceedge import cli, cli_doctor
from voiceedge.config import FIELDS, PREFIX
from voiceedge.doctor import selftest
from voiceedge.doctor.models import Inventory
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.loading import thread_plan
from voiceedge.machine import Machine
from voiceedge.modelstore.manifest import read_catalogue, shipped_folder
from voiceedge.modelstore.store import LocalModel


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs `voiceedge doctor …` on a store without models; returns (exit code, stdout, stderr)."""
    for name in FIELDS:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments):
        command = ["voiceedge", "doctor", *map(str, arguments), "--home", str(tmp_path / "home")]
        monkeypatch.setattr("sys.argv", command)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *capsys.readouterr()

    return call


@pytest.fixture
def nano(monkeypatch):
    """All models of one profile are here, as far as anybody looks."""
    catalogue = read_catalogue([shipped_folder()])
    sound = {
        m.id: LocalModel(m.id, m.stage, m.engine, shipped_folder(), {}, None, m)
        for m in catalogue.stages("nano").values()
    }
    monkeypatch.setattr(cli_doctor, "take_inventory", lambda *_, **__: Inventory((), sound))
    monkeypatch.setattr(selftest, "SELF_TEST_S", 0.0)
    return sound


def told(run, *arguments):
    code, out, _ = run("--json", *arguments)
    return code, json.loads(out)


def levels(report, topic):
    return [finding["level"] for finding in report["findings"] if finding["topic"] == topic]


def test_without_models_it_says_how_to_pull_them_and_goes_on(run, monkeypatch):
    monkeypatch.setattr(selftest, "MOST_S", 0.0)  # of the voice, which every installation has
    code, out, _ = run("--port", 0)
    assert code == 0
    assert "voiceedge models pull standard" in out
    assert "unknown: no profile has all of its models here" in out
    assert out.rstrip().endswith("no problems")


def test_every_topic_is_looked_at(run):
    _, report = told(run, "--quick", "--port", 0)
    assert {"machine", "clock", "models", "network", "tls"} == {finding["topic"] for finding in report["findings"]}
    assert report["estimate"]["profiles"] == []


def test_a_problem_gives_exit_code_1(run):
    code, report = told(run, "--quick", "--host", "192.0.2.1")
    assert (code, report["problems"], levels(report, "network")) == (1, 1, ["problem"])


def test_a_node_that_serves_the_port_is_no_problem(run):
    with running_node(fake_engines()) as node:
        code, report = told(run, "--quick", "--port", node.port)
    assert (code, levels(report, "network")) == (0, ["ok"])


def test_the_certificate_of_the_settings_is_looked_at(run, monkeypatch, tmp_path):
    certificate, key = self_signed(tmp_path)
    monkeypatch.setenv("VOICEEDGE_TLS_CERTIFICATE", str(certificate))
    assert levels(told(run, "--quick", "--port", 0)[1], "tls") == ["problem"]
    monkeypatch.setenv("VOICEEDGE_TLS_KEY", str(key))
    assert levels(told(run, "--quick", "--port", 0)[1], "tls") == ["warning"]  # it ends in two days


def test_the_configured_nodes_are_measured(run, monkeypatch, tmp_path):
    with running_node(fake_engines()) as node:
        (tmp_path / "nodes.toml").write_text(
            f'[[node]]\nurl = "{node.http}"\nname = "here"\n[[node]]\nurl = "ws://127.0.0.1:1"\n', encoding="utf-8"
        )
        monkeypatch.setenv("VOICEEDGE_REGIONS_FILE", str(tmp_path / "nodes.toml"))
        monkeypatch.setenv("VOICEEDGE_REGION", "NRT")
        code, report = told(run, "--quick", "--port", 0)
    assert (code, levels(report, "regions")) == (0, ["ok", "ok", "warning"])
    assert "this machine stands in Tokyo (35.68, 139.69)" in [finding["text"] for finding in report["findings"]]


def test_every_model_is_tried_and_the_profile_estimated(run, monkeypatch, nano):
    engines = fake_engines(answer="one two three four five six")
    monkeypatch.setattr(selftest, "loader", lambda stage, _: lambda _: getattr(engines, stage))
    code, report = told(run, "--port", 0)
    assert code == 0
    assert {speed["model"] for speed in report["self_test"]} == set(nano)
    (nano_estimate,) = report["estimate"]["profiles"]
    assert (nano_estimate["profile"], report["estimate"]["recommended"]) == ("nano", "nano")
    assert nano_estimate["sessions"] >= 1


def test_an_engine_is_let_go_before_the_next_one_is_loaded(run, monkeypatch, nano):
    engines = fake_engines(answer="one two three four five six")
    loaded, left = [], []

    def load(stage):
        left.append(sum(engine() is not None for engine in loaded))
        engine = copy.copy(getattr(engines, stage))
        loaded.append(weakref.ref(engine))
        return engine

    monkeypatch.setattr(selftest, "loader", lambda stage, _: lambda _: load(stage))
    assert run("--port", 0)[0] == 0
    assert left == [0] * len(nano)


def test_threads_are_planned_as_a_node_plans_them(run, monkeypatch, nano):
    engines, planned = fake_engines(answer="one two three four five six"), []
    monkeypatch.setattr(cli_doctor, "machine", lambda: Machine("x", ("AVX2",), 8, quota=2.5))
    monkeypatch.setattr(
        selftest, "loader", lambda stage, plan: planned.append(plan) or (lambda _: getattr(engines, stage))
    )
    run("--port", 0)
    assert planned == [thread_plan(2)] * len(nano)


def test_a_model_that_does_not_run_is_a_problem_and_the_others_are_tried(run, monkeypatch, nano):
    engines = fake_engines(answer="one two three four five six", fail_at={"stt"})
    monkeypatch.setattr(selftest, "loader", lambda stage, _: lambda _: getattr(engines, stage))
    code, report = told(run, "--port", 0)
    assert (code, levels(report, "self-test")) == (1, ["problem"])
    assert len(report["self_test"]) == len(nano) - 1
    assert report["estimate"]["profiles"] == []


@pytest.mark.parametrize(
    ("arguments", "message"), [(("--profile", "none"), "no profile 'none'"), (("--port", -1), "port")]
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(run, arguments, message):
    code, out, err = run("--quick", *arguments)
    assert (code, out) == (2, "")
    assert message in err
