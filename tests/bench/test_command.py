"""`voiceedge bench` hands what it is told to the probe."""

import json
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.bench.test_rendering import row
from voiceedge import cli
from voiceedge.bench import probe
from voiceedge.bench.figures import distribution
from voiceedge.bench.interval import Interval
from voiceedge.bench.options import NodeFull, NodeUnreachable
from voiceedge.bench.ramp_steps import Ramp, RampStep
from voiceedge.bench.recording import WIRE_RATE_HZ
from voiceedge.bench.report import BenchReport
from voiceedge.bench.selfcheck import SelfCheck
from voiceedge.budget import parse_budget


def two_turns(options):
    return BenchReport({}, (row("a.wav", 400.0), row("a.wav", 600.0, session=2)), budget=options.budget)


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command without a node; returns (exit code, options of the probe, stdout, stderr)."""
    asked = []
    found = two_turns

    async def run_bench(options, told):
        asked.append(options)
        report = found(options)
        for step in report.ramp.steps if report.ramp else ():
            told(step)
        return report

    monkeypatch.setattr(probe, "run_bench", run_bench)

    def call(*arguments, finds=two_turns):
        nonlocal found
        found = finds
        monkeypatch.setattr("sys.argv", ["voiceedge", "bench", *arguments])
        with pytest.raises(SystemExit) as exited:
            cli.main()
        return exited.value.code or 0, asked[-1] if asked else None, *capsys.readouterr()

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
    code, asked, _, _ = run("host:1", "--audio", "a.wav", *numbers, "--think", "1..4", "--hesitate", "0.3..1.2")
    assert code == 0
    assert (asked.sessions, asked.turns, asked.runs, asked.seed) == (4, 10, 3, 7)
    assert (asked.think, asked.hesitate) == (Interval(1.0, 4.0), Interval(0.3, 1.2))


@pytest.mark.parametrize("option", ["--think", "--hesitate"])
def test_what_is_no_range_is_one_line_and_exit_code_2(run, option):
    code, asked, out, err = run("--audio", "a.wav", option, "4..1")
    assert (code, asked, out) == (2, None, "")
    assert "'4..1' is no range of seconds" in " ".join(err.split())


def test_the_json_can_be_printed(run):
    _, _, out, _ = run("--audio", "a.wav", "--json", "-")
    assert list(json.loads(out)["sessions"]) == ["1", "2"]


# ── verdicts and exit codes ───────────────────────────────────────────────────────────────────────────────


def test_a_limit_that_is_kept_is_exit_code_0(run):
    code, asked, out, _ = run("--audio", "a.wav", "--slo", "p95<700ms", "--slo", "p50<500ms,wait.p95<300ms")
    assert code == 0
    assert asked.budget == parse_budget("p95<700ms,p50<500ms,wait.p95<300ms")
    assert "p95<700ms is kept" in out


def test_a_limit_that_is_missed_is_exit_code_1_and_names_the_segment(run):
    code, _, out, err = run("--audio", "a.wav", "--slo", "p95<500ms,llm.p95<100ms", "--json", "-")
    assert code == 1
    assert json.loads(out)["verdicts"][0]["blame"]["segment"] == "llm"
    assert "p95<500ms is missed: p95 is 600 ms, 1 of 2 turns late, most of it in llm" in " ".join(err.split())


def test_a_budget_can_lie_in_a_file_and_flags_come_on_top(run, tmp_path):
    file = tmp_path / "budget.toml"
    file.write_text("[total]\np95 = 500\n[segments.wait]\np95 = 300\n")
    code, asked, _, _ = run("--audio", "a.wav", "--budget", str(file), "--slo", "p50<450ms")
    assert code == 1
    assert asked.budget == parse_budget("p50<450ms,p95<500ms,wait.p95<300ms")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--slo", "fast"), "'fast' is no limit"),
        (("--budget", "missing.toml"), "Cannot read the budget missing.toml: No such file"),
        (("--ramp", "--soak", "1"), "it takes neither --soak nor --arrivals"),
        (("--ramp", "--sessions", "2"), "--sessions does not go with them"),
        (("--soak", "0"), "soak is 0"),
        (("--arrivals", "-1"), "arrivals is -1"),
        (("--at-most", "0"), "at-most is 0"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line_and_exit_code_2(run, arguments, said, monkeypatch):
    monkeypatch.undo()  # the probe itself refuses what makes no run
    code, _, out, err = run("127.0.0.1:1", "--audio", "a.wav", *arguments)
    assert (code, out) == (2, "")
    assert said in " ".join(err.split())


def test_a_broken_budget_file_is_exit_code_2(run, tmp_path):
    (tmp_path / "budget.toml").write_text("[total")
    code, _, _, err = run("--audio", "a.wav", "--budget", str(tmp_path / "budget.toml"))
    assert code == 2
    assert "is not valid TOML" in " ".join(err.split())


@pytest.mark.parametrize("error", [NodeUnreachable("nobody"), NodeFull("full")])
def test_a_node_that_cannot_be_reached_is_exit_code_3(run, error):
    def nobody(options):
        raise error

    code, _, _, err = run("--audio", "a.wav", finds=nobody)
    assert code == 3
    assert str(error) in err


def test_a_node_that_is_lost_is_exit_code_3_or_a_missed_limit(run):
    def lost(options):
        return BenchReport({}, (row("a.wav", 400.0),), "the node went away", budget=options.budget)

    assert run("--audio", "a.wav", finds=lost)[0] == 3
    code, _, _, err = run("--audio", "a.wav", "--slo", "p95<500ms", finds=lost)
    assert code == 1
    assert "ended early: the node went away" in err


def test_a_run_that_was_stopped_by_hand_is_judged_by_what_it_has(run):
    def halted(options):
        options.halt.ask()
        return BenchReport({}, (row("a.wav", 400.0),), "stopped by hand", budget=options.budget)

    assert run("--audio", "a.wav", "--slo", "p95<500ms", finds=halted)[0] == 0
    assert run("--audio", "a.wav", "--slo", "p95<300ms", finds=halted)[0] == 1


def test_a_run_that_the_bench_was_too_busy_for_is_exit_code_4_whatever_it_found(run):
    def busy(options):
        check = SelfCheck(97.0, distribution([1.0]), distribution([1.0]))
        return BenchReport({}, (row("a.wav", 400.0),), budget=options.budget, self_check=check)

    code, _, out, err = run("--audio", "a.wav", "--slo", "p95<300ms", finds=busy)
    assert code == 4
    assert "p95" in out  # the report is given all the same
    assert "The run is void" in err
    assert "97 % of a core" in " ".join(err.split())


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("option", ["--json", "--html", "--wav"])
def test_a_file_that_cannot_be_written_shows_before_anybody_speaks(run, option, tmp_path):
    code, asked, _, err = run("--audio", "a.wav", option, str(tmp_path / "nowhere" / "f.wav"))
    assert (code, asked) == (2, None)
    assert "No such file or directory" in " ".join(err.split())


def test_a_file_that_cannot_be_written_any_more_does_not_cost_the_report(run, tmp_path):
    def moved(options):
        (tmp_path / "folder").rmdir()
        return two_turns(options)

    (tmp_path / "folder").mkdir()
    code, _, out, err = run("--audio", "a.wav", "--html", str(tmp_path / "folder" / "report.html"), finds=moved)
    assert code == 2
    assert "client, all turns" in out
    assert "cannot be written: No such file or directory" in " ".join(err.split())


def test_a_run_that_does_not_come_about_leaves_files_as_they_were(run, tmp_path):
    def nobody(options):
        raise NodeUnreachable("nobody")

    files = {
        tmp_path / name: option for name, option in (("a.json", "--json"), ("a.html", "--html"), ("a.wav", "--wav"))
    }
    (tmp_path / "a.wav").write_bytes(b"of yesterday")
    (tmp_path / "a.json").write_text("{}")
    options = [part for file, option in files.items() for part in (option, str(file))]
    assert run("--audio", "b.wav", *options, finds=nobody)[0] == 3
    assert (tmp_path / "a.wav").read_bytes() == b"of yesterday"
    assert (tmp_path / "a.json").read_text() == "{}"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.json", "a.wav"]


@pytest.mark.parametrize("more", [(), ("--from-wav", "a.wav")])
def test_a_limit_for_what_no_turn_has_is_exit_code_2(run, more, monkeypatch):
    monkeypatch.undo()
    code, _, out, err = run("127.0.0.1:1", "--audio", "a.wav", "--slo", "wiat.p95<300ms", *more)
    assert (code, out) == (2, "")
    assert "no part of a turn is called 'wiat'" in " ".join(err.split())


# ── a ramp ────────────────────────────────────────────────────────────────────────────────────────────────


def ramp_to(capacity, reason, check=None):
    def finds(options):
        step = RampStep(
            max(capacity, 1),
            BenchReport({}, (row("a.wav", 400.0),), budget=options.budget, self_check=check),
            kept=capacity > 0,
        )
        return BenchReport({}, step.report.turns, budget=options.budget, ramp=Ramp((step,), capacity, reason))

    return finds


def test_a_ramp_without_a_limit_says_which_one_it_takes(run):
    code, asked, out, err = run("--audio", "a.wav", "--ramp", finds=ramp_to(3, "It is so"))
    assert code == 0
    assert (asked.ramp, asked.budget, asked.at_most) == (True, parse_budget("p95<800ms"), 64)
    assert "most conversations with p95<800ms" in err
    assert "Capacity: 3 conversations at once. It is so" in out
    assert err.splitlines()[-1].split() == ["3", "400", "400", "0", "-", "yes"]


def test_a_ramp_that_finds_no_room_for_one_is_exit_code_1(run):
    code, asked, _, err = run("--audio", "a.wav", "--ramp", "--slo", "p95<1s", finds=ramp_to(0, "Too slow"))
    assert code == 1
    assert asked.budget == parse_budget("p95<1s")
    assert "Too slow" in err


def test_a_ramp_whose_node_was_lost_is_exit_code_3_and_has_its_report(run):
    def lost(options):
        report = ramp_to(2, "The node was lost")(options)
        return replace(report, ramp=replace(report.ramp, lost=True))

    code, _, out, err = run("--audio", "a.wav", "--ramp", finds=lost)
    assert code == 3
    assert "Capacity: 2 conversations at once" in out
    assert "The node was lost" in err


def test_a_ramp_that_ended_because_of_the_bench_is_exit_code_4(run):
    check = SelfCheck(97.0, distribution([1.0]), distribution([1.0]))
    code, _, _, err = run("--audio", "a.wav", "--ramp", finds=ramp_to(0, "Too busy to tell", check))
    assert code == 4
    assert "Too busy to tell" in err


def test_a_ramp_that_was_stopped_by_hand_does_not_pass(run):
    def halted(options):
        options.halt.ask()
        return ramp_to(2, "Stopped by hand")(options)

    assert run("--audio", "a.wav", "--ramp", finds=halted)[0] == 130


def test_minutes_arrivals_and_their_most_are_handed_on(run):
    _, asked, _, _ = run("--audio", "a.wav", "--soak", "0.5", "--arrivals", "12", "--at-most", "7")
    assert (asked.soak_s, asked.arrivals_per_minute, asked.at_most) == (30.0, 12.0, 7)


def test_without_recordings_the_default_voice_is_at_hand_for_the_questions(run):
    _, asked, _, _ = run("host:1")
    assert (asked.audio, asked.say) == ((), ())
    assert asked.tts.voices
    assert run("host:1", "--audio", "a.wav")[1].tts is None


def test_interruptions_a_long_way_and_a_tape_are_asked_for(run, tmp_path):
    tape = tmp_path / "talk.wav"
    played = ("host:1", "--audio", "a.wav")
    code, asked, _, _ = run(*played, "--barge-in", "0.5..2", "--via-rtt", "150", "--wav", str(tape))
    assert (code, asked.barge_in, asked.via_rtt_ms) == (0, Interval(0.5, 2.0), 150.0)
    with asked.tapes as tapes:
        assert tapes.of(1).path == tape
    _, asked, _, _ = run(*played, "--sessions", "2", "--wav", str(tape))
    with asked.tapes as tapes:
        assert tapes.of(2).path == tmp_path / "talk-2.wav"
    _, asked, _, _ = run(*played)
    assert (asked.barge_in, asked.via_rtt_ms, asked.tapes) == (None, None, None)


def test_a_tape_is_measured_again_and_judged_without_a_node(run, tmp_path):
    stereo = np.zeros((WIRE_RATE_HZ * 4, 2), "<i2")
    stereo[WIRE_RATE_HZ : 2 * WIRE_RATE_HZ, 0] = 8000
    stereo[round(2.6 * WIRE_RATE_HZ) : 3 * WIRE_RATE_HZ, 1] = 8000
    with wave.open(str(tmp_path / "call.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(WIRE_RATE_HZ)
        file.writeframes(stereo.tobytes())
    code, asked, out, err = run("--from-wav", str(tmp_path / "call.wav"), "--json", "-", "--slo", "p50<500ms")
    assert (code, asked) == (1, None)
    assert json.loads(out)["turns"][0]["client_v2v_ms"] == 600.0
    assert "p50" in err
    assert run("--from-wav", str(tmp_path / "call.wav"), "--slo", "p50<700ms")[0] == 0
    assert run("--from-wav", str(tmp_path / "nothing.wav"))[0] == 2
