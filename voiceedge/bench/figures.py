"""Percentiles of a run, and how sure one can be of a ratio of two."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from voiceedge.budget import rank

_TENTHS = 10
"""Of a millisecond: reports have no more decimals."""
_RESAMPLES = 2000
"""Enough for the ends of a 95 % interval to stand still in the second digit."""

T = TypeVar("T")

TimePair = tuple[float | None, float | None]
"""The same thing measured on two sides; None where a side failed."""


def percentile(values: Iterable[float], percent: float) -> float | None:
    """The nearest-rank percentile: the smallest value that `percent` per cent of all values do not exceed.

    Always a value that was measured, also when there are few; None when there are none.
    """
    ordered = sorted(values)
    return ordered[rank(len(ordered), percent) - 1] if ordered else None


def nearest_rank(values: NDArray[np.float64], percent: float) -> float:
    """`percentile` of many values, shape [n]; nan when there are none."""
    place = rank(len(values), percent) - 1
    return float(np.partition(values, place)[place]) if len(values) else math.nan


@dataclass(frozen=True, slots=True)
class Distribution:
    """What is said of a set of times, in milliseconds.

    A failed turn counts as slower than every other one: it cannot make the others look better. A percentile
    that lies among failed turns is None.
    """

    n: int
    """Failed ones included."""
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None
    """Of those that did not fail."""
    failed: int = 0


def distribution(values: Iterable[float | None], failed: int = 0) -> Distribution:
    """Summarise the values that are there, and `failed` ones that never came."""
    there = [value for value in values if value is not None]
    counted = [*there, *[math.inf] * failed]
    p50, p95, p99 = (_finite(percentile(counted, percent)) for percent in (50, 95, 99))
    return Distribution(len(counted), p50, p95, p99, max(there, default=None), failed)


class Tally:
    """Times of which there are more than are worth keeping: only how many there were of each tenth of a millisecond.

    Its memory is that of the different times, not of all: a run may take hours.
    """

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, ms: float) -> None:
        """Count one."""
        self._counts[round(ms * _TENTHS)] += 1

    @property
    def distribution(self) -> Distribution:
        """What there was, with one decimal."""
        tenths = sorted(self._counts)
        ends = list(accumulate(self._counts[one] for one in tenths))
        n = ends[-1] if ends else 0
        if not n:
            return Distribution(0, None, None, None, None)
        p50, p95, p99 = (tenths[bisect_left(ends, rank(n, percent))] / _TENTHS for percent in (50, 95, 99))
        return Distribution(n, p50, p95, p99, tenths[-1] / _TENTHS)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure of a sample, and where it may lie."""

    value: float | None
    """None when it lies among failed turns; likewise the ends of the interval."""
    low: float | None
    """Of the 95 % interval."""
    high: float | None


def estimate(
    statistic: Callable[..., float], *populations: Sequence[T], resamples: int = _RESAMPLES, seed: int = 0
) -> Estimate:
    """A figure with its 95 % interval, by bootstrap (the percentile method).

    Args:
        statistic: Takes as many units of each population as it has; nan where it means nothing, which counts as
            endless.
        populations: Each is drawn from by itself, unit by unit. What is measured several times and is much alike
            is one unit: it must not pass for new evidence.
        resamples: How often.
        seed: For the drawing.
    """
    if not all(populations):
        return Estimate(None, None, None)
    chance = np.random.default_rng(seed)
    drawn = [chance.integers(len(units), size=(resamples, len(units))).tolist() for units in populations]
    found = [
        statistic(*([units[place] for place in places] for units, places in zip(populations, draw, strict=True)))
        for draw in zip(*drawn, strict=True)
    ]
    ordered = sorted(math.inf if math.isnan(one) else one for one in found)
    low, high = (_finite(ordered[rank(resamples, end) - 1]) for end in (2.5, 97.5))
    return Estimate(_finite(statistic(*populations)), low, high)


def ratio(groups: Sequence[Sequence[TimePair]], percent: float, seed: int = 0) -> Estimate:
    """The percentile of the first of every pair over the percentile of the second.

    Args:
        groups: The pairs of each recording. The interval is a bootstrap over recordings, both sides together:
            what one recording gives in several runs is much alike and must not pass for new evidence.
        percent: Which percentile.
        seed: For the bootstrap.
    """
    measured = [np.array([[_or_infinity(x) for x in pair] for pair in group]) for group in groups if group]
    return estimate(lambda drawn: _ratio(np.concatenate(drawn), percent), measured, seed=seed)


def _ratio(pairs: NDArray[np.float64], percent: float) -> float:
    """Of pairs, shape [pairs, 2]; nan where both percentiles lie among failed turns."""
    ours, theirs = np.sort(pairs, axis=0)[rank(len(pairs), percent) - 1].tolist()
    return quotient(ours, theirs)


def quotient(ours: float, theirs: float) -> float:
    """One time over another; nan where that says nothing: over a failed turn, or over no time at all."""
    return ours / theirs if 0.0 < theirs < math.inf else math.nan


def _or_infinity(value: float | None) -> float:
    return math.inf if value is None else value
