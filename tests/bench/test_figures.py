import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voiceedge.bench.figures import (
    Distribution,
    Estimate,
    Tally,
    distribution,
    estimate,
    nearest_rank,
    percentile,
    quotient,
    ratio,
)


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


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(1, 100))
def test_of_many_values_it_is_the_same(values, percent):
    assert nearest_rank(np.array(values), percent) == percentile(values, percent)
    assert np.isnan(nearest_rank(np.array([]), percent))


def test_missing_values_are_not_counted_and_nothing_gives_nothing():
    assert distribution([None, 3.0, 1.0]) == Distribution(n=2, p50=1.0, p95=3.0, p99=3.0, max=3.0)
    assert distribution([None]) == Distribution(n=0, p50=None, p95=None, p99=None, max=None)


def test_a_failed_turn_counts_as_slower_than_every_other():
    times = [float(ms) for ms in range(1, 95)]
    assert distribution(times, failed=6) == Distribution(n=100, p50=50.0, p95=None, p99=None, max=94.0, failed=6)
    assert distribution([*times, 95.0], failed=5).p95 == 95.0
    assert distribution([], failed=2) == Distribution(n=2, p50=None, p95=None, p99=None, max=None, failed=2)


@given(st.lists(st.floats(1, 1e4), min_size=1), st.integers(0, 5))
def test_failing_never_makes_the_others_look_better(times, failed):
    whole, partly = distribution(times), distribution(times, failed)
    for before, after in ((whole.p50, partly.p50), (whole.p95, partly.p95), (whole.p99, partly.p99)):
        assert after is None or after >= before


def test_a_side_that_is_always_twice_as_fast_has_a_ratio_of_a_half_and_no_doubt():
    groups = [[(ms / 2, ms), (ms / 2 + 1, ms + 2)] for ms in (400.0, 500.0, 900.0)]
    assert ratio(groups, 50) == Estimate(0.5, 0.5, 0.5)
    assert ratio(groups, 95) == Estimate(0.5, 0.5, 0.5)


@given(
    st.lists(st.lists(st.tuples(st.floats(1, 1e4), st.floats(1, 1e4)), min_size=1, max_size=3), min_size=1, max_size=8)
)
@settings(max_examples=8, deadline=None)
def test_an_interval_is_in_order_and_swapping_the_sides_turns_the_ratio_over(groups):
    found = ratio(groups, 50)
    swapped = ratio([[(theirs, ours) for ours, theirs in group] for group in groups], 50)
    assert found.low <= found.high
    assert found.value * swapped.value == pytest.approx(1.0)
    assert ratio(groups, 50) == found


def test_more_recordings_make_it_surer_and_more_runs_of_the_same_do_not():
    chance = np.random.default_rng(1)
    few = [[(float(ours), float(theirs))] for ours, theirs in chance.uniform(300, 900, (10, 2))]
    many = [[(float(ours), float(theirs))] for ours, theirs in chance.uniform(300, 900, (200, 2))]

    def width(groups):
        found = ratio(groups, 50)
        return found.high - found.low

    assert width(many) < width(few) / 2
    assert width([group * 20 for group in few]) > width(few) / 2


def test_a_percentile_among_failed_turns_has_no_ratio():
    assert ratio([[(None, 500.0)]] * 3, 50) == Estimate(None, None, None)
    assert ratio([[(500.0, None)]] * 3, 50) == Estimate(None, None, None)
    assert ratio([], 50) == Estimate(None, None, None)
    mostly = [[(None, 500.0)], *[[(250.0, 500.0)]] * 39]
    assert ratio(mostly, 50).value == 0.5
    assert ratio(mostly, 99).value is None


# ── any figure with its interval ──────────────────────────────────────────────────────────────────────────


def mean(units):
    return sum(units) / len(units)


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    chance = np.random.default_rng(5)
    samples = [chance.normal(10.0, 3.0, 40).tolist() for _ in range(60)]
    found = [estimate(mean, sample, resamples=200) for sample in samples]
    assert sum(one.low <= 10.0 <= one.high for one in found) >= 0.85 * len(found)


def test_two_populations_are_drawn_from_each_by_itself():
    found = estimate(lambda old, new: mean(new) - mean(old), [1.0] * 9, [3.0] * 4)
    assert found == Estimate(2.0, 2.0, 2.0)
    spread = estimate(lambda old, new: mean(new) - mean(old), [1.0] * 9, [2.0, 4.0])
    assert (spread.value, spread.low, spread.high) == (2.0, 1.0, 3.0)


def test_nothing_measured_gives_no_estimate_and_what_means_nothing_is_endless():
    assert estimate(mean, []) == Estimate(None, None, None)
    assert estimate(lambda old, new: 1.0, [1.0], []) == Estimate(None, None, None)
    assert estimate(lambda units: float("nan"), [1.0]) == Estimate(None, None, None)


def test_over_no_time_or_a_failed_turn_there_is_no_quotient():
    assert quotient(3.0, 2.0) == 1.5
    assert np.isnan(quotient(3.0, 0.0))
    assert np.isnan(quotient(3.0, np.inf))


@given(st.lists(st.integers(0, 500).map(lambda tenths: tenths / 10), max_size=60))
def test_a_tally_says_what_a_distribution_of_all_times_says(times):
    tally = Tally()
    for ms in times:
        tally.add(ms)
    assert tally.distribution == distribution(times)


def test_the_nearest_rank_is_not_off_by_what_floats_add():
    assert percentile(range(1, 1001), 99.9) == 999
    assert nearest_rank(np.arange(1.0, 1001.0), 99.9) == 999.0
