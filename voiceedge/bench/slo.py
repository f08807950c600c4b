"""Whether a run kept its limits, and where the time went in the turns that did not. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from voiceedge.budget import TOTAL, Budget, Leg, Limit, Verdict

USUAL_MS = {"wait": 250.0, "end_of_turn": 20.0, "stt": 50.0, "llm": 130.0, "tts": 20.0, "queue": 5.0, "send": 5.0}
"""What a small node spends (docs/figures.md, profile `nano`; `wait` without drafts): what turns are held against
where so many are late that the run itself does not tell what is usual."""

_IN_TIME, _LIMIT, _SMALL = "in turns in time", "is its limit", "on a small node"


@dataclass(frozen=True, slots=True)
class Blame:
    """The segment that made turns late."""

    segment: str
    ms: float
    """Its time in the late turns, on average."""
    usual_ms: float
    """Its time otherwise: the median of the turns in time, its own limit, or `USUAL_MS`."""
    usual: str
    """Which of the three: `in turns in time`, `is its limit` or `on a small node`."""

    def __str__(self) -> str:
        """A clause of a sentence."""
        return f"most of it in {self.segment}: {self.ms:.0f} ms a late turn ({self.usual_ms:.0f} ms {self.usual})"


@dataclass(frozen=True, slots=True)
class Judged:
    """A limit, what was found, and what is to blame where it was missed."""

    verdict: Verdict
    late: int
    """Turns that were heard, but not within the limit."""
    failed: int
    """Turns that were never heard."""
    turns: int
    blame: Blame | None = None
    """None where the limit was kept, or no late turn tells where its time went."""

    @property
    def is_close(self) -> bool:
        """Whether the same node might as well be judged otherwise the next time.

        So it is if the number of turns that were late or failed is less than a standard deviation (of the binomial
        distribution) from what the percentile allows.
        """
        allowed = 1.0 - self.verdict.limit.percentile / 100.0
        spread = math.sqrt(self.turns * allowed * (1.0 - allowed))
        return abs(self.late + self.failed - self.turns * allowed) < spread

    def __str__(self) -> str:
        """A sentence without an end: `p95<800ms is missed: 923 ms, 7 of 40 turns late, most of it in llm (…)`."""
        limit, found_ms = self.verdict.limit, self.verdict.found_ms
        name = f"p{limit.percentile:g}"
        found = f"{found_ms:.0f} ms" if found_ms is not None else "unknown" if not self.failed else "endless"
        if self.verdict.kept:
            return f"{limit} is kept: {name} is {found}"
        failed = f", {self.failed} never answered" if self.failed else ""
        blamed = f", {self.blame}" if self.blame else ""
        return f"{limit} is missed: {name} is {found}, {self.late} of {self.turns} turns late{failed}{blamed}"


def judge(totals: Sequence[float | None], paths: Sequence[Sequence[Leg]], budget: Budget) -> tuple[Judged, ...]:
    """Hold every limit of `budget` against the turns.

    Args:
        totals: Voice to voice of each turn in milliseconds; None for a failed one.
        paths: Where the time of each turn went, in the same order.
        budget: The limits.
    """
    verdicts = budget.verdicts(totals, paths)
    return tuple(_judged(verdict, totals, paths, budget) for verdict in verdicts)


def kept(judged: Sequence[Judged]) -> bool:
    """Whether all limits were."""
    return all(one.verdict.kept for one in judged)


def _judged(verdict: Verdict, totals: Sequence[float | None], paths: Sequence[Sequence[Leg]], budget: Budget) -> Judged:
    limit = verdict.limit
    turns = [(total, {leg.segment: leg.ms for leg in path}) for total, path in zip(totals, paths, strict=True)]
    heard = [
        (total if limit.what == TOTAL else path.get(limit.what), path) for total, path in turns if total is not None
    ]
    late = [path for ms, path in heard if ms is not None and ms >= limit.ms]
    in_time = [path for ms, path in heard if ms is not None and ms < limit.ms]
    failed = sum(total is None for total in totals)
    blame = None if verdict.kept else _blame(limit, late, in_time, budget)
    return Judged(verdict, len(late), failed, len(totals), blame)


def _blame(
    limit: Limit, late: Sequence[dict[str, float]], in_time: Sequence[dict[str, float]], budget: Budget
) -> Blame | None:
    """The segment that is furthest over what is usual for it, on average over the late turns."""
    names = list(dict.fromkeys(name for path in late for name in path))
    times = {name: statistics.fmean(path[name] for path in late if name in path) for name in names}
    if limit.what != TOTAL:
        return Blame(limit.what, times[limit.what], limit.ms, _LIMIT) if limit.what in times else None
    limits = {name: widest for name in names if (widest := budget.widest_ms(name)) is not None}
    over = [name for name in limits if times[name] >= limits[name]]
    if over:
        return _furthest({name: times[name] for name in over}, limits, _LIMIT)
    if len(in_time) > len(late):
        medians = {name: statistics.median(path.get(name, 0.0) for path in in_time) for name in names}
        return _furthest(times, medians, _IN_TIME)
    # beyond the node nothing is usual: the silence in front of a voice is to blame only where the node is not
    of_node = {name: ms for name, ms in times.items() if ms > USUAL_MS.get(name, math.inf)}
    return _furthest(of_node or times, USUAL_MS, _SMALL)


def _furthest(times: dict[str, float], usual_ms: dict[str, float], usual: str) -> Blame | None:
    grown = {name: ms - usual_ms.get(name, 0.0) for name, ms in times.items()}
    name = max(grown, key=grown.__getitem__, default=None)
    return None if name is None else Blame(name, times[name], usual_ms.get(name, 0.0), usual)
