"""Percentiles of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


def percentile(values: Iterable[float], percent: float) -> float | None:
    """The nearest-rank percentile: the smallest value that `percent` per cent of all values do not exceed.

    Always a value that was measured, also when there are few; None when there are none.
    """
    ordered = sorted(values)
    if not ordered:
        return None
    rank = math.ceil(percent / 100.0 * len(ordered))
    return ordered[max(rank, 1) - 1]


@dataclass(frozen=True, slots=True)
class Distribution:
    """What is said of a set of times, in milliseconds."""

    n: int
    p50: float | None
    p95: float | None
    max: float | None


def distribution(values: Iterable[float | None]) -> Distribution:
    """Summarise the values that are there; `n` says how many."""
    there = [value for value in values if value is not None]
    return Distribution(
        n=len(there), p50=percentile(there, 50), p95=percentile(there, 95), max=max(there, default=None)
    )
