import io
from dataclasses import replace

import pytest
from rich.console import Console

from tests.bench.rows import row, whole_report
from voiceedge.bench.ramp_steps import Ramp, RampStep
from voiceedge.bench.rendering import render
from voiceedge.bench.report import INTERVAL, BenchReport
from voiceedge.bench.wire import PathSegment


def shown(report, width=120):
    out = io.StringIO()
    Console(file=out, width=width).print(render(report), crop=False)
    return out.getvalue()


def printed(*rows, interrupted=None, width=120):
    about = {"cpu": "Some CPU", "cores": 2, "load_before": 0.1, "load_after": 0.2, "round_trip_ms": 0.3}
    return shown(BenchReport(about, rows, interrupted), width)


def test_it_shows_what_was_said_and_how_long_it_took():
    text = printed(row("a.wav"))
    assert "what time [bold]is[/bold] it" in text  # words are never taken for markup
    for part in ("half past two", "a.wav", "500", "490", "p95", "Some CPU", "round trip 0.3 ms"):
        assert part in text


def test_a_row_fits_80_columns_with_every_segment():
    names = ("wait", "end_of_turn", "stt", "llm", "tts", "queue", "send")
    path = tuple(PathSegment(name, 1234.0) for name in names)
    lines = printed(row("a-recording-with-a-long-name.flac", 12345.0, critical_path=path), width=80).splitlines()
    (line,) = [line for line in lines if "12345" in line and "a-recording-wit…" in line]
    assert line.count("1234 ") == len(names)


def test_failures_are_said():
    text = printed(
        row("a.wav"),
        row("b.wav", None, problems=("no_answer",), errors=("engine failed",), critical_path=()),
        row("c.wav", send_lag_ms=80.0),
        interrupted="the node went away",
    )
    for part in (
        "3 turns, 1 failed",
        "1 x no answer",
        "wrong  no answer",
        "engine failed",
        "the node went away",
        "80 ms late, which counts against the node",
    ):
        assert part in text


def test_a_run_without_any_answer_can_be_shown():
    text = printed(row("a.wav", None, server_v2v_ms=None, critical_path=(), problems=("no_answer",)))
    assert "1 turns, 1 failed" in text
    assert "median turn" not in text


# ── many turns ────────────────────────────────────────────────────────────────────────────────────────────


def test_of_several_conversations_only_what_went_wrong_is_written_out():
    good = [row("good.wav", 400.0 + n, session=n) for n in (1, 2, 3)]
    text = printed(*good, row("bad.wav", None, session=2, problems=("no_answer",), critical_path=()))
    assert "bad.wav" in text
    assert "transcripts" not in text
    assert text.count("good.wav") == 1  # the median turn, above its waterfall
    assert "voice to voice of each conversation" in text
    assert [line.split()[:6] for line in text.splitlines() if line.split()[:2] == ["2", "2"]] == [
        ["2", "2", "402", "∞", "∞", "402"]
    ]


def test_a_number_of_conversations_that_was_refused_has_no_bar():
    kept, refused = (
        RampStep(2, BenchReport({}, (row("a", 400.0),)), kept=True),
        RampStep(4, BenchReport({}, ()), kept=False),
    )
    ramp = Ramp((kept, refused), 2, "The node takes no more than 2 sessions")
    text = shown(BenchReport({}, (row("a"),), ramp=ramp))
    table = text.split("conversations at once")[1].split("Capacity")[0]
    (line,) = (line for line in table.splitlines() if line.split()[:1] == ["4"])
    assert line.split() == ["4", "0", "-", "-", "-", "-", "refused"]


def test_runs_have_a_row_each():
    text = printed(row("a", 400.0), row("a", 600.0, run=2))
    assert "voice to voice of each run" in text
    assert "voice to voice of each conversation" not in text


def test_talking_over_is_a_share_and_a_restart_alone_is_not_held_against_the_node():
    rows = [row("a", hesitates_ms=500.0, restarts=1) for _ in range(3)]
    text = " ".join(printed(*rows, row("b", hesitates_ms=500.0, problems=("talked_over",), restarts=1)).split())
    assert "answers audible before the user had finished: 25.0 % of the turns" in text
    assert "heard to go on: 4 turns, of which the user noticed nothing in 3" in text
    assert "0.0 % of the turns" in printed(*rows)
    assert "before the user had finished" not in printed(row("a"))


def test_what_the_node_says_of_drafts_is_told():
    text = " ".join(printed(row("a", facts={"answer_ready_at_endpoint": 1, "wasted_ms": 100, "work_ms": 300})).split())
    assert "answer ready when the endpoint was decided: 100 %; engine time thrown away: 25 %" in text


# ── what makes people trust it ────────────────────────────────────────────────────────────────────────────


def test_it_says_first_what_was_measured():
    assert " ".join(shown(whole_report(), 80).split()).lower().startswith(f"voice to voice: {INTERVAL.lower()}")


def test_waiting_queueing_computing_and_the_network_have_rows_and_cold_turns_their_own():
    lines = shown(whole_report()).split("voice to voice (ms)")[1].split("Each row has")[0].splitlines()
    rows = {line[:32].strip(): line[32:].split() for line in lines if line.startswith(" ")}
    assert rows["client, all turns"] == ["9", "254", "∞", "∞", "257"]
    assert rows["warm"][0] == "8"
    assert rows["cold"] == ["1", "250", "250", "250", "250"]
    assert rows["endpoint wait"] == ["8", "224", "224", "224", "224"]
    assert rows["compute"][1] == "11"
    assert rows["network"][1] == "4"
    assert rows["leading silence of the voice"][1] == "5"
    assert rows["node's zero is later by"][1] == "-2"
    assert rows["unexplained"][1:] == ["11", "15", "15", "15"]
    assert rows["interrupted: silent after"][1] == "180"


def test_the_columns_of_what_turns_are_made_of_add_up():
    text = shown(whole_report()).split("what turns around each percentile are made of")[1].split("Means of")[0]
    p50 = {line[:18].strip(): line[18:].split()[0] for line in text.splitlines() if line[1:2].isalpha()}
    del p50["turns"]
    client_ms = int(p50.pop("client"))
    assert sum(map(int, p50.values())) == pytest.approx(client_ms, abs=2)  # rounded


def test_verdicts_the_capacity_and_the_comparison_are_said():
    text = " ".join(shown(whole_report()).split())
    assert "p50<800ms is kept: p50 is 254 ms" in text
    assert "wait.p95<200ms is missed" in text
    assert "Capacity: 1 conversations at once. With 2 p95 was missed" in text
    assert "no difference: +0.0 %" in text
    assert "self-check passed: the bench used 3 % of a core" in text


def test_a_void_run_says_so():
    report = whole_report()
    busy = replace(report.self_check, cpu_percent=99.0)
    assert "VOID: the bench itself could not keep up" in shown(replace(report, self_check=busy))


@pytest.mark.parametrize("width", [80, 100, 140])
def test_nothing_is_wider_than_the_terminal_but_the_command(width):
    *lines, command = shown(whole_report(), width).splitlines()
    assert command == "voiceedge bench host:1 --slo 'p95<200ms'"
    assert max(map(len, lines)) <= width


def test_a_long_command_stays_in_one_piece():
    command = "voiceedge bench " + " ".join(f"--say word{n}" for n in range(40))
    assert shown(replace(whole_report(), command=command), 80).splitlines()[-1] == command
