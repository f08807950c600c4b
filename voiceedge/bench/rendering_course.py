"""How a long run went, on a terminal: drift, and the conversations of an open model."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from voiceedge.bench.arrivals import Arrivals
from voiceedge.bench.figures import Distribution
from voiceedge.bench.report import BenchReport
from voiceedge.bench.soak import Drift


def course(report: BenchReport) -> Iterator[Text]:
    """A line for each that there is."""
    if report.drift is not None:
        yield _drift(report.drift)
    if report.arrivals is not None:
        yield _arrivals(report.arrivals)


def _drift(found: Drift) -> Text:
    first, last = found.first, found.last
    text = Text(
        f"drift, first to last quarter: p50 {_change(first.p50, last.p50)}, p95 {_change(first.p95, last.p95)}, "
    )
    return text.append(f"failed {first.failed} to {last.failed}, of {first.n} turns each")


def _change(before: float | None, after: float | None) -> str:
    percent = f" ({100.0 * (after / before - 1.0):+.0f} %)" if before and after is not None else ""
    return f"{_ms(before)} to {_ms(after)} ms{percent}"


def _arrivals(found: Arrivals) -> Text:
    connect = found.connect_ms
    text = Text(f"open model, {found.per_minute:g} conversations a minute: {found.arrived} arrived, ")
    text.append(f"{found.dropped} dropped", "red" if found.dropped else "")
    text.append(", ")
    text.append(f"{found.refused} refused", "red" if found.refused else "")
    text.append(f", {found.most_at_once} at once at most; {_connect(connect)}")
    return text


def _connect(times: Distribution) -> str:
    if not times.n:
        return "none could be talked in"
    return f"from arrival to a session p50 {_ms(times.p50)}, p95 {_ms(times.p95)}, max {_ms(times.max)} ms"


def _ms(value: float | None) -> str:
    return "∞" if value is None else f"{value:.0f}"
