"""The largest number of conversations that keeps the limits: more and more of them, until it is known."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from voiceedge.bench.capacity import capacity, next_sessions
from voiceedge.bench.options import BenchOptions, NodeFull
from voiceedge.bench.slo import kept

if TYPE_CHECKING:  # a report holds a ramp, whose steps hold reports
    from voiceedge.bench.report import BenchReport

TURNS, TURNS_EACH = 24, 8
"""Turns of all conversations together, and of each at least: the shipped questions once. A p95 of less is one turn's
luck; with so many, and two tries where it is close, two ramps agree within one conversation. Takes 4 to 8 minutes."""
CLOSING_S = 2.0
"""Sessions of the step before may still be closing when a node says that it is full: it is asked once more."""


@dataclass(frozen=True, slots=True)
class RampStep:
    """One number of conversations, tried."""

    sessions: int
    report: BenchReport
    """Of both tries, where it was tried twice; without turns, where the node did not let so many in."""
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


Measure = Callable[[BenchOptions], Awaitable["BenchReport"]]
"""Holds the conversations that are asked for; raises `NodeFull` where the node does not let all of them in."""
Told = Callable[[RampStep], None]


async def climb(options: BenchOptions, measure: Measure, told: Told) -> Ramp:
    """Try more and more conversations until the capacity is known; `told` gets each step when it is done.

    Doubles, then halves what lies between. A number that is too close to a limit to tell is tried once more and
    judged by both tries: so the answer does not hang on one slow turn.

    Raises:
        NodeUnreachable: there is no session at all.
    """
    steps: list[RampStep] = []
    tried: dict[int, bool] = {}
    at_most, reason = options.at_most, f"no more than {options.at_most} were tried (--at-most)"
    while not options.halt.asked and (sessions := next_sessions(tried, at_most)) is not None:
        try:
            step = await _try(options, sessions, measure)
        except NodeFull as full:
            let_in = max(full.sessions, capacity(tried))
            if not let_in:
                raise
            at_most, reason = let_in, f"the node takes no more than {let_in} sessions"
            step = RampStep(sessions, _turned_away(steps[-1].report, reason), kept=False)
        else:
            tried[sessions] = step.kept
        steps.append(step)
        told(step)
    why = _reason(options, steps, tried, reason)
    return Ramp(tuple(steps), capacity(tried), why[0].upper() + why[1:])


def _turned_away(before: BenchReport, reason: str) -> BenchReport:
    return replace(before, turns=(), interrupted=reason, self_check=None)


def _reason(options: BenchOptions, steps: list[RampStep], tried: dict[int, bool], otherwise: str) -> str:
    if options.halt.asked:
        return "stopped by hand"
    failed = min((sessions for sessions, held in tried.items() if not held), default=None)
    if failed is None:
        return otherwise
    step = next(step for step in steps if step.sessions == failed)
    report = step.report
    if step.is_void and report.self_check is not None:
        why = f"this client was too busy to tell: {'; '.join(report.self_check.faults)}"
    elif report.interrupted:
        why = report.interrupted
    else:
        why = "; ".join(str(one) for one in report.judged if not one.verdict.kept)
    return f"with {failed} conversation{'s' * (failed > 1)} {why}"


async def _try(options: BenchOptions, sessions: int, measure: Measure) -> RampStep:
    turns = options.turns or max(TURNS_EACH, -(-TURNS // sessions))
    asked = replace(options, sessions=sessions, turns=turns, runs=1)
    try:
        first = await measure(asked)
    except NodeFull:
        await options.pace.until(options.pace.now() + CLOSING_S)
        first = await measure(asked)
    step = RampStep(sessions, first, _kept(first))
    if options.halt.asked or first.interrupted or not (step.is_void or any(one.is_close for one in first.judged)):
        return step
    second = await measure(replace(asked, seed=asked.seed + 1))
    report = second if step.is_void else _together(first, second)
    return RampStep(sessions, report, _kept(report), tries=2)


def _kept(report: BenchReport) -> bool:
    return report.interrupted is None and kept(report.judged)


def _together(first: BenchReport, second: BenchReport) -> BenchReport:
    """Both tries as one: the second is the second run."""
    checks = [one.self_check for one in (first, second) if one.self_check is not None]
    return replace(
        first,
        turns=(*first.turns, *(replace(row, run=2) for row in second.turns)),
        interrupted=first.interrupted or second.interrupted,
        self_check=next((check for check in checks if check.void), checks[0] if checks else None),
    )
