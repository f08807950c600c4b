"""What a comparison of two nodes found: pairs of turns, their ratios, and how many conversations each can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from voiceedge.bench.capacity import capacity
from voiceedge.bench.figures import Estimate, ratio
from voiceedge.bench.report import BenchReport, rounded
from voiceedge.bench.row import TurnRow
from voiceedge.bench.side_by_side import CpuUse, Pair
from voiceedge.bench.summary import Summary, summarise

SCHEMA = "voiceedge.comparison/1"

SLOWER_AT_MOST = 1.5
"""A number of conversations holds while its p95 stays under so many times the baseline's with one."""


@dataclass(slots=True)
class Compared:
    """One set of recordings, played to both nodes."""

    name: str
    pairs: list[Pair] = field(default_factory=list)
    uses: tuple[CpuUse, CpuUse] = field(default_factory=lambda: (CpuUse(), CpuUse()))

    def rows(self, side: int) -> tuple[TurnRow, ...]:
        """The turns of the first (0) or the second (1) node."""
        return tuple(pair[side] for pair in self.pairs)

    def summary(self, side: int) -> Summary:
        """The figures of one node."""
        return summarise(self.rows(side))

    def ratio(self, percent: float) -> Estimate:
        """A percentile of the first node over that of the second, failed turns slower than all others."""
        return _ratio_of(self.pairs, percent)

    @property
    def answered(self) -> list[Pair]:
        """The pairs in which neither node failed."""
        return [pair for pair in self.pairs if all(row.client_v2v_ms is not None for row in pair)]

    def ratio_of_answered(self, percent: float) -> Estimate:
        """The same where neither failed: what is left to say when a percentile lies among failed turns."""
        return _ratio_of(self.answered, percent)


def _ratio_of(pairs: Sequence[Pair], percent: float) -> Estimate:
    groups: dict[str, list[tuple[float | None, float | None]]] = {}
    for ours, theirs in pairs:
        groups.setdefault(ours.audio, []).append((ours.client_v2v_ms, theirs.client_v2v_ms))
    return ratio(list(groups.values()), percent)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """So many conversations at once with one node."""

    sessions: int
    summary: Summary
    cpu_percent: float | None
    """Of one core, over the whole time."""
    interrupted: str | None = None

    def holds(self, limit_ms: float) -> bool:
        """Whether it stayed below a p95, with every conversation held to its end."""
        p95 = self.summary.client_v2v_ms.p95
        return self.interrupted is None and p95 is not None and p95 < limit_ms


@dataclass(slots=True)
class Curve:
    """What one node does under more and more conversations."""

    points: dict[int, CurvePoint] = field(default_factory=dict)

    def add(self, sessions: int, report: BenchReport, use: CpuUse) -> None:
        """Keep a run."""
        self.points[sessions] = CurvePoint(sessions, report.summary, use.percent, report.interrupted)

    def tried(self, limit_ms: float) -> Mapping[int, bool]:
        """Which numbers of conversations hold."""
        return {sessions: point.holds(limit_ms) for sessions, point in self.points.items()}


@dataclass(slots=True)
class Comparison:
    """Everything found so far; it can be reported at any moment."""

    environment: dict[str, Any]
    names: tuple[str, str]
    """Of the two nodes; the second is the baseline."""
    sets: list[Compared] = field(default_factory=list)
    curves: tuple[Curve, Curve] = field(default_factory=lambda: (Curve(), Curve()))
    resting: list[CpuUse] = field(default_factory=list)
    """Of both nodes, without a session."""
    silent: list[CpuUse] = field(default_factory=list)
    """Of both nodes, with one session in which nobody speaks."""
    interrupted: str | None = None

    @property
    def limit_ms(self) -> float | None:
        """The p95 under which a number of conversations holds; None before the baseline's first point."""
        alone = self.curves[1].points.get(1)
        p95 = alone.summary.client_v2v_ms.p95 if alone else None
        return None if p95 is None else SLOWER_AT_MOST * p95

    def capacity(self, side: int) -> int | None:
        """The largest number of conversations that holds, of those tried; None when nothing can be said."""
        limit_ms, curve = self.limit_ms, self.curves[side]
        return capacity(curve.tried(limit_ms)) if limit_ms is not None and curve.points else None


def to_json(found: Comparison) -> dict[str, Any]:
    """The comparison as plain values (schema `voiceedge.comparison/1`). A list of two is the node, then the baseline.

    Keys: `schema`, `environment`, `names`, `interrupted`, `sets` (each with `name`, `summaries`, `ratios` for p50
    and p95, the same of those `answered_by_both`, `cpu_percent` and the `turns`, pairs of `TurnRow`), `limit_ms`,
    `curves` (`CurvePoint`s), `capacity`, `resting_cpu_percent` and `silent_session_cpu_percent` of one core.
    """
    return {
        "schema": SCHEMA,
        "environment": found.environment,
        "names": list(found.names),
        "interrupted": found.interrupted,
        "sets": [_set_json(one) for one in found.sets],
        "limit_ms": rounded(found.limit_ms),
        "curves": [[rounded(asdict(curve.points[n])) for n in sorted(curve.points)] for curve in found.curves],
        "capacity": [found.capacity(0), found.capacity(1)],
        "resting_cpu_percent": _percents(found.resting),
        "silent_session_cpu_percent": _percents(found.silent),
    }


def _set_json(one: Compared) -> dict[str, Any]:
    return {
        "name": one.name,
        "summaries": [rounded(asdict(one.summary(side))) for side in (0, 1)],
        "ratios": {f"p{percent}": rounded(asdict(one.ratio(percent)), 3) for percent in (50, 95)},
        "answered_by_both": {
            "n": len(one.answered),
            **{f"p{percent}": rounded(asdict(one.ratio_of_answered(percent)), 3) for percent in (50, 95)},
        },
        "cpu_percent": _percents(one.uses),
        "turns": [[rounded(asdict(row)) for row in pair] for pair in one.pairs],
    }


def _percents(uses: Sequence[CpuUse]) -> list[float | None]:
    return [rounded(use.percent, 2) for use in uses]
