import pytest

from voiceedge.bench.slo import judge, kept
from voiceedge.budget import parse_budget
from voiceedge.trace import SEGMENTS, PathSegment

USUAL = {"wait": 80.0, "end_of_turn": 0.0, "stt": 20.0, "llm": 60.0, "tts": 10.0, "queue": 1.0, "send": 1.0}


def path(**more):
    return tuple(PathSegment(name, ms) for name, ms in (USUAL | more).items())


def judged(paths, budget, failed=0):
    totals = [sum(leg.ms for leg in one) for one in paths] + [None] * failed
    return judge(totals, [*paths, *[()] * failed], parse_budget(budget))


def test_limits_that_are_kept_blame_nobody():
    found = judged([path()] * 20, "p95<300ms,wait.p95<100ms")
    assert kept(found)
    assert [one.blame for one in found] == [None, None]
    assert "p95<300ms is kept: p95 is 172 ms" in str(found[0])


@pytest.mark.parametrize("segment", SEGMENTS)
def test_of_some_late_turns_the_segment_that_grew_is_blamed(segment):
    slow = path(**{segment: USUAL[segment] + 200.0})
    (found,) = judged([path()] * 15 + [slow] * 5, "p95<300ms")
    assert not kept([found])
    assert found.late == 5
    assert (found.blame.segment, found.blame.ms, found.blame.usual_ms) == (
        segment,
        slow_ms(slow, segment),
        USUAL[segment],
    )


def slow_ms(path_, segment):
    return next(leg.ms for leg in path_ if leg.segment == segment)


@pytest.mark.parametrize("segment", ["end_of_turn", "stt", "llm", "tts", "queue"])
def test_where_all_turns_are_late_the_one_beyond_a_small_nodes_is_blamed(segment):
    (found,) = judged([path(**{segment: USUAL[segment] + 200.0})] * 10, "p95<300ms")
    assert found.blame.segment == segment


def test_a_wait_as_long_as_it_is_without_drafts_is_not_blamed_for_a_slow_engine():
    (found,) = judged([path(wait=224.0, end_of_turn=200.0)] * 10, "p95<400ms")
    assert found.blame.segment == "end_of_turn"


def test_ordinary_silence_in_front_of_the_voice_is_not_blamed_where_the_node_was_slow():
    (found,) = judged([path(llm=160.0, leading_silence=60.0)] * 10, "p95<300ms")
    assert (found.blame.segment, found.blame.usual_ms) == ("llm", 130.0)


def test_what_lies_beyond_the_node_is_blamed_where_the_node_was_not_slow():
    (found,) = judged([path(network=300.0, leading_silence=60.0)] * 10, "p95<300ms")
    assert (found.blame.segment, found.blame.usual_ms) == ("network", 0.0)


def test_a_segment_that_is_over_its_own_limit_comes_first():
    total, own = judged([path(tts=300.0, llm=200.0)] * 10, "p95<400ms,llm.p95<100ms")
    assert (total.blame.segment, total.blame.usual_ms, total.blame.usual) == ("llm", 100.0, "is its limit")
    assert own.blame.segment == "llm"


def test_failed_turns_are_counted_and_have_no_segment():
    (found,) = judged([path()] * 10, "p95<300ms", failed=5)
    assert (found.late, found.failed, found.turns, found.blame) == (0, 5, 15, None)
    assert "p95 is endless" in str(found)
    assert "5 never answered" in str(found)


def test_a_limit_of_a_segment_that_no_turn_tells_is_missed_without_blame():
    (found,) = judged([path()], "speach.p95<10ms")
    assert not found.verdict.kept
    assert found.blame is None
    assert "p95 is unknown" in str(found)


def test_what_is_missed_is_said_in_one_line():
    (found,) = judged([path()] * 15 + [path(llm=260.0)] * 5, "p95<300ms")
    assert str(found) == (
        "p95<300ms is missed: p95 is 372 ms, 5 of 20 turns late, "
        "most of it in llm: 260 ms a late turn (60 ms in turns in time)"
    )


@pytest.mark.parametrize(("late", "is_close"), [(0, False), (1, True), (2, True), (3, True), (4, False), (40, False)])
def test_a_number_of_late_turns_next_to_what_is_allowed_is_close(late, is_close):
    (found,) = judged([path(llm=260.0)] * late + [path()] * (40 - late), "p95<300ms")
    assert found.is_close == is_close
