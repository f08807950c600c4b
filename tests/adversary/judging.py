"""What came of an attack, and whether the node withstood it. Pure."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tests.adversary.attack import Attack
from tests.adversary.world import Turn

MAX_RATIO = 1.3
"""Of the honest sessions' p95 beside an attack to that before and after it."""
MAX_GROWN_MB = 24.0
"""The longest message that is taken, once: what glibc keeps of it is used again."""
MAX_SLOPE_KB = 100.0
"""Memory for 1,000 hostile handshakes in the second half of them: 1 MB for all 10,000."""
FEW_TURNS = 8
"""Fewer say nothing about a p95."""


@dataclass(frozen=True)
class Figures:
    """How a few turns went."""

    turns: int
    failed: int
    p50_ms: float
    p95_ms: float
    trip_p95_ms: float
    """Of the WebSocket's own round trips: how late the node's event loop is."""
    late_p95_ms: float = 0.0
    """How late the honest clients' own microphones were: the machine's doing."""

    @classmethod
    def of(cls, turns: Sequence[Turn]) -> Figures:
        """Percentiles of voice to voice, failed turns counting as endless."""
        times = [math.inf if turn.ms is None else turn.ms for turn in turns]
        trips = [turn.trip_ms for turn in turns if turn.trip_ms is not None]
        failed = sum(bool(set(turn.problems) - {"split"}) for turn in turns)
        late_ms = _percentile([turn.late_ms for turn in turns], 95)
        return cls(len(turns), failed, _percentile(times, 50), _percentile(times, 95), _percentile(trips, 95), late_ms)


@dataclass(frozen=True)
class Window:
    """A time in which an attack was carried out."""

    quiet: Figures
    """Before and after it."""
    attacked: Figures
    memory_mb: tuple[float, float]
    """Of the node, before and after."""
    files: tuple[int, int]
    """Descriptors of the node, before and after."""
    lost: int
    """Honest sessions that were cut off or refused."""
    errors: int
    """Lines of the node's log that speak of an error of its own."""
    node_cores: float
    attacker_cores: float
    honest_cores: float
    busy_cores: float
    """All of the machine's."""

    @property
    def ratio(self) -> float:
        """How much slower the slow turns were."""
        if self.quiet.turns < FEW_TURNS or self.attacked.turns < FEW_TURNS:
            return math.nan
        return self.attacked.p95_ms / self.quiet.p95_ms

    def problems(self) -> list[str]:
        """What was not as before, but for how fast it was."""
        found = {
            "no honest turns": self.attacked.turns == 0,
            f"{self.attacked.failed} turns failed": self.attacked.failed > self.quiet.failed,
            f"{self.lost} honest sessions lost": self.lost > 0,
            f"{self.errors} errors in the log": self.errors > 0,
            f"{self.files[1] - self.files[0]} descriptors kept": self.files[1] > self.files[0] + 2,
            f"{self.grown_mb:.0f} MB kept": self.grown_mb > MAX_GROWN_MB,
        }
        return [problem for problem, is_so in found.items() if is_so]

    @property
    def grown_mb(self) -> float:
        """Memory of the node that was not given back."""
        return self.memory_mb[1] - self.memory_mb[0]


@dataclass
class Outcome:
    """All that is known of one attack."""

    attack: Attack
    answers: Counter[str] = field(default_factory=Counter)
    steps_alone: int | None = None
    """Engine steps while it was carried out at a node that had nothing else to do; None for one with a good key."""
    slope_kb: float = 0.0
    """Memory for 1,000 attempts, in their second half, at a node that had nothing else to do."""
    windows: list[Window] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """The typical one of its windows."""
        ratios = [window.ratio for window in self.windows if not math.isnan(window.ratio)]
        return statistics.median(ratios) if ratios else math.nan

    @property
    def is_slow(self) -> bool:
        """Whether honest sessions were slower than they may be."""
        return self.ratio > MAX_RATIO

    def problems(self) -> list[str]:
        """What the node did not withstand; empty for a good one."""
        found = [f"answered {answer}" for answer in self.attack.unexpected(self.answers)]
        if not self.answers:
            found.append("no answers")
        if self.steps_alone:
            found.append(f"{self.steps_alone} engine steps")
        if self.windows:
            found += self.windows[-1].problems()
        if self.attack.at_least and self.slope_kb > MAX_SLOPE_KB:
            found.append(f"{self.slope_kb:.0f} KB for 1,000")
        if self.is_slow:
            found.append(f"{self.ratio:.2f} times slower")
        return found


def slope_kb(memory_mb: Sequence[float], attempts: int) -> float:
    """Memory for 1,000 attempts, by the straight line through the second half of what was seen of it.

    Args:
        memory_mb: at equal distances over all attempts.
        attempts: that were made.
    """
    half = memory_mb[len(memory_mb) // 2 :]
    if len(half) < 2 or not attempts:
        return 0.0
    grown_mb = float(np.polyfit(range(len(half)), half, 1)[0]) * (len(half) - 1)
    return 1000.0 * grown_mb / (attempts / 2 / 1000.0)


def _percentile(values: Sequence[float], percent: float) -> float:
    """The least that so many per cent of the values do not exceed; NaN of none."""
    if not values:
        return math.nan
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]
