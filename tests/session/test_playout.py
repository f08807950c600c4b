import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.session.playout import Playout


class Clock:
    """Stands until it is set."""

    def __init__(self, at=100.0):
        self.at = at

    def __call__(self):
        return self.at


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def playout(clock):
    return Playout(clock)


def test_before_anything_was_sent_nothing_is_heard(playout):
    assert (playout.runs_out, playout.remaining_s, playout.heard_ms) == (0.0, 0.0, 0.0)


def test_audio_plays_at_its_own_pace_from_the_moment_it_was_sent(playout, clock):
    playout.sent(2.0)
    clock.at += 0.5
    assert (playout.heard_ms, playout.remaining_s, playout.runs_out) == (500, 1.5, 102.0)


def test_audio_that_was_sent_ahead_plays_without_a_gap(playout, clock):
    playout.sent(1.0)
    clock.at += 0.5
    playout.sent(1.0)
    clock.at += 1.0
    assert (playout.heard_ms, playout.remaining_s) == (1500, 0.5)


def test_when_the_audio_has_run_out_the_clock_waits(playout, clock):
    playout.sent(1.0)
    clock.at += 5.0
    assert (playout.heard_ms, playout.remaining_s) == (1000, 0.0)
    playout.sent(1.0)
    clock.at += 0.25
    assert (playout.heard_ms, playout.remaining_s) == (1250, 0.75)


def test_what_was_not_played_when_the_client_stopped_was_not_heard(playout, clock):
    playout.sent(3.0)
    clock.at += 1.0
    playout.stop()
    clock.at += 10.0
    assert (playout.heard_ms, playout.remaining_s) == (1000, 0.0)


def test_stopping_twice_or_after_the_end_changes_nothing(playout, clock):
    playout.stop()
    assert (playout.heard_ms, playout.runs_out) == (0, 0)
    playout.sent(1.0)
    clock.at += 2.0
    playout.stop()
    playout.stop()
    assert (playout.heard_ms, playout.runs_out) == (1000, 101.0)


@given(st.lists(st.tuples(st.floats(0, 3), st.sampled_from([0.0, 0.2, 1.0]), st.booleans()), max_size=20))
def test_what_was_heard_only_grows_and_is_never_more_than_was_sent_or_time_has_passed(steps):
    clock = Clock()
    playout, sent, heard = Playout(clock), 0.0, 0.0
    for passed, seconds, stops in steps:
        clock.at += passed
        if stops:
            playout.stop()
        playout.sent(seconds)
        sent += seconds
        assert heard - 1e-6 <= playout.heard_ms <= min(sent, clock.at - 100.0) * 1000 + 1e-6
        heard = playout.heard_ms
