"""The largest number of conversations that keeps the limits: more and more of them, until it is known."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from voiceedge.bench.capacity import capacity, next_sessions
from voiceedge.bench.options import BenchOptions, NodeFull, NodeUnreachable
from voiceedge.bench.ramp_steps import Ramp, RampStep
from voiceedge.bench.report import BenchReport
from voiceedge.bench.slo import kept

TURNS, TURNS_EACH = 24, 8
"""Turns of all conversations together, and of each at least: the shipped questions once. A p95 of less is one turn's
luck; with so many, and two tries where it is close, two ramps agree within one conversation. Takes 4 to 8 minutes."""
CLOSING_S = 2.0
"""Sessions of the step before may still be closing when a node says that it is full: it is asked once more."""


Measure = Callable[[BenchOptions], Awaitable[BenchReport]]
"""Holds the conversations that are asked for; raises `NodeFull` where the node does not let all of them in."""
Told = Callable[[RampStep], None]


async def climb(options: BenchOptions, measure: Measure, told: Told) -> Ramp:
    """Try more and more conversations until the capacity is known; `told` gets each step when it is done.

    Doubles, then halves what lies between. A number that is too close to a limit to tell is tried once more and
    judged by both tries: so the answer does not hang on one slow turn. A node that is gone ends it: what was measured
    until then is kept.

    Raises:
        NodeUnreachable: there is no session at all.
    """
    steps: list[RampStep] = []
    tried: dict[int, bool] = {}
    gone: str | None = None
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
        except NodeUnreachable as lost:
            if not steps:
                raise
            gone = f"with {_conversations(sessions)} the node was lost: {lost}"
            break
        else:
            tried[sessions] = step.kept
        steps.append(step)
        told(step)
    why = gone or _reason(options, steps, tried, reason)
    return Ramp(tuple(steps), capacity(tried), why[0].upper() + why[1:], lost=gone is not None)


def _conversations(count: int) -> str:
    return f"{count} conversation{'s' * (count > 1)}"


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
    return f"with {_conversations(failed)} {why}"


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
    try:
        second = await measure(replace(asked, seed=asked.seed + 1))
    except NodeFull:
        raise
    except NodeUnreachable as lost:
        return RampStep(sessions, replace(first, interrupted=str(lost)), kept=False, tries=2)
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
