"""A bucket never lets more through than it says, and never refuses what is large."""

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.server.bucket import TokenBucket

RATES = st.floats(0.01, 1e6)
BURSTS = st.floats(0, 1e6)
PAUSES = st.floats(0, 1000)
AMOUNTS = st.floats(0, 1e7)


def taken(rate, burst, wishes):
    """(moment, amount) of all that goes through: each wish comes so long after the last, and waits as it is told."""
    moment, bucket, through = 0.0, TokenBucket(rate, burst, 0.0), []
    for pause, amount in wishes:
        moment += pause
        moment += max(bucket.wait_s(moment), 0.0)
        bucket.take(amount, moment)
        through.append((moment, amount))
    return through


@given(RATES, BURSTS, st.lists(st.tuples(PAUSES, AMOUNTS), min_size=1, max_size=30))
def test_no_stretch_of_time_has_more_than_the_burst_the_rate_and_its_last_piece(rate, burst, wishes):
    through = taken(rate, burst, wishes)
    sums = [0.0, *accumulate(amount for _, amount in through)]
    for first, (begin, _) in enumerate(through):
        for last in range(first, len(through)):
            before = sums[last] - sums[first]
            allowed = burst + rate * (through[last][0] - begin)
            assert before <= allowed * (1 + 1e-6) + 1e-6 * sums[-1] + 1e-6


@given(RATES, BURSTS, PAUSES, st.lists(st.floats(0, 1), max_size=30))
def test_who_keeps_to_the_rate_never_waits(rate, burst, begin, shares):
    bucket, moment = TokenBucket(rate, burst, begin), begin
    for share in shares:
        assert bucket.wait_s(moment) <= 1e-6
        bucket.take(share * rate, moment)  # what a second brings, or less
        moment += 1.0


def test_what_is_larger_than_the_bucket_passes_and_is_paid_for_afterwards():
    bucket = TokenBucket(rate=2, burst=300, moment=10.0)
    bucket.take(327, 10.0)
    assert bucket.wait_s(10.0) == pytest.approx(13.5)
    assert bucket.wait_s(23.5) == pytest.approx(0.0)


def test_who_was_silent_for_a_day_has_no_more_than_the_burst():
    bucket = TokenBucket(rate=1, burst=10, moment=0.0)
    bucket.take(10, 86_400.0)
    assert bucket.wait_s(86_400.0) == pytest.approx(0.0)
    bucket.take(5, 86_400.0)
    assert bucket.wait_s(86_400.0) == pytest.approx(5.0)
