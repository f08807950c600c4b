"""What turns of a certain slowness are made of: their mean composition around a percentile.

A percentile of each part by itself says nothing about any turn, and such figures do not add up to the total's.
So the turns are put in order of their total, and of those next to the percentile the parts are averaged: these
means do add up, to the mean total of the same turns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from voiceedge.bench.row import TurnRow
from voiceedge.budget import rank

PERCENTILES = (50, 75, 90, 95, 99)
SHARE_AROUND = 0.1
"""Of the turns, around the percentile; at least the one, and its neighbour on either side."""


@dataclass(frozen=True, slots=True)
class Composition:
    """Some turns around a percentile of the client's figure."""

    percentile: int
    turns: int
    """How many were averaged; 0 where the percentile lies among failed turns."""
    client_v2v_ms: float | None
    """Their mean."""
    legs_ms: dict[str, float]
    """Mean of each leg; they add up to the mean total. `unexplained` may be negative."""


def breakdown(rows: Sequence[TurnRow]) -> tuple[Composition, ...]:
    """The composition at each of `PERCENTILES`; empty where no turn tells its critical path.

    Answered turns of a node that tells no path are left out; failed ones count as slower than all others.
    """
    told = sorted((row for row in rows if row.legs), key=lambda row: row.client_v2v_ms or 0.0)
    if not told:
        return ()
    failed = sum(row.client_v2v_ms is None for row in rows)
    return tuple(_composition(told, len(told) + failed, percent) for percent in PERCENTILES)


def _composition(told: Sequence[TurnRow], n: int, percent: int) -> Composition:
    place = rank(n, percent) - 1
    if place >= len(told):
        return Composition(percent, 0, None, {})
    each_side = max(1, math.ceil(SHARE_AROUND * len(told)) // 2)
    around = told[max(place - each_side, 0) : place + each_side + 1]
    legs = [{leg.segment: leg.ms for leg in row.legs} for row in around]
    names = dict.fromkeys(name for turn in legs for name in turn)
    return Composition(
        percentile=percent,
        turns=len(around),
        client_v2v_ms=sum(row.client_v2v_ms or 0.0 for row in around) / len(around),
        legs_ms={name: sum(turn.get(name, 0.0) for turn in legs) / len(around) for name in names},
    )
