"""The report on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from voiceedge.bench.breakdown import breakdown
from voiceedge.bench.change_rendering import render_change
from voiceedge.bench.figures import Distribution
from voiceedge.bench.rendering_about import about
from voiceedge.bench.rendering_course import course
from voiceedge.bench.rendering_turns import compositions, milliseconds, transcript, turns, waterfall, went_wrong
from voiceedge.bench.report import INTERVAL, BenchReport
from voiceedge.bench.selfcheck import LAG_MS, SelfCheck
from voiceedge.bench.slo import Judged
from voiceedge.bench.summary import Drafts, Summary, summarise


def render(report: BenchReport) -> RenderableType:
    """What was measured, every turn or those that went wrong, the figures, and all that they depend on.

    Of several runs or conversations only the turns that went wrong are written out, and there is a row for each run
    and conversation. Wants a console that wraps; the last line, the command, stays in one piece on any.
    """
    return Group(*_parts(report))


def _parts(report: BenchReport) -> Iterator[RenderableType]:
    summary = report.summary
    yield Text(f"Voice to voice: {INTERVAL[0].lower()}{INTERVAL[1:]}")
    yield from _single_turns(report)
    for name, groups in (("run", report.runs), ("conversation", report.sessions)):
        if len(groups) > 1 and not (report.arrivals is not None and name == "conversation"):  # as many as callers
            yield Rule(f"voice to voice of each {name} (ms)", align="left")
            yield _groups(name, groups)
    yield Rule("voice to voice (ms)", align="left")
    yield _percentiles(report, summary)
    yield Text(
        "Each row has percentiles of its own: they do not add up. A failed turn counts as slower than all others (∞). "
        "Cold: the first answered turn of a session.",
        style="dim",
    )
    yield from _where_time_went(report)
    if report.ramp is not None:
        yield Rule("conversations at once", align="left")
        yield _curve(report)
    if report.change is not None:
        yield render_change(report.change)
    yield Rule("judged by", align="left")
    yield from _judgement(report, summary)
    yield Rule("measured on", align="left")
    yield from about(report)
    if report.command is not None:
        yield Rule("run it again", align="left")
        yield Text(report.command, no_wrap=True, overflow="ignore")


def _single_turns(report: BenchReport) -> Iterator[RenderableType]:
    several = len(report.runs) > 1 or len(report.sessions) > 1
    shown = report.turns
    if several:  # hundreds of turns: only what went wrong is worth reading, the rest is in the JSON
        shown = tuple(row for row in report.turns if went_wrong(row) or row.errors)
    if shown and "from_wav" not in report.environment:  # a tape holds no words
        yield Rule("turns that went wrong" if several else "transcripts", align="left")
        for number, row in enumerate(shown, start=1):
            yield transcript(number, row)
    if not several and report.turns:
        yield Rule("turns (ms)", align="left")
        yield turns(report.turns)


def _groups(name: str, groups: Mapping[int, Summary]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in (name, "n", "p50", "p95", "p99", "max", "failed"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for number, summary in groups.items():
        table.add_row(str(number), *_figures(summary.client_v2v_ms), str(summary.failed), _found(summary))
    return table


def _percentiles(report: BenchReport, summary: Summary) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for name in ("n", "p50", "p95", "p99", "max"):
        table.add_column(name, justify="right")
    table.add_row("client, all turns", *_figures(summary.client_v2v_ms), style="bold")
    for name, rows in (("  warm", report.warm), ("  cold", report.cold)):
        if rows and report.warm:
            table.add_row(name, *_figures(summarise(rows).client_v2v_ms))
    table.add_section()
    parts: tuple[tuple[str, Distribution], ...] = (
        ("endpoint wait", summary.wait_ms),
        ("queueing", summary.queue_ms),
        ("compute", summary.compute_ms),
        ("network", summary.network_ms),
        ("leading silence of the voice", summary.leading_silence_ms),
        ("node's zero is later by", summary.zero_shift_ms),
        ("unexplained", summary.unexplained_ms),
    )
    _add(table, parts)
    _add(table, (("node's own figure", summary.server_v2v_ms), ("client minus node", summary.remainder_ms)))
    stopped = ("interrupted: silent after", summary.barge_in_ms)
    _add(table, (stopped, ("interrupted: still sent for", summary.dead_audio_ms)))
    return table


def _add(table: Table, rows: Sequence[tuple[str, Distribution]]) -> None:
    for name, times in rows:
        if times.n:
            table.add_row(name, *_figures(times))
    table.add_section()


def _figures(times: Distribution) -> tuple[str, ...]:
    """The cells n, p50, p95, p99, max; a percentile among failed turns is endless."""
    percentiles = (times.p50, times.p95, times.p99)
    cells = ("∞" if value is None and times.failed else milliseconds(value) for value in percentiles)
    return (str(times.n), *cells, milliseconds(times.max))


def _found(summary: Summary) -> str:
    found = [f"{count} x {name.replace('_', ' ')}" for name, count in summary.problems.items() if count]
    return ", ".join(found)


def _where_time_went(report: BenchReport) -> Iterator[RenderableType]:
    if report.median_turn is not None:
        yield Rule("where the median turn's time went", align="left")
        yield waterfall(report.median_turn)
        yield Text(
            "░ ran while something else made the listener wait. Zero shift: the node takes the last voiced sample to "
            "be so much later (negative: earlier). Unexplained: this client, and what was not measured.",
            style="dim",
        )
    if found := breakdown(report.turns):
        yield Rule("what turns around each percentile are made of (ms)", align="left")
        yield compositions(found)
        yield Text("Means of the turns next to the percentile, so that the columns add up.", style="dim")


_CURVE_CELLS = 24


def _curve(report: BenchReport) -> RenderableType:
    assert report.ramp is not None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("conversations", "n", "p50", "p95", "p99", "max", "kept"):
        table.add_column(heading, justify="right")
    table.add_column("p95")
    steps = sorted(report.ramp.steps, key=lambda step: step.sessions)
    found = [(step, step.report.summary.client_v2v_ms) for step in steps]
    widest_ms = max((times.p95 for _, times in found if times.p95 is not None), default=0.0) or 1.0
    for step, times in found:
        bar = "∞" if times.failed else ""  # without any turn the node refused so many
        if times.p95 is not None:
            bar = "█" * round(times.p95 / widest_ms * _CURVE_CELLS)
        kept = Text("yes" if step.kept else "no" if times.n else "refused", style="green" if step.kept else "red")
        table.add_row(str(step.sessions), *_figures(times), kept, Text(bar, style="cyan"))
    said = f"Capacity: {report.ramp.capacity} conversations at once. {report.ramp.limit_reason}"
    return Group(table, Text(said, style="bold"))


def _judgement(report: BenchReport, summary: Summary) -> Iterator[RenderableType]:
    for one in report.judged:
        yield _verdict(one)
    yield Text(f"{summary.turns} turns, {summary.failed} failed (a failed turn counts as slower than all others)")
    if found := _found(summary):
        yield Text(found, style="red")
    if words := summary.transcripts:
        yield Text(
            f"words: {words.error_rate_percent:.1f} % wrong of {words.words} in {words.turns} turns; "
            f"{words.exact} turns without an error, {words.wrong} with more than half wrong"
        )
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
    yield from course(report)
    if report.interrupted:
        yield Text(f"ended early: {report.interrupted}", style="red")
    if report.self_check is not None:
        yield _self_check(report.self_check)
    lag_ms = summary.send_lag_ms.max or 0.0
    if lag_ms > LAG_MS:
        yield Text(f"one append was sent {lag_ms:.0f} ms late, which counts against the node", style="yellow")


def _self_check(found: SelfCheck) -> Text:
    if found.void:
        faults = "; ".join(found.faults)
        return Text(f"VOID: the bench itself could not keep up, its figures say nothing: {faults}", style="bold red")
    return Text(
        f"self-check passed: the bench used {found.cpu_percent:.0f} % of a core, woke "
        f"{milliseconds(found.loop_lag_ms.p99)} ms late and sent {milliseconds(found.append_lag_ms.p99)} ms late (p99)"
    )


def _verdict(judged: Judged) -> Text:
    return Text(str(judged), style="green" if judged.verdict.kept else "bold red")


def _drafted(drafts: Drafts) -> Text:
    wasted = f"{drafts.wasted_ms:.0f} ms" if drafts.wasted_percent is None else f"{drafts.wasted_percent:.0f} %"
    return Text(
        f"drafted before the user had finished: {drafts.drafted_percent:.0f} % of {drafts.turns} turns; answer ready "
        f"when the endpoint was decided: {drafts.ready_percent:.0f} %; engine time thrown away: {wasted}"
    )
