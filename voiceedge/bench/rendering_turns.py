"""Single turns on a terminal: what was said, a row for each, and the waterfall of one."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from voiceedge.bench.breakdown import Composition
from voiceedge.bench.row import TurnRow
from voiceedge.bench.stages import stages

_BAR_CELLS = 40
_NAME_CELLS = 16
"""A row must fit 80 columns; the whole name stands above its transcript."""
_SHOWN_FROM_MS = 0.5


def plain(text: str) -> str:
    """Words from elsewhere, without what would steer the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def milliseconds(value: float | None) -> str:
    """A cell of a table."""
    return "-" if value is None else f"{value:.0f}".replace("-0", "0")


def transcript(number: int, row: TurnRow) -> RenderableType:
    """Who said what, and what went wrong."""
    lines = Table.grid(padding=(0, 1))
    lines.add_column(width=3)
    lines.add_column(width=6)
    lines.add_column()
    lines.add_row("", "user", Text(plain(row.user_text) or "(nothing transcribed)"))
    if row.wrong_transcript:
        lines.add_row("", "said", Text(plain(row.expected_text or ""), style="yellow"))
    lines.add_row("", "agent", Text(plain(row.agent_text) or "(nothing said)"))
    if wrong := went_wrong(row):
        lines.add_row("", "wrong", Text(", ".join(wrong)), style="red")
    for error in row.errors:
        lines.add_row("", "error", Text(plain(error)), style="red")
    return Group(Text(f"{number:>3} {plain(row.audio)}", style="bold"), lines)


def went_wrong(row: TurnRow) -> list[str]:
    """Everything that was not right with a turn, in words."""
    wrong: list[str] = [problem.replace("_", " ") for problem in row.problems]
    return [*wrong, "transcript wrong"] if row.wrong_transcript else wrong


def turns(rows: Sequence[TurnRow]) -> Table:
    """A line for each turn."""
    segments = list(dict.fromkeys(part.segment for row in rows for part in row.critical_path))
    table = Table(box=box.SIMPLE_HEAD, padding=0)  # the box itself puts a space between
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("recording", no_wrap=True)
    for name in ("client", "server", *segments, "rest"):
        table.add_column(name.replace("_", "\n"), justify="right", no_wrap=True, vertical="bottom")
    table.add_column("", no_wrap=True)
    for number, row in enumerate(rows, start=1):
        path = {part.segment: part.ms for part in row.critical_path}
        name = plain(row.audio)
        table.add_row(
            str(number),
            Text(name if len(name) <= _NAME_CELLS else f"{name[: _NAME_CELLS - 1]}…"),
            milliseconds(row.client_v2v_ms),
            milliseconds(row.server_v2v_ms),
            *(milliseconds(path.get(name)) for name in segments),
            milliseconds(row.remainder_ms),
            Text("✗" if went_wrong(row) else "", style="red"),
        )
    return table


def waterfall(turn: TurnRow) -> Table:
    """One bar for each leg, where it lies in the turn, and in grey what ran beside it."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    table.add_column(Text(plain(turn.audio)), width=_BAR_CELLS, no_wrap=True)
    table.add_column("ms", justify="right")
    table.add_column("hidden", justify="right")
    beside = {stage.segment: stage for stage in stages(turn.marks_ms)}
    legs = turn.legs or turn.critical_path
    # legs are longer than the whole where one of them is negative
    total_ms = max(turn.client_v2v_ms or 0.0, sum(max(leg.ms, 0.0) for leg in legs)) or 1.0
    passed_ms, node_begins_ms = 0.0, max(turn.zero_shift_ms or 0.0, 0.0)
    for leg in legs:
        cells = [" "] * _BAR_CELLS
        stage = beside.get(leg.segment)
        if stage is not None and stage.hidden_from_ms is not None:
            begin_ms, end_ms = node_begins_ms + stage.hidden_from_ms, node_begins_ms + stage.end_ms
            _fill(cells, begin_ms / total_ms, end_ms / total_ms, "░")
        if leg.ms > 0.0:
            _fill(cells, passed_ms / total_ms, (passed_ms + leg.ms) / total_ms, "█")
        bar = Text("".join(cells), style="cyan")
        bar.highlight_regex("░+", style="dim")
        hidden_ms = 0.0 if stage is None else stage.hidden_ms
        hidden = milliseconds(hidden_ms) if hidden_ms >= _SHOWN_FROM_MS else ""
        table.add_row(leg_name(leg.segment), bar, milliseconds(leg.ms), Text(hidden, style="dim"))
        passed_ms += max(leg.ms, 0.0)
    return table


def _fill(cells: list[str], begin: float, end: float, sign: str) -> None:
    """Draw from one share of the whole to another; the shortest as a sliver."""
    first, last = (min(max(round(share * len(cells)), 0), len(cells)) for share in (begin, end))
    if first == last:
        first, last, sign = min(first, len(cells) - 1), min(first, len(cells) - 1) + 1, "▏" if sign == "█" else sign
    cells[first:last] = sign * (last - first)


def leg_name(segment: str) -> str:
    """As people read it."""
    names = {"wait": "endpoint wait", "queue": "queueing"}
    return names.get(segment, plain(segment.replace("_", " ")))


def compositions(found: Sequence[Composition]) -> Table:
    """What turns around each percentile are made of; the columns add up."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for one in found:
        table.add_column(f"p{one.percentile}", justify="right")
    for name in dict.fromkeys(name for one in found for name in one.legs_ms):
        table.add_row(leg_name(name), *(_cell(one, one.legs_ms.get(name)) for one in found))
    table.add_section()
    table.add_row("client", *(_cell(one, one.client_v2v_ms) for one in found), style="bold")
    table.add_row("turns", *(str(one.turns) for one in found), style="dim")
    return table


def _cell(one: Composition, value: float | None) -> str:
    return milliseconds(value) if one.turns else "∞"
