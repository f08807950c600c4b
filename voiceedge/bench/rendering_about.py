"""What a report's figures depend on, on a terminal: both machines, the models, the settings, the load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from voiceedge.bench.rendering_turns import plain
from voiceedge.bench.report import BenchReport

_GIB = 1 << 30
_HASH_DIGITS = 12


def about(report: BenchReport) -> Iterator[RenderableType]:
    """The environment block."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    facts = report.environment
    if "from_wav" in facts:
        yield Text(
            f"{facts['from_wav']}: {facts['seconds']:g} s at {facts['rate_hz']} Hz, utterances {facts['utterances']}"
        )
        return
    rows = [("asked", _asked(facts)), ("client", _client(facts)), ("while it ran", _while_it_ran(facts))]
    for name, text in (*rows, *(_node(report.node) if report.node is not None else ())):
        if text:
            table.add_row(name, Text(plain(text)))
    yield table


def _asked(facts: Mapping[str, Any]) -> str:
    is_open = facts.get("arrivals_per_minute") is not None
    said = (
        (facts.get("url"), "{}"),
        (facts.get("turn_detection"), "turn detection {}"),
        (facts.get("listen"), "listening: {}"),
        (facts.get("sessions"), "sessions: {}"),
        (None if is_open else facts.get("conversations"), "{} at once"),
        (facts.get("think_s"), "thinks {} s"),
        (facts.get("arrivals_per_minute"), "open model of {} arrivals a minute"),
        (facts.get("soak_s"), "for {} s"),
        (facts.get("hesitate_s"), "hesitates {} s"),
        (facts.get("barge_in_s"), "interrupts after {} s"),
        (facts.get("via_rtt_ms"), "{} ms put into the way"),
        (facts.get("seed"), "seed {}"),
    )
    told = [form.format(value) for value, form in said if value is not None]
    if "conversations" in facts and not is_open:
        told.append("closed model: every question waits for the answer before it")
    return ", ".join(told)


def _client(facts: Mapping[str, Any]) -> str:
    limits = [
        f"{cores:g} cores" if (cores := facts.get("container_cpu_cores")) is not None else "",
        f"{memory / _GIB:.1f} GiB" if (memory := facts.get("container_memory_bytes")) is not None else "",
    ]
    limited = " and ".join(filter(None, limits))
    memory = facts.get("memory_bytes")
    said = (
        f"{facts.get('cpu')}, {facts.get('cores')} cores",
        f"{memory / _GIB:.1f} GiB" if memory is not None else "",
        f"container limit {limited}" if limited else "",
        f"governor {facts['governor']}" if facts.get("governor") else "",
        str(facts.get("platform") or ""),
        f"Python {facts['python']}" if "python" in facts else "",
        f"voiceedge {facts['voiceedge']}" if "voiceedge" in facts else "",
    )
    return ", ".join(filter(None, said))


def _while_it_ran(facts: Mapping[str, Any]) -> str:
    trip = facts.get("round_trip_ms")
    percents = (("client_cpu_percent", "bench {} % of a core"), ("steal_percent", "{} % of the processors stolen"))
    return ", ".join(
        (
            f"load {facts.get('load_before')} before, {facts.get('load_after')} after",
            *(form.format(facts[name]) for name, form in percents if facts.get(name) is not None),
            f"round trip {'unknown' if trip is None else f'{trip} ms'}",
        )
    )


def _node(node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The node's own words: anything may be missing, or of another kind."""
    machine, threads, region = (_table(node.get(name)) for name in ("machine", "threads", "region"))
    memory = machine.get("memory_bytes")
    said = (
        f"voiceedge {node['version']}" if "version" in node else "",
        f"profile {node['profile']}" if "profile" in node else "",
        f"region {region['name']}" if "name" in region else "",
        f"{machine.get('cpu')}, {machine.get('cores')} cores" if machine else "",
        f"{memory / _GIB:.1f} GiB" if isinstance(memory, int | float) else "",
        "threads " + " ".join(f"{name} {count}" for name, count in threads.items()) if threads else "",
        f"{node['max_sessions']} sessions at most" if "max_sessions" in node else "",
    )
    yield "node", ", ".join(filter(None, said))
    models = node.get("models")
    for model in map(_table, models if isinstance(models, list) else []):
        digest = str(model.get("sha256") or "no hash")[:_HASH_DIGITS]
        yield (
            str(model.get("stage", "model")),
            f"{model.get('name')}, {model.get('quantisation') or 'quantisation unknown'}, {digest}",
        )


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
