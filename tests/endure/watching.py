"""What a node's process holds, minute by minute, and whether that grows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from scipy import stats

LEAST_SAMPLES = 6
"""Fewer say nothing about a slope."""
CONFIDENCE = 0.95
TASKS, SESSIONS = "voiceedge_tasks", "voiceedge_sessions"
SPARKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Sample:
    """The process at one moment."""

    at_s: float
    """Since the first caller came."""
    resident_mb: float
    threads: int
    descriptors: int
    tasks: int
    sessions: int


@dataclass(frozen=True, slots=True)
class Slope:
    """How fast memory grows."""

    mb_an_hour: float
    low: float
    high: float
    """Between these it is, with a confidence of 95 %."""
    minutes: float
    """That it was measured over."""


async def look(pid: int, url: str, at_s: float) -> Sample:
    """Take a sample; the connection that asks is not in it."""
    told = await _metrics(url)
    process = Path(f"/proc/{pid}")
    status = (process / "status").read_text("ascii")
    return Sample(
        at_s,
        int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1000,
        int(re.findall(r"Threads:\s+(\d+)", status)[0]),
        len(list((process / "fd").iterdir())),
        told[TASKS],
        told[SESSIONS],
    )


async def _metrics(url: str) -> dict[str, int]:
    """Gauges of the node."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        text = (await reader.read()).decode()
    finally:
        writer.close()
        await writer.wait_closed()
    return {name: int(float(re.findall(rf"(?m)^{name} (\S+)$", text)[0])) for name in (TASKS, SESSIONS)}


def slope(samples: Sequence[Sample], *, after_s: float) -> Slope | None:
    """The slope of memory after the warm-up: Theil and Sen's, which a few odd samples do not move; None for too few."""
    later = [sample for sample in samples if sample.at_s >= after_s]
    if len(later) < LEAST_SAMPLES:
        return None
    found = stats.theilslopes([each.resident_mb for each in later], [each.at_s / 3600 for each in later], CONFIDENCE)
    minutes = (later[-1].at_s - later[0].at_s) / 60
    return Slope(float(found.slope), float(found.low_slope), float(found.high_slope), minutes)


def spark(values: Sequence[float], width: int = 60) -> str:
    """A line of blocks, as high as the values; the mean of neighbours where there are more than `width`."""
    if not values:
        return ""
    size = -(-len(values) // width)
    means = [sum(part) / len(part) for begin in range(0, len(values), size) if (part := values[begin : begin + size])]
    low, high = min(means), max(means)
    scale = (len(SPARKS) - 1) / (high - low) if high > low else 0.0
    return "".join(SPARKS[round((mean - low) * scale)] for mean in means)


def as_page(samples: Sequence[Sample], title: str) -> str:
    """A page with a curve for each of what was watched."""
    curves = "".join(
        _curve(name, [(sample.at_s / 60, float(value)) for sample in samples for value in [asdict(sample)[name]]])
        for name in ("resident_mb", "threads", "descriptors", "tasks", "sessions")
    )
    style = (
        "body{font:14px system-ui;margin:2em}svg{background:#f6f6f6}polyline{fill:none;stroke:#06c;stroke-width:1.5}"
    )
    return f"<!doctype html><meta charset=utf-8><title>{title}</title><style>{style}</style><h1>{title}</h1>{curves}\n"


def _curve(name: str, points: Sequence[tuple[float, float]]) -> str:
    low, high = min(y for _, y in points), max(y for _, y in points)
    last = max(points[-1][0], 1e-9)
    scale = 100 / (high - low) if high > low else 0.0
    drawn = " ".join(f"{x / last * 800:.1f},{110 - (y - low) * scale:.1f}" for x, y in points)
    return (
        f"<h2>{name}: {low:g} to {high:g} in {last:.1f} minutes</h2>"
        f'<svg width=800 height=120 role=img aria-label="{name}"><polyline points="{drawn}"/></svg>'
    )
