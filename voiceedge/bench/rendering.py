"""The report on a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from voiceedge.bench.figures import Distribution
from voiceedge.bench.report import LATE_APPEND_MS, BenchReport, Summary, TurnRow

_BAR_CELLS = 36
_NAME_CELLS = 16
"""A row must fit 80 columns; the whole name stands above its transcript."""

_INTERVAL = (
    "From the user's last voiced sample (its moment in the microphone's schedule) to the first audible "
    "sample of the answer (10 ms above -50 dBFS) when the speaker plays it. "
    "The rest is the network, the voice's leading silence, this client, and how much earlier or later the node "
    "takes the last voiced sample to be."
)


def render(report: BenchReport) -> RenderableType:
    """Transcripts, a row a turn, percentiles and the waterfall of the median turn."""
    return Group(*_parts(report))


def _parts(report: BenchReport) -> Iterator[RenderableType]:
    summary = report.summary
    yield Rule("transcripts", align="left")
    for number, row in enumerate(report.turns, start=1):
        yield _transcript(number, row)
    yield Rule("turns (ms)", align="left")
    yield _turns(report.turns)
    yield Rule("voice to voice (ms)", align="left")
    yield _percentiles(summary)
    yield Text(_INTERVAL, style="dim")
    if report.median_turn is not None:
        yield Rule("where the median turn's time went", align="left")
        yield _waterfall(report.median_turn, summary)
    yield Rule("judged by", align="left")
    yield from _judgement(report, summary)


def _transcript(number: int, row: TurnRow) -> Text:
    text = Text(f"{number:>3} {row.audio}\n", style="bold")
    text.append(f"    user   {row.user_text or '(nothing transcribed)'}\n", style="not bold")
    text.append(f"    agent  {row.agent_text or '(nothing said)'}", style="not bold")
    if row.problems:
        text.append(f"\n    wrong  {', '.join(row.problems).replace('_', ' ')}", style="red not bold")
    for error in row.errors:
        text.append(f"\n    error  {error}", style="red not bold")
    return text


def _turns(rows: tuple[TurnRow, ...]) -> Table:
    segments = _segment_names(rows)
    table = Table(box=box.SIMPLE_HEAD, padding=0)  # the box itself puts a space between
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("recording", no_wrap=True)
    for name in ("client", "server", *segments, "rest"):
        table.add_column(name.replace("_", "\n"), justify="right", no_wrap=True, vertical="bottom")
    table.add_column("", no_wrap=True)
    for number, row in enumerate(rows, start=1):
        path = {part.segment: part.ms for part in row.critical_path}
        table.add_row(
            str(number),
            Text(row.audio if len(row.audio) <= _NAME_CELLS else f"{row.audio[: _NAME_CELLS - 1]}…"),
            _ms(row.client_v2v_ms),
            _ms(row.server_v2v_ms),
            *(_ms(path.get(name)) for name in segments),
            _ms(row.remainder_ms),
            Text("✗" if row.problems else "", style="red"),
        )
    return table


def _percentiles(summary: Summary) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for name in ("n", "p50", "p95", "max"):
        table.add_column(name, justify="right")
    named: tuple[tuple[str, Distribution], ...] = (
        ("client", summary.client_v2v_ms),
        ("server", summary.server_v2v_ms),
        ("rest: client minus server", summary.remainder_ms),
        ("leading silence of the voice", summary.leading_silence_ms),
    )
    for name, times in named:
        if times.n:
            table.add_row(name, str(times.n), _ms(times.p50), _ms(times.p95), _ms(times.max))
    return table


def _waterfall(turn: TurnRow, summary: Summary) -> Table:
    """One bar for each segment, where it lies in the turn; the medians of all turns beside it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("segment")
    table.add_column(Text(turn.audio), width=_BAR_CELLS, no_wrap=True)
    table.add_column("ms", justify="right")
    table.add_column("median of all", justify="right")
    legs = [(part.segment, part.ms, summary.segments_ms.get(part.segment)) for part in turn.critical_path]
    legs.append(("rest", max(turn.remainder_ms or 0.0, 0.0), summary.remainder_ms.p50))
    total_ms = sum(ms for _, ms, _ in legs) or 1.0
    passed_ms = 0.0
    for name, ms, median_ms in legs:
        begin, end = (round(at / total_ms * _BAR_CELLS) for at in (passed_ms, passed_ms + ms))
        drawn = "█" * (end - begin) or "▏" * (ms > 0.0)
        bar = Text(" " * min(begin, _BAR_CELLS - len(drawn)) + drawn, style="cyan")
        table.add_row(name, bar, _ms(ms), _ms(median_ms))
        passed_ms += ms
    return table


def _judgement(report: BenchReport, summary: Summary) -> Iterator[RenderableType]:
    yield Text(f"{summary.turns} turns, {summary.failed} failed (a failed turn is in no percentile)")
    found = [f"{count} x {name.replace('_', ' ')}" for name, count in summary.problems.items() if count]
    if found:
        yield Text(", ".join(found), style="red")
    if report.interrupted:
        yield Text(f"ended early: {report.interrupted}", style="red")
    about = report.environment
    trip = about.get("round_trip_ms")
    yield Text(
        f"client: {about.get('cpu')}, {about.get('cores')} cores, load {about.get('load_before')} before, "
        f"{about.get('load_after')} after; round trip {'unknown' if trip is None else f'{trip} ms'}"
    )
    lag_ms = summary.send_lag_ms.max or 0.0
    if lag_ms > LATE_APPEND_MS:
        yield Text(f"this client was too busy: an append was sent {lag_ms:.0f} ms late", style="yellow")


def _segment_names(rows: tuple[TurnRow, ...]) -> list[str]:
    return list(dict.fromkeys(part.segment for row in rows for part in row.critical_path))


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
