import math

from hypothesis import given
from hypothesis import strategies as st

from voiceedge.bench.capacity import capacity, next_sessions


def ramp(holds, at_most):
    """Try what is asked for until nothing is; returns the numbers in their order, and the capacity."""
    tried = {}
    while (sessions := next_sessions(tried, at_most)) is not None:
        assert sessions not in tried
        assert 1 <= sessions <= at_most
        tried[sessions] = holds(sessions)
    return list(tried), capacity(tried)


def test_it_doubles_and_then_halves_what_lies_between():
    assert ramp(lambda sessions: sessions <= 6, 64) == ([1, 2, 4, 8, 6, 7], 6)


def test_nothing_holds():
    assert ramp(lambda _: False, 64) == ([1], 0)


def test_it_stops_at_the_most_that_is_allowed():
    assert ramp(lambda _: True, 12) == ([1, 2, 4, 8, 12], 12)
    assert ramp(lambda _: True, 1) == ([1], 1)


@given(true=st.integers(0, 200), at_most=st.integers(1, 200))
def test_the_capacity_is_found_in_few_tries(true, at_most):
    tries, found = ramp(lambda sessions: sessions <= true, at_most)
    assert found == min(true, at_most)
    assert len(tries) <= 2 * math.log2(at_most) + 3


@given(st.sets(st.integers(1, 64)), st.integers(1, 64))
def test_it_ends_however_the_figures_jump(lucky, at_most):
    tries, found = ramp(lambda sessions: sessions in lucky, at_most)
    assert found == 0 or found in lucky
    assert all(number in lucky for number in tries if number <= found)
