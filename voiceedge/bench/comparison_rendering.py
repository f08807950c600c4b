"""A comparison of two nodes on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from voiceedge.bench.comparison import SLOWER_AT_MOST, Compared, Comparison, CurvePoint
from voiceedge.bench.exchange import Problem
from voiceedge.bench.figures import Distribution, Estimate
from voiceedge.bench.summary import Drafts

_COUNTED: dict[Problem, str] = {
    "split": "split",
    "double_answer": "twice",
    "no_answer": "never",
    "failed_response": "failed",
    "disconnected": "hung up",
}
"""Columns of what went wrong besides talking over."""


def render_comparison(found: Comparison) -> RenderableType:
    """Every set side by side, the segments, the curve of conversations, the cost of silence."""
    return Group(*_parts(found))


def _parts(found: Comparison) -> Iterator[RenderableType]:
    sets = [one for one in found.sets if one.pairs]
    if sets:
        yield Rule("voice to voice (ms, at the client)", align="left")
        yield _times(found, sets)
        if any(len(one.answered) < len(one.pairs) for one in sets):
            yield Text("A failed turn counts as slower than all others. Answered: the ratio where neither failed.")
        yield Rule("medians of the segments (ms, by the node)", align="left")
        yield _segments(found, sets)
        yield Rule("what went wrong (turns)", align="left")
        yield _wrong(found, sets)
        yield from _drafts(found, sets)
    if any(curve.points for curve in found.curves):
        yield Rule("conversations at once", align="left")
        yield _curves(found)
        yield from _capacities(found)
    for what, uses in (("without a session", found.resting), ("a session in which nobody speaks", found.silent)):
        for name, use in zip(found.names, uses, strict=False):
            yield Text(f"{what}: {name} {_number(use.percent, 2)} % of a core")
    about = found.environment
    yield Text(f"{about.get('cpu')}, {about.get('cores')} cores, load {about.get('load_before')} before", style="dim")
    if found.interrupted:
        yield Text(f"ended early: {found.interrupted}", style="red")


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=0)  # the box itself puts a space between; 80 columns are enough
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < 2 else "right")
    return table


def _times(found: Comparison, sets: list[Compared]) -> Table:
    table = _table("set", "node", "n", "p50", "p95", "p99", "max", "CPU %")
    for one in sets:
        for side, name in enumerate(found.names):
            times = one.summary(side).client_v2v_ms
            table.add_row(one.name if side == 0 else "", name, *_figures(times), _number(one.uses[side].percent))
        ratios = [("ratio", len(one.pairs), one.ratio(50), one.ratio(95))]
        if len(one.answered) < len(one.pairs):
            both = ("answered", len(one.answered), one.ratio_of_answered(50), one.ratio_of_answered(95))
            ratios.append(both)
        for name, n, p50, p95 in ratios:
            table.add_row("", name, str(n), _number(p50.value, 2), _number(p95.value, 2), style="bold")
            table.add_row("", "  95 %", "", _ends(p50), _ends(p95), style="dim")
        table.add_section()
    return table


def _figures(times: Distribution) -> tuple[str, ...]:
    percentiles = (times.p50, times.p95, times.p99)
    cells = ("∞" if value is None and times.failed else _number(value) for value in percentiles)
    return (str(times.n), *cells, _number(times.max))


def _ends(found: Estimate) -> str:
    """Of the interval, bootstrapped over recordings."""
    return f"{_number(found.low, 2)} to {_number(found.high, 2)}"


def _segments(found: Comparison, sets: list[Compared]) -> Table:
    medians = [[one.summary(side).segments_ms for side in (0, 1)] for one in sets]
    names = list(dict.fromkeys(name for both in medians for side in both for name in side))
    table = _table("set", "node", *names)
    for one, both in zip(sets, medians, strict=True):
        for side, name in enumerate(found.names):
            cells = (_number(both[side].get(segment)) for segment in names)
            table.add_row(one.name if side == 0 else "", name, *cells, end_section=side == 1)
    return table


def _wrong(found: Comparison, sets: list[Compared]) -> Table:
    """Counts; restarts are a column of their own, because nobody hears one that is not talked over as well."""
    table = _table("set", "node", "n", "talked over", "%", *_COUNTED.values(), "restarts")
    for one in sets:
        for side, name in enumerate(found.names):
            summary = one.summary(side)
            over = summary.problems["talked_over"]
            counts = (str(summary.problems[problem]) for problem in _COUNTED)
            rude = (str(over), _number(100.0 * over / summary.turns, 1))
            cells = (str(summary.turns), *rude, *counts, str(summary.restarted))
            table.add_row(one.name if side == 0 else "", name, *cells, end_section=side == 1)
    return table


def _drafts(found: Comparison, sets: list[Compared]) -> Iterator[Text]:
    for one in sets:
        for side, name in enumerate(found.names):
            drafts = one.summary(side).drafts
            if drafts is not None:
                yield Text(f"{one.name}, {name}: {_drafted(drafts, one.uses[side].cpu_s)}")


def _drafted(drafts: Drafts, cpu_s: float) -> str:
    wasted = f"{drafts.wasted_ms / 1000.0:.1f} s thrown away"
    if drafts.wasted_percent is not None:
        wasted += f", {drafts.wasted_percent:.0f} % of the engines' time"
    if cpu_s > 0.0:
        wasted += f", {drafts.wasted_ms / 10.0 / cpu_s:.0f} % of the process's"
    return (
        f"answer ready at the endpoint in {drafts.ready_percent:.0f} % of {drafts.turns} turns, drafted in "
        f"{drafts.drafted_percent:.0f} %, {wasted}"
    )


def _curves(found: Comparison) -> Table:
    table = _table("node", "sessions", "n", "p50", "p95", "p99", "max", "CPU %", "x alone", "holds")
    limit_ms = found.limit_ms
    for name, curve in zip(found.names, found.curves, strict=True):
        alone = curve.points.get(1)
        for point in (curve.points[sessions] for sessions in sorted(curve.points)):
            holds = "-" if limit_ms is None else "yes" if point.holds(limit_ms) else "no"
            cells = (_number(point.cpu_percent), _slowdown(point, alone), holds)
            table.add_row(name, str(point.sessions), *_figures(point.summary.client_v2v_ms), *cells)
        table.add_section()
    return table


def _slowdown(point: CurvePoint, alone: CurvePoint | None) -> str:
    """The p95 over that of one conversation."""
    p95 = point.summary.client_v2v_ms.p95
    one = alone.summary.client_v2v_ms.p95 if alone else None
    return _number(p95 / one if p95 and one else None, 2)


def _capacities(found: Comparison) -> Iterator[Text]:
    if found.limit_ms is None:
        return
    ours, theirs = (found.capacity(side) for side in (0, 1))
    text = (
        f"conversations with a p95 under {found.limit_ms:.0f} ms ({SLOWER_AT_MOST} times {found.names[1]}'s with one): "
        f"{found.names[0]} {ours}, {found.names[1]} {theirs}"
    )
    yield Text(text + (f", {ours / theirs:.1f} times as many" if ours and theirs else ""), style="bold")


def _number(value: float | None, decimals: int = 0) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"
