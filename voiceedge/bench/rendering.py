"""The report on a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import get_args

from rich import box
from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from voiceedge.bench.figures import Distribution
from voiceedge.bench.options import Doing, Progress
from voiceedge.bench.report import LATE_APPEND_MS, BenchReport, Drafts, Summary, TurnRow

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
    """Transcripts, a row a turn, percentiles and the waterfall of the median turn.

    Of several runs or conversations only the turns that went wrong, and a row for each run and conversation.
    """
    return Group(*_parts(report))


def progress_line(progress: Progress) -> str:
    """What happens now, in one line."""
    if len(progress.all_doing) <= 1:
        return f"{progress.turn}/{progress.turns} {progress.audio}: {progress.doing}"
    counted = Counter(progress.all_doing)
    doing = ", ".join(f"{counted[one]} {one}" for one in get_args(Doing) if counted[one])
    return f"{progress.turn}/{progress.turns} of {len(progress.all_doing)} conversations: {doing}"


def _parts(report: BenchReport) -> Iterator[RenderableType]:
    summary = report.summary
    shown = report.turns
    several = len(report.runs) > 1 or len(report.sessions) > 1
    if several:  # hundreds of turns: only what went wrong is worth reading, the rest is in the JSON
        shown = tuple(row for row in report.turns if row.problems or row.errors)
    if shown:
        yield Rule("turns that went wrong" if several else "transcripts", align="left")
        for number, row in enumerate(shown, start=1):
            yield _transcript(number, row)
    if not several:
        yield Rule("turns (ms)", align="left")
        yield _turns(report.turns)
    for name, groups in (("run", report.runs), ("conversation", report.sessions)):
        if len(groups) > 1:
            yield Rule(f"voice to voice of each {name} (ms)", align="left")
            yield _groups(name, groups)
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


def _groups(name: str, groups: Mapping[int, Summary]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in (name, "n", "p50", "p95", "p99", "max", "failed"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for number, summary in groups.items():
        table.add_row(str(number), *_figures(summary.client_v2v_ms), str(summary.failed), _found(summary))
    return table


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
    for name in ("n", "p50", "p95", "p99", "max"):
        table.add_column(name, justify="right")
    named: tuple[tuple[str, Distribution], ...] = (
        ("client", summary.client_v2v_ms),
        ("server", summary.server_v2v_ms),
        ("rest: client minus server", summary.remainder_ms),
        ("leading silence of the voice", summary.leading_silence_ms),
    )
    for name, times in named:
        if times.n:
            table.add_row(name, *_figures(times))
    return table


def _figures(times: Distribution) -> tuple[str, ...]:
    """The cells n, p50, p95, p99, max; a percentile among failed turns is endless."""
    percentiles = (times.p50, times.p95, times.p99)
    cells = ("∞" if value is None and times.failed else _ms(value) for value in percentiles)
    return (str(times.n), *cells, _ms(times.max))


def _found(summary: Summary) -> str:
    found = [f"{count} x {name.replace('_', ' ')}" for name, count in summary.problems.items() if count]
    return ", ".join(found)


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
    yield Text(f"{summary.turns} turns, {summary.failed} failed (a failed turn counts as slower than all others)")
    if found := _found(summary):
        yield Text(found, style="red")
    if summary.problems["talked_over"] or any(row.hesitates_ms is not None for row in report.turns):
        share = 100.0 * summary.problems["talked_over"] / summary.turns
        yield Text(f"answers audible before the user had finished: {share:.1f} % of the turns")
    if summary.restarted:
        unheard = sum(row.restarts > 0 and "talked_over" not in row.problems for row in report.turns)
        yield Text(
            f"speech taken for over and then heard to go on: {summary.restarted} turns, of which the user noticed "
            f"nothing in {unheard}"
        )
    if summary.drafts:
        yield _drafted(summary.drafts)
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


def _drafted(drafts: Drafts) -> Text:
    wasted = f"{drafts.wasted_ms:.0f} ms" if drafts.wasted_percent is None else f"{drafts.wasted_percent:.0f} %"
    return Text(
        f"drafted before the user had finished: {drafts.drafted_percent:.0f} % of {drafts.turns} turns; answer ready "
        f"when the endpoint was decided: {drafts.ready_percent:.0f} %; engine time thrown away: {wasted}"
    )


def _segment_names(rows: tuple[TurnRow, ...]) -> list[str]:
    return list(dict.fromkeys(part.segment for row in rows for part in row.critical_path))


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
