"""When a node has no time for one more conversation, and when it has again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.server.capacity import BUSY_LATE_S, CALM, MOST_LATE_S, SUSTAINED_S, Capacity

EVERY_S = 0.25
LOAD = 2.0


def course(capacity, *stretches):
    """Measure for some seconds each at a load and a lateness; what it was at the end of each stretch."""
    at, said = 0.0, []
    for seconds, load, late_s in stretches:
        for _ in range(round(seconds / EVERY_S)):
            at += EVERY_S
            capacity.measured(at, load, late_s)
        said.append(capacity.is_busy)
    return said


@pytest.mark.parametrize("load", [0.0, 0.5, 1.0, 1.5, LOAD])
def test_a_node_that_is_well_used_is_not_busy(load):
    assert course(Capacity(LOAD), (600, load, 0.005)) == [False]


def test_a_node_is_busy_when_it_was_over_its_load_for_some_time_and_no_sooner():
    assert course(Capacity(LOAD), (SUSTAINED_S, 2.1, 0), (2 * EVERY_S, 2.1, 0)) == [False, True]


def test_moments_of_high_load_do_not_add_up():
    bursts = [(SUSTAINED_S - EVERY_S, 9.0, 0), (EVERY_S, 1.9, 0)] * 20
    assert not any(course(Capacity(LOAD), *bursts))


def test_a_busy_node_is_busy_until_the_load_has_fallen_well_below_for_some_time():
    capacity = Capacity(LOAD)
    between = (1 + CALM) / 2 * LOAD
    said = course(capacity, (10, 3.0, 0), (60, between, 0), (SUSTAINED_S, 0.9, 0), (2 * EVERY_S, 0.9, 0))
    assert said == [True, True, True, False]


def test_between_the_thresholds_nothing_changes_whichever_way_it_was():
    between = ((1 + CALM) / 2 * LOAD, 0)
    assert course(Capacity(LOAD), (600, *between)) == [False]
    assert course(Capacity(LOAD), (10, 3.0, 0), (600, *between)) == [True, True]


def test_an_event_loop_that_is_always_late_counts_like_load():
    said = course(Capacity(LOAD), (20, 0.3, 2 * BUSY_LATE_S), (20, 0.3, 0.001))
    assert said == [True, False]


def test_an_event_loop_that_is_now_and_then_late_does_not():
    assert not any(course(Capacity(LOAD), *[(EVERY_S, 0.3, BUSY_LATE_S), (3 * EVERY_S, 0.3, 0.002)] * 100))


def test_a_machine_that_stood_still_once_is_not_busy_for_it():
    capacity = Capacity(LOAD)
    capacity.measured(0, 0.3, 8 * 3600)
    assert course(capacity, (60, 0.3, 0.001)) == [False]
    assert MOST_LATE_S < 8 * 3600


measurements = st.lists(
    st.tuples(st.floats(0.01, 5), st.floats(0, 10), st.one_of(st.just(0.0), st.floats(0, 2))), max_size=200
)


@given(measurements)
def test_it_never_changes_its_mind_twice_within_the_sustained_time(steps):
    capacity, at, changed, was = Capacity(LOAD), 0.0, [], False
    for step, load, late_s in steps:
        at += step
        capacity.measured(at, load, late_s)
        if capacity.is_busy != was:
            was = capacity.is_busy
            changed.append(at)
    assert all(later - sooner >= SUSTAINED_S - 1e-9 for sooner, later in zip([0.0, *changed], changed, strict=False))


@given(measurements)
def test_it_is_never_busy_below_its_load_with_a_loop_on_time(steps):
    capacity, at = Capacity(10.0), 0.0
    for step, load, _ in steps:
        at += step
        capacity.measured(at, load, BUSY_LATE_S / 2)
        assert not capacity.is_busy


@given(measurements)
def test_a_quiet_node_is_ready_in_the_end_whatever_was_before(steps):
    capacity, at = Capacity(LOAD), 0.0
    for step, load, late_s in steps:
        at += step
        capacity.measured(at, load, late_s)
    for _ in range(round((SUSTAINED_S + 15) / EVERY_S)):
        at += EVERY_S
        capacity.measured(at, 0.2, 0.001)
    assert not capacity.is_busy
