"""Everybody who looks on while a node works: its log, its metrics, the live view and, where they are wanted, spans."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voiceedge.config import BYTES_A_MEGABYTE, Config
from voiceedge.errors import ConfigError
from voiceedge.server.build import Build
from voiceedge.server.judging import Judge, read_budget
from voiceedge.server.live import Live
from voiceedge.server.metrics import Fate, LoopSink, Metrics
from voiceedge.server.turn_log import TurnLog
from voiceedge.session.node import TurnSink

if TYPE_CHECKING:  # an extra, that may not be here
    from voiceedge.server.spans import Spans

NOT_INSTALLED = (
    "otlp_endpoint is set, and OpenTelemetry is not installed: run `pip install 'voiceedge[otel]'`, or unset it "
    "(also OTEL_EXPORTER_OTLP_ENDPOINT)."
)


@dataclass(frozen=True, slots=True)
class Seeing:
    """Who looks on."""

    report: TurnSink
    """Takes every turn that is over."""
    metrics: Metrics
    live: Live
    spans: Spans | None
    """Is told of sessions as well; None where no spans are wanted."""


@contextmanager
def seeing(config: Config, build: Build) -> Iterator[Seeing]:
    """Open what the settings ask for; what is open is closed, and sent, at the end.

    Raises:
        ConfigError: the budget, the trace file or the exporter cannot be what the settings say.
    """
    budget = read_budget(config.budget)
    metrics, live = Metrics(build), Live(budget)
    log = TurnLog(config.trace_file, max_bytes=config.trace_file_mb * BYTES_A_MEGABYTE, max_files=config.trace_files)
    with log as turn_log, open_spans(config, build, metrics.spans) as spans:
        sinks = [turn_log.report, metrics.report, live.report, *([spans.report] if spans is not None else [])]
        yield Seeing(Judge(budget, *sinks).report, metrics, live, spans)


def open_spans(
    config: Config, build: Build, count: Callable[[Fate, int], None]
) -> AbstractContextManager[Spans | None]:
    """Make what exports spans; None where no endpoint is set.

    Raises:
        ConfigError: an endpoint is set, and the extra is not installed.
    """
    if config.otlp_endpoint is None:
        return nullcontext()
    try:
        from voiceedge.server.spans import spans_to  # noqa: PLC0415 - what it imports is an extra
    except ImportError as error:
        raise ConfigError(NOT_INSTALLED) from error
    return spans_to(config.otlp_endpoint, config.otlp_headers, build, config.region, count)


async def watched(
    serving: Coroutine[Any, Any, None],
    metrics: Metrics,
    measured: LoopSink = lambda at, late_s: None,  # noqa: ARG005 - a sink's shape
) -> None:
    """Serve, and measure meanwhile how late the event loop is; `measured` is told each time."""
    # no TaskGroup: it would put the server's own error into a group
    watch = asyncio.create_task(metrics.watch_loop(measured), name="watch the loop")
    try:
        await serving
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch
