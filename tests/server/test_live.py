import msgspec
import pytest

from voiceedge.protocol.extensions import TracedSegment, TurnTraced, TurnWords
from voiceedge.server.judging import Judge, read_budget
from voiceedge.server.live import KEPT_SESSIONS, KEPT_TURNS, Live, Percentiles


def traced(total_ms=None, status="completed", *, facts=None, marks=None, number=1, **segments):
    return TurnTraced(
        turn=number,
        response_id="resp_1",
        item_id="item_1",
        status=status,
        total_ms=total_ms,
        marks_ms=marks or {},
        critical_path=tuple(TracedSegment(name, ms) for name, ms in segments.items()),
        facts=facts or {},
    )


def live_after(*turns, budget=None):
    live = Live(read_budget(budget))
    judge = Judge(live.budget, live.report)
    for turn in turns:
        judge.report("sess_0123456789abcdef", turn)
    return live


def test_a_turn_is_kept_with_its_times_and_without_words_or_names():
    words = TurnWords(heard="my secret", said="is safe")
    (turn,) = live_after(msgspec.structs.replace(traced(300.0, wait=300.0), words=words)).recent
    assert (turn.number, turn.session, turn.turn, turn.total_ms) == (1, "abcdef", 1, 300.0)
    shown = msgspec.json.encode(turn).decode()
    for hidden in ("my secret", "is safe", "0123456789abcdef", "resp_1", "item_1"):
        assert hidden not in shown


def test_the_oldest_turns_are_forgotten():
    live = live_after(*(traced(float(number), number=number) for number in range(1, KEPT_TURNS + 11)))
    assert live.turns == KEPT_TURNS + 10
    assert [turn.number for turn in live.recent] == list(range(11, KEPT_TURNS + 11))


def test_who_has_seen_some_turns_is_given_the_rest():
    live = live_after(*(traced(1.0) for _ in range(5)))
    assert [turn.number for turn in live.since(3)] == [4, 5]
    assert [turn.number for turn in live.since(0)] == [1, 2, 3, 4, 5]
    assert live.since(5) == ()


def test_who_is_too_far_behind_is_told_so():
    live = live_after(*(traced(1.0) for _ in range(KEPT_TURNS + 5)))
    assert live.since(4) is None
    assert len(live.since(5)) == KEPT_TURNS


def test_the_last_turn_of_a_session_is_known_of_as_many_as_may_be_open():
    live = Live(read_budget(None))
    for number in range(KEPT_SESSIONS + 1):
        live.report(f"sess_{number}", traced(float(number)))
        live.report("sess_again", traced(-1.0))
    assert live.last_of("sess_0") is None
    assert live.last_of(f"sess_{KEPT_SESSIONS}").total_ms == KEPT_SESSIONS
    assert live.last_of("sess_again") is not None


def test_percentiles_are_of_the_turns_that_were_heard():
    live = live_after(
        *(traced(float(ms), wait=ms / 2, llm=ms / 2) for ms in range(100, 1100, 50)),
        traced(status="failed"),
        traced(status="cancelled"),
    )
    assert live.figures.total == Percentiles(550.0, 1000.0)
    assert live.figures.segments == {"wait": Percentiles(275.0, 500.0), "llm": Percentiles(275.0, 500.0)}
    assert (live.figures.turns, live.figures.last, live.figures.failed) == (22, 20, 1)


def test_before_the_first_turn_nothing_is_claimed():
    figures = live_after(budget="p95<800ms").figures
    assert figures.total == Percentiles(None, None)
    assert [(limit.found_ms, limit.kept) for limit in figures.budget] == [(None, False)]


def test_figures_follow_the_turns():
    live = live_after(traced(100.0))
    assert live.figures.total.p50 == 100.0
    live.report("sess_1", traced(50.0))
    assert live.figures.total.p50 == 50.0


def test_overruns_are_counted_by_segment_since_the_start():
    slow = [traced(900.0, llm=700.0, wait=200.0) for _ in range(KEPT_TURNS)]
    live = live_after(*slow, traced(900.0, wait=900.0), traced(100.0, wait=100.0), budget="p95<800ms")
    assert live.figures.over_budget == {"llm": KEPT_TURNS, "wait": 1}


def test_each_limit_says_whether_it_was_kept_and_failed_turns_count_against_it():
    kept, missed = live_after(
        traced(300.0, wait=300.0), traced(400.0, wait=300.0), budget="p95<450ms,wait.p50<300ms"
    ).figures.budget
    assert (kept.what, kept.found_ms, kept.kept) == ("total", 400.0, True)
    assert (missed.what, missed.found_ms, missed.kept) == ("wait", 300.0, False)
    (failed,) = live_after(traced(300.0), traced(status="failed"), budget="p95<450ms").figures.budget
    assert (failed.found_ms, failed.kept) == (None, False)


def test_who_was_interrupted_before_the_first_sound_waited_for_nothing():
    (limit,) = live_after(traced(300.0), traced(status="cancelled"), budget="p95<450ms").figures.budget
    assert limit.kept


def test_the_network_is_a_leg_where_it_was_measured():
    live = live_after(
        traced(300.0, facts={"round_trip_ms": 40.0}, wait=300.0), traced(300.0, wait=300.0), budget="network.p95<30ms"
    )
    assert live.figures.segments["network"] == Percentiles(40.0, 40.0)
    assert live.figures.budget[0].found_ms == pytest.approx(40.0)
    assert live.figures.over_budget == {"network": 1}
