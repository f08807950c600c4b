"""What a person sees while models come, and of what is here."""

import io
from pathlib import Path

import pytest
from msgspec import structs
from rich.console import Console

from voiceedge import terminal
from voiceedge.config import Config
from voiceedge.engines.fake import fake_engines
from voiceedge.modelstore.fetch import Step
from voiceedge.modelstore.manifest import Catalogue, Manifest, ModelFile, PathSource, Profile
from voiceedge.modelstore.store import ModelStore
from voiceedge.server.judging import read_budget
from voiceedge.session.node import make_node
from voiceedge.session.warming import Speeds


def shown(renderable) -> list[str]:
    """Lines as on a terminal of 160 columns."""
    console = Console(file=io.StringIO(), width=160)
    console.print(renderable)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("step", "amount"),
    [
        (Step("m", "model.bin from https://x/y[1]", 12_340_000, 98_400_000), "12.3 of 98.4 MB"),
        (Step("m", "building: layer 3", 45, 100, "percent"), "45 %"),
        (Step("m", "pip download x==1"), ""),
    ],
)
def test_each_model_has_a_bar_with_what_is_being_done_and_how_much(monkeypatch, step, amount):
    monkeypatch.setattr(terminal, "err", Console(file=io.StringIO(), width=160))
    with terminal.pull_progress() as progress:
        progress(Step("m", "something before", 5, 10))
        progress(step)
        progress(Step("other", "waiting"))
        first, second = shown(progress._progress.get_renderable())
    assert f"m: {step.what}" in first
    assert first.rstrip().endswith(amount) if amount else "MB" not in first
    assert "other: waiting" in second


def test_the_table_tells_what_is_here_what_is_yours_and_what_speaks_for_whom(tmp_path):
    (tmp_path / "models" / "mouth").mkdir(parents=True)
    (tmp_path / "models" / "mouth" / "w").write_bytes(b"x")
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "bob.toml").touch()
    file = ModelFile("w", "0" * 64, 5_000_000, (PathSource("/w"),))
    mouth = Manifest("mouth", "tts", "kokoro", "kokoro", ("en",), "MIT", "made up", 7, (file,))
    bob = structs.replace(mouth, id="bob", licence="[odd]", voice_of="mouth")
    catalogue = Catalogue({"mouth": mouth, "bob": bob}, {"small": Profile("small", "x", "en", {"tts": "mouth"})})
    _, first, second = shown(terminal.models_table(ModelStore(tmp_path, catalogue)))
    assert first.split() == ["mouth", "tts", "yes", "5", "MB", "7", "MB", "MIT", "small"]
    assert second.split() == ["bob", "(yours)", "voice", "of", "mouth", "no", "5", "MB", "7", "MB", "[odd]"]


@pytest.mark.parametrize(
    ("budget", "says"), [(None, "none is set"), ("p95<0.8s,wait.p95<300ms", "p95<800ms, wait.p95<300ms")]
)
def test_the_start_says_where_turns_are_watched_and_what_is_expected_of_them(monkeypatch, budget, says):
    monkeypatch.setattr(terminal, "out", Console(file=io.StringIO(), width=160))
    config = Config()
    node = make_node(config, fake_engines(), 1, lambda *_: None)
    node.compute.close()
    terminal.announce(
        node, config, Speeds(1.0, 1.0, 1.0, 1.0, 1.0, "Hello."), 8080, 0.1, read_budget(budget), is_open=True
    )
    lines = terminal.out.file.getvalue().splitlines()
    assert f"  trace   http://localhost:8080/trace  (budget: {says})" in lines


def announced(monkeypatch, config) -> list[str]:
    monkeypatch.setattr(terminal, "out", Console(file=io.StringIO(), width=160))
    node = make_node(config, fake_engines(), 1, lambda *_: None)
    node.compute.close()
    speeds = Speeds(1.0, 1.0, 1.0, 1.0, 1.0, "Hello.")
    terminal.announce(node, config, speeds, 8080, 0.1, read_budget(None), is_open=True)
    terminal.say_goodbye(config)
    return terminal.out.file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "sessions that agree to it in recordings, for 7 days and up to 1000 MB (docs/privacy.md)"),
        (
            {"record_consent": "operator", "record_days": 1},
            "every session that does not refuse in recordings, for 1 days and up to 1000 MB (docs/privacy.md)",
        ),
    ],
)
def test_a_node_that_records_says_so_at_its_start(monkeypatch, caplog, settings, says):
    config = Config(record=Path("recordings"), **settings)
    assert f"  records {says}" in announced(monkeypatch, config)
    with caplog.at_level("INFO", "voiceedge"):
        assert announced(monkeypatch, structs.replace(config, log_format="json")) == []
    assert f"VoiceEdge records {says}" in caplog.messages


def test_whoever_collects_json_lines_gets_no_others(monkeypatch, caplog):
    assert not any("records" in line for line in announced(monkeypatch, Config()))
    with caplog.at_level("INFO", "voiceedge"):
        assert announced(monkeypatch, Config(log_format="json")) == []
    assert caplog.messages == [
        "VoiceEdge is ready after 0.1 s (profile standard, port 8080)",
        "VoiceEdge has stopped.",
    ]
