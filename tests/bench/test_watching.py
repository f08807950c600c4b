import pytest

from tests.bench.test_rendering import row
from voiceedge.bench.options import BenchOptions
from voiceedge.bench.pace import Pace
from voiceedge.bench.watching import Watcher


class Wall:
    at = 0.0

    def __call__(self):
        return self.at


@pytest.fixture
def wall():
    return Wall()


def watcher(wall, told, turns=None, ends=None, sessions=1):
    found = Watcher(BenchOptions(url="", progress=told.append, pace=Pace(wall)), turns, ends)
    for session in range(1, sessions + 1):
        found.expect(session)
    return found


def test_figures_so_far_count_failed_turns_as_slower_than_all_others(wall):
    told = []
    seen = watcher(wall, told, turns=3)
    for ms in (300.0, None, 500.0):
        seen.turn_done(1, row("a", ms))
    assert [(one.turn, one.p50_ms, one.p95_ms, one.failed) for one in told] == [
        (1, 300.0, 300.0, 0),
        (2, 300.0, None, 1),
        (3, 500.0, None, 1),
    ]


def test_what_is_left_follows_from_what_was_done(wall):
    told = []
    seen = watcher(wall, told, turns=4)
    seen.tell(1, "a", "speaking")
    wall.at = 6.0
    seen.turn_done(1, row("a"))
    wall.at = 8.0
    seen.turn_done(1, row("a"))
    assert [one.left_s for one in told] == [None, 18.0, 8.0]


def test_or_from_the_time_that_was_given(wall):
    told = []
    seen = watcher(wall, told, ends=60.0)
    seen.tell(1, "a", "speaking")
    wall.at = 50.0
    seen.turn_done(1, row("a"))
    wall.at = 70.0
    seen.turn_done(1, row("a"))
    assert [one.left_s for one in told] == [60.0, 10.0, 0.0]
    assert {one.turns for one in told} == {None}


def test_the_same_is_told_once(wall):
    told = []
    seen = watcher(wall, told, turns=2)
    for _ in range(3):
        seen.tell(1, "a", "waiting")
    assert len(told) == 1


def test_conversations_come_and_go(wall):
    told = []
    seen = watcher(wall, told, sessions=2)
    seen.tell(2, "a", "speaking")
    seen.forget(1)
    seen.tell(2, "a", "waiting")
    assert [one.all_doing for one in told] == [("connecting", "speaking"), ("waiting",)]
