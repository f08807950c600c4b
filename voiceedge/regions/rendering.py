"""What was measured of the nodes, for a terminal of 80 columns and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from voiceedge.regions.physics import BUDGETS_MS
from voiceedge.regions.places import Place
from voiceedge.regions.probing import TRIES, Reading, State, choose

SCHEMA = "voiceedge.regions/1"
COLOURS: dict[State, str] = {
    "ready": "green",
    "full": "yellow",
    "busy": "yellow",
    "loading": "yellow",
    "draining": "yellow",
    "unreachable": "red",
    "no node": "red",
}
UNKNOWN = "unknown"
MOST_NAME, MOST_PLACE = 14, 11
"""Letters of a node's name and of its place that fit into 80 columns beside the figures."""


def render(readings: Sequence[Reading], origin: Place | None, tries: int = TRIES) -> Group:
    """The table of all nodes, what is wrong with some, which to use, and how to read the figures."""
    chosen = choose(readings)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading, most in (("", 1), ("node", MOST_NAME), ("region", MOST_PLACE), ("state", None)):
        table.add_column(heading, no_wrap=True, max_width=most)
    for heading in ("km", "floor ms", "trip ms", *(f"of {budget}" for budget in BUDGETS_MS)):
        table.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    for reading in readings:
        table.add_row(*_row(reading, is_chosen=reading is chosen))
    lines = [
        Text.from_markup(f"[yellow]![/] {escape(reading.node.name)}: {escape(remark)}")
        for reading in readings
        if (remark := _remark(reading))
    ]
    return Group(table, "", *lines, _advice(chosen), Text(_legend(origin, tries), style="dim"))


def as_json(readings: Sequence[Reading], origin: Place | None, tries: int = TRIES) -> dict[str, Any]:
    """The same for programs; times in milliseconds, null where nothing is known."""
    chosen = choose(readings)
    return {
        "schema": SCHEMA,
        "from": _place(origin),
        "tries": tries,
        "round_trip": "GET /healthz on a kept connection, median",
        "use": None if chosen is None else chosen.node.url,
        "nodes": [_node(reading) for reading in readings],
    }


def _remark(reading: Reading) -> str:
    """What has to be said of a node beside its figures; empty for most."""
    if not reading.reason and (reading.round_trip_ms or 0.0) < (reading.floor_ms or 0.0):
        return "answers sooner than light could: it, or you, do not stand where it was said"
    return reading.reason


def _row(reading: Reading, *, is_chosen: bool) -> list[str]:
    sessions = "" if reading.sessions is None else f" {reading.sessions}/{reading.max_sessions}"
    ms = reading.round_trip_ms
    return [
        "[bold green]→[/]" if is_chosen else "",
        escape(reading.node.name),
        escape(UNKNOWN if reading.place is None else reading.place.name),
        f"[{COLOURS[reading.state]}]{reading.state}[/]{sessions}",
        "?" if reading.km is None else f"{reading.km:,.0f}",
        "?" if reading.floor_ms is None else f"{reading.floor_ms:.1f}",
        "—" if ms is None else f"{ms:.1f}",
        *(_share(ms, budget) for budget in BUDGETS_MS),
    ]


def _share(ms: float | None, budget_ms: int) -> str:
    if ms is None:
        return "—"
    share = ms / budget_ms
    colour = "red" if share > 1 else "yellow" if share > 1 / 2 else "green"
    return f"[{colour}]{share * 100:.0f} %[/]"


def _advice(chosen: Reading | None) -> Text:
    if chosen is None:
        return Text.from_markup("[red]No node would take a conversation now.[/]")
    # the address is what is copied: it must not be broken by a colour or a full stop
    return Text.from_markup(f"use [bold]{escape(chosen.node.name)}[/]: {escape(chosen.node.url)}")


def _legend(origin: Place | None, tries: int) -> str:
    start = "no start: give --from" if origin is None else f"from {origin.name}"
    return (
        f"trip: median round trip of {tries} small requests on one open connection\n"
        f"floor: great circle at two thirds of c, there and back; {start}\n"
        f"of {BUDGETS_MS[0]}, of {BUDGETS_MS[1]}: what the round trip takes of so many milliseconds"
    )


def _node(reading: Reading) -> dict[str, Any]:
    ms = reading.round_trip_ms
    return {
        "name": reading.node.name,
        "url": reading.node.url,
        "address": reading.node.address,
        "state": reading.state,
        "reason": reading.reason or None,
        "version": reading.version,
        "region": _place(reading.place),
        "sessions": reading.sessions,
        "max_sessions": reading.max_sessions,
        "distance_km": _rounded(reading.km, 0),
        "floor_ms": _rounded(reading.floor_ms),
        "connect_ms": _rounded(reading.connect_ms),
        "round_trip_ms": _rounded(ms),
        "round_trips_ms": [_rounded(each) for each in reading.round_trips_ms],
        "share_of": {str(budget): None if ms is None else round(ms / budget, 4) for budget in BUDGETS_MS},
    }


def _place(place: Place | None) -> dict[str, Any] | None:
    if place is None:
        return None
    return {"name": place.name, "latitude": place.latitude, "longitude": place.longitude}


def _rounded(value: float | None, digits: int = 3) -> float | None:
    return None if value is None else round(value, digits)
