from hypothesis import given
from hypothesis import strategies as st

from voiceedge.bench.soak import drift


def test_the_first_quarter_is_held_beside_the_last():
    found = drift([100.0] * 10 + [500.0] * 20 + [200.0] * 9 + [None])
    assert (found.first.n, found.first.p50, found.first.failed) == (10, 100.0, 0)
    assert (found.last.n, found.last.p50, found.last.failed) == (10, 200.0, 1)


def test_a_run_without_quarters_has_no_drift():
    assert drift([100.0] * 3) is None
    assert drift([]) is None


@given(st.lists(st.none() | st.floats(0.0, 1e4), min_size=4, max_size=60))
def test_quarters_are_equal_and_apart(totals):
    found = drift(totals)
    assert found.first.n == found.last.n == len(totals) // 4
    assert found.first.failed + found.last.failed <= totals.count(None)
