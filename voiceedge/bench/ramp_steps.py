"""What a ramp found: the numbers of conversations that were tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a report holds a ramp, whose steps hold reports
    from voiceedge.bench.report import BenchReport


@dataclass(frozen=True, slots=True)
class RampStep:
    """One number of conversations, tried."""

    sessions: int
    report: BenchReport
    """Of both tries, where it was tried twice; of the second alone, where this client was too busy in the first.
    Without turns, where the node did not let so many in."""
    kept: bool
    """Whether all limits were kept, every conversation to its end."""
    tries: int = 1
    """2 where the first was too close to a limit to tell, or this client was too busy."""

    @property
    def is_void(self) -> bool:
        """Whether this client is to blame, or may be: a limit was missed, and the client was too busy.

        Where the limits were kept it does not matter: what a busy client adds is counted against the node.
        """
        check = self.report.self_check
        return not self.kept and check is not None and check.void


@dataclass(frozen=True, slots=True)
class Ramp:
    """How many conversations a node can hold."""

    steps: tuple[RampStep, ...]
    """In the order in which they were tried."""
    capacity: int
    """The largest number that kept the limits, below the smallest that did not; 0 when none did."""
    limit_reason: str
    """Why it is not larger: a sentence without its full stop."""
    lost: bool = False
    """Whether the node was gone before it was known."""

    @property
    def best(self) -> RampStep:
        """The step of the capacity; where there is none, the smallest one."""
        held = [step for step in self.steps if step.kept and step.sessions == self.capacity]
        return held[-1] if held else min(self.steps, key=lambda step: step.sessions)

    @property
    def is_void(self) -> bool:
        """Whether the capacity may be larger, because it ends where this client was too busy to tell."""
        failed = [step for step in self.steps if not step.kept]
        return bool(failed) and min(failed, key=lambda step: step.sessions).is_void
