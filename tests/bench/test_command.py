"""`voiceedge bench` hands what it is told to the probe."""

import json
from pathlib import Path

import pytest

from tests.bench.test_rendering import row
from voiceedge import cli
from voiceedge.bench import probe
from voiceedge.bench.interval import Interval
from voiceedge.bench.report import BenchReport


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command without a node; returns (exit code, options of the probe, stdout, stderr)."""
    asked = []

    async def run_bench(options):
        asked.append(options)
        return BenchReport({}, (row("a.wav", 400.0), row("a.wav", 600.0, session=2)))

    monkeypatch.setattr(probe, "run_bench", run_bench)

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["voiceedge", "bench", *arguments])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        return exited.value.code or 0, asked[0] if asked else None, *capsys.readouterr()

    return call


def test_without_options_one_conversation_is_held_once(run):
    code, asked, out, _ = run("host:1", "--audio", "a.wav")
    assert code == 0
    assert (asked.url, asked.audio) == ("host:1", (Path("a.wav"),))
    assert (asked.sessions, asked.turns, asked.runs, asked.seed) == (1, None, 1, 0)
    assert (asked.think, asked.hesitate) == (Interval(1.0, 1.0), None)
    assert "p99" in out


def test_many_conversations_pauses_and_runs_are_asked_for(run):
    numbers = ("--sessions", "4", "--turns", "10", "--runs", "3", "--seed", "7")
    code, asked, _, _ = run("host:1", *numbers, "--think", "1..4", "--hesitate", "0.3..1.2")
    assert code == 0
    assert (asked.sessions, asked.turns, asked.runs, asked.seed) == (4, 10, 3, 7)
    assert (asked.think, asked.hesitate) == (Interval(1.0, 4.0), Interval(0.3, 1.2))


@pytest.mark.parametrize("option", ["--think", "--hesitate"])
def test_what_is_no_range_is_one_line_and_exit_code_2(run, option):
    code, asked, out, err = run(option, "4..1")
    assert (code, asked, out) == (2, None, "")
    assert "'4..1' is no range of seconds" in " ".join(err.split())


def test_the_json_can_be_printed(run):
    _, _, out, _ = run("--json", "-")
    assert list(json.loads(out)["sessions"]) == ["1", "2"]
