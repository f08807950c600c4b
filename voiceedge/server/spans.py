"""OpenTelemetry spans, session > turn > stage: built after a turn out of the times that were recorded in it.

A span costs 50 us and an export milliseconds, so the event loop only puts down what happened; a thread makes spans of
it and sends them, every few seconds. Imports the extra `otel`: only a node with an `otlp_endpoint` imports this file.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from msgspec import UNSET
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.re import parse_env_headers
from opentelemetry.util.types import AttributeValue

from voiceedge import __version__
from voiceedge.protocol.extensions import TurnTraced
from voiceedge.server.build import Build
from voiceedge.server.metrics import Fate
from voiceedge.trace import MILLISECONDS_A_SECOND, wall_s

log = logging.getLogger(__name__)

MAX_WAITING = 4096
"""What may wait to be made into spans, ten minutes of a full node; full: what comes is dropped, and counted."""
EXPORT_EVERY_S = 5.0
"""As OpenTelemetry's own processor does: a request costs as much as the spans of two turns."""
MAX_BATCH = 512
"""Spans in one request: what OpenTelemetry's own processor sends."""
GOODBYE_S = 5.0
"""How long the last spans may take when the node stops."""
TRACE_CONTEXT = ("traceparent", "tracestate")
"""Headers of a handshake by which a caller's span becomes the parent (W3C Trace Context)."""
INTERNAL_ERROR = 1011
"""Close code of a session that failed (RFC 6455, 7.4.1)."""
TRACES_PATH = "/v1/traces"
"""Where a collector takes spans over HTTP (OTLP specification); what operators name is the address before it."""
PROVIDER = "voiceedge"
"""`gen_ai.provider.name`: the models run in this process, so none of the convention's own names fits."""
STAGES: tuple[tuple[str, str | None, str], ...] = (
    ("wait", None, "wait_over"),
    ("end_of_turn", "wait_over", "endpoint"),
    ("stt", "stt_started", "stt_final"),
    ("llm", "llm_started", "llm_done"),
    ("tts", "llm_first_clause", "tts_first_audio"),
    ("send", "tts_first_audio", "first_audio_out"),
)
"""Stages of a turn: their name, and the marks between which they lie (None: zero). They overlap, as they did."""
FINISH_REASONS = {"completed": "stop", "incomplete": "length"}

Attributes = dict[str, AttributeValue]


@dataclass(frozen=True, slots=True)
class _Opened:
    session_id: str
    at: float
    trace_context: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Closed:
    session_id: str
    at: float
    code: int


@dataclass(frozen=True, slots=True)
class _Ended:
    session_id: str
    at: float
    turn: TurnTraced


class Spans:
    """Takes what happens from the event loop, and exports spans of it. Never raises, never waits."""

    def __init__(
        self,
        exporter: SpanExporter,
        *,
        resource: Mapping[str, str],
        models: Mapping[str, str],
        count: Callable[[Fate, int], None],
    ) -> None:
        """Prepare; `with` starts the thread, and sends what is left at its end.

        Args:
            exporter: where spans go.
            resource: attributes of the node; those of OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
            models: names by stage.
            count: is told what became of spans. From both threads.
        """
        self._exporter = exporter
        self._models = models
        self._count = count
        self._waiting: deque[_Opened | _Closed | _Ended] = deque()  # full: dropped, and counted
        self._known: set[str] = set()  # sessions whose beginning was not dropped; of the event loop
        self._sessions: dict[str, Span] = {}  # open ones; of the thread
        self._done = _Done()
        described = Resource(resource).merge(OTELResourceDetector().detect())
        provider = TracerProvider(resource=described, shutdown_on_exit=False)
        provider.add_span_processor(self._done)
        self._tracer = provider.get_tracer("voiceedge", __version__)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="spans", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(GOODBYE_S)
        self._exporter.shutdown()  # gives up what is still being tried

    # ── in the event loop ─────────────────────────────────────────────────────────────────────────────

    def opened(self, session_id: str, headers: Mapping[str, str]) -> None:
        """A session begins; `headers` of its handshake, by lower-case name."""
        context = {name: headers[name] for name in TRACE_CONTEXT if name in headers}
        if self._put(_Opened(session_id, wall_s(), context)):
            self._known.add(session_id)

    def closed(self, session_id: str, code: int) -> None:
        """A session is over, with this close code."""
        if session_id in self._known:
            self._known.remove(session_id)
            # also when the queue is full: its span would stay open for ever, and there is one for each beginning
            self._waiting.append(_Closed(session_id, wall_s(), code))

    def report(self, session_id: str, turn: TurnTraced) -> None:
        """A turn is over. A sink of `Judge`."""
        self._put(_Ended(session_id, wall_s(), turn))

    def _put(self, what: _Opened | _Ended) -> bool:
        """Whether there was room for it."""
        if len(self._waiting) >= MAX_WAITING:
            self._count("dropped", 1)
            return False
        self._waiting.append(what)
        return True

    # ── in the thread ─────────────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        while not self._stopping.wait(EXPORT_EVERY_S):
            self._make_and_export()
        self._make_and_export()

    def _make_and_export(self) -> None:
        while self._waiting:
            what = self._waiting.popleft()
            try:
                self._make(what)
            except Exception:
                log.exception("A span could not be made.")
            if len(self._done.spans) >= MAX_BATCH:
                self._export()
        self._export()

    def _export(self) -> None:
        spans, self._done.spans = self._done.spans, []
        if not spans:
            return
        try:
            exported = self._exporter.export(spans) is SpanExportResult.SUCCESS  # says itself why not
        except Exception:
            log.exception("%d spans could not be exported.", len(spans))
            exported = False
        self._count("exported" if exported else "failed", len(spans))

    def _make(self, what: _Opened | _Closed | _Ended) -> None:
        match what:
            case _Opened():
                parent = TraceContextTextMapPropagator().extract(what.trace_context)
                attributes: Attributes = {"session.id": what.session_id}
                self._sessions[what.session_id] = self._tracer.start_span(
                    "session", parent, SpanKind.SERVER, attributes, start_time=nanoseconds(what.at)
                )
            case _Closed():
                if (span := self._sessions.pop(what.session_id, None)) is not None:
                    span.set_attribute("voiceedge.close_code", what.code)
                    if what.code == INTERNAL_ERROR:
                        span.set_status(Status(StatusCode.ERROR, "the session failed"))
                    span.end(nanoseconds(what.at))
            case _Ended():
                session = self._sessions.get(what.session_id)
                if session is None:  # its beginning was dropped
                    self._count("dropped", 1)
                elif session.is_recording():
                    self._make_turn(what, set_span_in_context(session))

    def _make_turn(self, ended: _Ended, session: Context) -> None:
        turn, times = ended.turn, _Times(ended.turn, nanoseconds(ended.at))
        span = self._tracer.start_span("turn", session, attributes=_of_turn(turn), start_time=times.zero)
        for mark in turn.marks_ms:
            span.add_event(mark, timestamp=times.of(mark))
        if turn.status == "failed":
            span.set_status(Status(StatusCode.ERROR, "the answer could not be made"))
        inside = set_span_in_context(span)
        for stage, begin, end in STAGES:
            if (stretch := times.between(begin, end)) is not None:
                name, attributes = self._of_stage(stage, ended)
                child = self._tracer.start_span(name, inside, attributes=attributes, start_time=stretch[0])
                child.end(stretch[1])
        span.end(max(times.end, times.zero))

    def _of_stage(self, stage: str, ended: _Ended) -> tuple[str, Attributes]:
        """Name and attributes of a stage's span."""
        model = self._models.get(stage)
        if stage == "llm" and model is not None:
            return f"chat {model}", {"voiceedge.stage": stage, **_of_chat(model, ended.session_id, ended.turn)}
        attributes: Attributes = {"voiceedge.stage": stage}
        if model is not None:
            attributes["voiceedge.model"] = model
        return stage, attributes


class _Done(SpanProcessor):
    """Keeps spans that have ended until they are exported."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        """Keep one."""
        self.spans.append(span)


class _Times:
    """When things were in a turn, in nanoseconds since 1970."""

    def __init__(self, turn: TurnTraced, end: int) -> None:
        self.zero = nanoseconds(turn.zero_at)
        self.end = end
        self._marks_ms = turn.marks_ms

    def of(self, mark: str) -> int:
        """The moment of a mark that was reached."""
        return self.zero + round(self._marks_ms[mark] * 1e6)

    def between(self, begin: str | None, end: str) -> tuple[int, int] | None:
        """From one mark to another; None for a stage that was not gone through.

        What a draft has made before the endpoint is sent from then on. An LLM that was cut off went on until the end of
        the turn.
        """
        if begin is not None and begin not in self._marks_ms:
            return None
        started = self.zero if begin is None else self.of(begin)
        if begin == "tts_first_audio" and "endpoint" in self._marks_ms:
            started = max(started, self.of("endpoint"))
        if end in self._marks_ms:
            return started, max(self.of(end), started)
        return (started, max(self.end, started)) if end == "llm_done" else None


def spans_to(
    endpoint: str, headers: str | None, build: Build, region: str | None, count: Callable[[Fate, int], None]
) -> Spans:
    """Make what sends spans of a node to a collector at `endpoint`, with `headers` as `name=value,name=value`."""
    logging.getLogger("opentelemetry.exporter").setLevel(logging.ERROR)  # else every retry is a line of the log
    exporter = OTLPSpanExporter(
        endpoint=endpoint.rstrip("/").removesuffix(TRACES_PATH) + TRACES_PATH,
        headers=parse_env_headers(headers, liberal=True) if headers is not None else None,
    )
    return Spans(exporter, resource=resource_of(build, region), models=build.models, count=count)


def resource_of(build: Build, region: str | None) -> dict[str, str]:
    """What a node says of itself, by the resource conventions."""
    resource = {
        "service.name": "voiceedge",
        "service.version": build.version,
        "service.instance.id": str(uuid.uuid4()),
        "voiceedge.profile": build.profile,
    }
    return resource | ({"cloud.region": region} if region is not None else {})


def nanoseconds(at: float) -> int:
    """Seconds since 1970 as OpenTelemetry counts; a float holds them to a quarter of a microsecond."""
    return round(at * 1e9)


def _of_turn(turn: TurnTraced) -> Attributes:
    """A turn's attributes: where its time went, and the counts that explain it."""
    attributes: Attributes = {
        "voiceedge.turn": turn.turn,
        "voiceedge.status": turn.status,
        "voiceedge.response_id": turn.response_id,
    }
    if turn.item_id is not None:
        attributes["voiceedge.item_id"] = turn.item_id
    if turn.total_ms is not None:
        attributes["voiceedge.total_ms"] = turn.total_ms
    attributes |= {f"voiceedge.critical_path.{part.segment}_ms": part.ms for part in turn.critical_path}
    return attributes | {f"voiceedge.{name}": value for name, value in turn.facts.items()}


def _of_chat(model: str, session_id: str, turn: TurnTraced) -> Attributes:
    """The LLM's attributes by the GenAI semantic conventions (status: development, 2026)."""
    facts, marks = turn.facts, turn.marks_ms
    attributes: Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": model,
        "gen_ai.request.stream": True,
        "gen_ai.response.id": turn.response_id,
        "gen_ai.conversation.id": session_id,
    }
    if turn.status in FINISH_REASONS:
        attributes["gen_ai.response.finish_reasons"] = [FINISH_REASONS[turn.status]]
    if "prefill_tokens" in facts:  # all that was put in, of which the cache had a part
        cached = int(facts.get("cached_tokens", 0))
        attributes["gen_ai.usage.input_tokens"] = int(facts["prefill_tokens"]) + cached
        attributes["gen_ai.usage.cache_read.input_tokens"] = cached
    if "completion_tokens" in facts:
        attributes["gen_ai.usage.output_tokens"] = int(facts["completion_tokens"])
    if "llm_started" in marks and "llm_first_token" in marks:
        first_ms = marks["llm_first_token"] - marks["llm_started"]
        attributes["gen_ai.response.time_to_first_chunk"] = round(first_ms / MILLISECONDS_A_SECOND, 6)
    if turn.words is not UNSET:
        for name, role, text in (("input", "user", turn.words.heard), ("output", "assistant", turn.words.said)):
            if text is not None:
                message = {"role": role, "parts": [{"type": "text", "content": text}]}
                attributes[f"gen_ai.{name}.messages"] = json.dumps([message], ensure_ascii=False)
    return attributes
