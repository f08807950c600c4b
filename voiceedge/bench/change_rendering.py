"""A comparison with an older report, on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from voiceedge.bench.change import Change, Way
from voiceedge.bench.figures import Estimate
from voiceedge.bench.rendering_turns import leg_name, milliseconds, plain

_DRAWN: dict[Way, str] = {
    "recordings": "The typical ratio decides: of every recording's median now over before, the middle half. {n} "
    "recordings, drawn together.",
    "apart": "The ratio of the p50s decides: only {n} recordings are in both runs. Each side's recordings are drawn "
    "apart.",
    "turns": "The ratio of the p50s decides: only {n} recordings, so that turns are drawn and no recordings. It says "
    "nothing of others.",
}
Shown = Callable[[float | None], str]
_STYLES = {"slower": "bold red", "faster": "bold green", "no difference": "bold", "cannot tell": "bold yellow"}


def render_change(change: Change) -> RenderableType:
    """The verdict, the figures that it rests on, and what else differs."""
    return Group(*_parts(change))


def _parts(change: Change) -> Iterator[RenderableType]:
    yield Rule("compared with the older report (ms)", align="left")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("")
    for heading in ("old", "new", "difference", "95 %", "ratio", "95 %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for shift in change.shifts:
        segment, _, name = shift.name.rpartition(" ")
        table.add_row(
            f"{leg_name(segment)} {name}",
            milliseconds(shift.old_ms),
            milliseconds(shift.new_ms),
            _signed(shift.difference_ms.value),
            _ends(shift.difference_ms, _signed),
            _ratio(shift.ratio.value),
            _ends(shift.ratio, _ratio),
        )
    yield table
    yield Text(_DRAWN[change.way].format(n=change.recordings), style="dim")
    for warning in change.warnings:
        yield Text(f"mind: {plain(warning)}", style="yellow")
    yield Text(change.sentence, style=_STYLES[change.verdict])


def _ends(found: Estimate, shown: Shown) -> str:
    return f"{shown(found.low)} to {shown(found.high)}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.0f}".replace("-0", "0").replace("+0", "0")


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
