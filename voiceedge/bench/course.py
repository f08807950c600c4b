"""How a long run went: whether the node got slower, and how the conversations came about. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voiceedge.bench.figures import Distribution, distribution

QUARTERS = 4


@dataclass(frozen=True, slots=True)
class Drift:
    """The first quarter of all turns, and the last one, in milliseconds of the client's figure."""

    first: Distribution
    last: Distribution


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How the conversations of an open model came about."""

    per_minute: float
    """As asked for."""
    arrived: int
    dropped: int
    """Of those, never begun, because `at_most` were being held; beyond a few the run is void."""
    refused: int
    """Of those, turned away by the node; their turns count as failed."""
    most_at_once: int
    connect_ms: Distribution
    """From the scheduled arrival to when the session can be talked in. Turns are counted from the microphone's
    schedule, which begins behind it."""


def drift(totals: Sequence[float | None]) -> Drift | None:
    """Compare the ends of a run; None where it is too short to have quarters.

    Args:
        totals: Voice to voice of each turn in the order of time, in milliseconds; None for a failed one.
    """
    quarter = len(totals) // QUARTERS
    return Drift(_of(totals[:quarter]), _of(totals[-quarter:])) if quarter else None


def _of(totals: Sequence[float | None]) -> Distribution:
    return distribution(totals, failed=sum(total is None for total in totals))
