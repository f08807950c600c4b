import io
import itertools

from rich.console import Console

from voiceedge.bench.options import Progress
from voiceedge.bench.rendering import progress_line, render
from voiceedge.bench.report import BenchReport, TurnRow
from voiceedge.bench.wire import PathSegment


def row(audio, client_ms=500.0, **more):
    fields = {
        "audio": audio,
        "expected_text": None,
        "user_text": "what time [bold]is[/bold] it",
        "agent_text": "half past two",
        "client_v2v_ms": client_ms,
        "server_v2v_ms": 490.0,
        "critical_path": (PathSegment("wait", 200.0), PathSegment("stt", 90.0), PathSegment("llm", 200.0)),
        "marks_ms": {},
        "facts": {},
        "leading_silence_ms": 5.0,
        "problems": (),
        "errors": (),
        "responses": 1,
        "send_lag_ms": 0.5,
    }
    return TurnRow(**(fields | more))


def printed(*rows, interrupted=None, width=120):
    out = io.StringIO()
    about = {"cpu": "Some CPU", "cores": 2, "load_before": 0.1, "load_after": 0.2, "round_trip_ms": 0.3}
    Console(file=out, width=width).print(render(BenchReport(about, rows, interrupted)))
    return out.getvalue()


def test_it_shows_what_was_said_and_how_long_it_took():
    text = printed(row("a.wav"))
    assert "what time [bold]is[/bold] it" in text  # words are never taken for markup
    for part in ("half past two", "a.wav", "500", "490", "p95", "Some CPU", "round trip 0.3 ms"):
        assert part in text


def test_the_bars_of_the_median_turn_lie_one_behind_the_other():
    lines = printed(row("a.wav")).split("where the median turn's time went")[1].splitlines()
    bars = [line for line in lines if "█" in line]
    ends = [(line.index("█"), line.rindex("█")) for line in bars]
    assert [line.split()[0] for line in bars] == ["wait", "stt", "llm", "rest"]
    assert all(after[0] == before[1] + 1 for before, after in itertools.pairwise(ends))
    assert [end - begin for begin, end in ends] == [13, 6, 13, 0]


def test_the_sliver_of_a_short_last_segment_is_drawn():
    lines = printed(row("a.wav", 490.5)).splitlines()
    (rest,) = [line for line in lines if line.strip().startswith("rest ") and "▏" in line]
    assert "…" not in rest


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
        "80 ms late",
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


def test_the_live_line_says_what_all_do():
    assert progress_line(Progress(2, 5, "a.wav", "waiting", ("waiting",))) == "2/5 a.wav: waiting"
    doing = ("waiting", "speaking", "listening", "speaking")
    assert progress_line(Progress(2, 20, "a.wav", "waiting", doing)) == (
        "2/20 of 4 conversations: 2 speaking, 1 waiting, 1 listening"
    )
