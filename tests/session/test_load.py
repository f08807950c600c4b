"""The load average of a node's engines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.session.load import ANSWERS_BELOW, AVERAGED_S, FOLLOWS_BELOW, THRIFTY_FROM, Load

steps = st.lists(st.tuples(st.floats(0.001, 1.0), st.floats(0.0, 1.0)), max_size=50)
"""(seconds that a step takes, seconds of rest behind it)"""


def run(load, seconds, step_s=0.02, at=0.0):
    """One thread works without a break; the moment at which it stops."""
    for _ in range(round(seconds / step_s)):
        at += step_s
        load.add(step_s, at)
    return at


def test_a_node_that_has_done_nothing_has_no_load():
    assert Load(2).average(100.0) == 0.0


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_one_thread_that_never_rests_is_a_load_of_one_thread(threads):
    load = Load(threads)
    at = run(load, 10 * AVERAGED_S)
    assert load.average(at) == pytest.approx(1 / threads, rel=0.01)


def test_whoever_waits_counts_beside_who_runs():
    load, at = Load(1), 0.0
    for _ in range(1000):
        at += 0.05
        load.add(0.05 + 0.1, at)  # each step has waited for two others
    assert load.average(at) == pytest.approx(3.0, rel=0.02)


def test_what_is_over_fades():
    load = Load(1)
    at = run(load, 10 * AVERAGED_S)
    assert load.average(at + AVERAGED_S) == pytest.approx(load.average(at) / 2.718, rel=0.01)
    assert load.average(at + 10 * AVERAGED_S) < 0.001


def test_one_turn_alone_leaves_nothing_undone():
    load = Load(2)
    at = run(load, 0.5)  # more than a turn takes
    assert load.average(at) < FOLLOWS_BELOW / 2


def test_less_certain_work_is_left_undone_first():
    assert FOLLOWS_BELOW < THRIFTY_FROM < ANSWERS_BELOW


@given(steps)
def test_without_waiting_no_load_exceeds_the_threads(worked):
    load, at = Load(1), 0.0
    for took, rested in worked:
        at += took
        load.add(took, at)
        assert 0.0 <= load.average(at) <= 1.0 + took / AVERAGED_S  # a step counts when it is over
        assert load.average(at + rested) <= load.average(at)
        at += rested
