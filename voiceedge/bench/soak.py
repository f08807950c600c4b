"""How a long run went: whether the node got slower. Pure."""

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


def drift(totals: Sequence[float | None]) -> Drift | None:
    """Compare the ends of a run; None where it is too short to have quarters.

    Args:
        totals: Voice to voice of each turn in the order of time, in milliseconds; None for a failed one.
    """
    quarter = len(totals) // QUARTERS
    return Drift(_of(totals[:quarter]), _of(totals[-quarter:])) if quarter else None


def _of(totals: Sequence[float | None]) -> Distribution:
    return distribution(totals, failed=sum(total is None for total in totals))
