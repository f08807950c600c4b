"""A range of seconds to draw from: pauses of thinking, pauses of hesitation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from voiceedge.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Interval:
    """Seconds from `low` to `high`, all equally likely."""

    low: float
    high: float

    def draw(self, chance: np.random.Generator) -> float:
        """One of them."""
        return float(chance.uniform(self.low, self.high))

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}" if self.low < self.high else f"{self.low:g}"


def interval(stated: str) -> Interval:
    """The form that the command line takes: `1..4`, or `1` for always the same.

    Raises:
        ConfigError: no such form, or seconds that nobody waits.
    """
    low, dots, high = stated.partition("..")
    try:
        found = Interval(float(low), float(high if dots else low))
    except ValueError:
        found = Interval(math.nan, math.nan)
    if not 0.0 <= found.low <= found.high < math.inf:
        raise ConfigError(f"{stated!r} is no range of seconds: write it like 1..4, or 1")
    return found
