import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.bench.figures import Distribution, distribution, percentile


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([15, 20, 35, 40, 50], 30, 20),
        ([15, 20, 35, 40, 50], 40, 20),
        ([15, 20, 35, 40, 50], 50, 35),
        ([15, 20, 35, 40, 50], 100, 50),
        ([7], 95, 7),
        ([2, 1], 50, 1),
    ],
)
def test_percentiles_are_nearest_rank(values, percent, expected):
    assert percentile(values, percent) == expected


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(1, 100))
def test_a_percentile_is_a_measured_value_that_enough_values_do_not_exceed(values, percent):
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) >= percent / 100 * len(values) - 1e-6


def test_missing_values_are_not_counted_and_nothing_gives_nothing():
    assert distribution([None, 3.0, 1.0]) == Distribution(n=2, p50=1.0, p95=3.0, max=3.0)
    assert distribution([None]) == Distribution(n=0, p50=None, p95=None, max=None)
