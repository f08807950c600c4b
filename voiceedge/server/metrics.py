"""What the node counts, as Prometheus reads it. Every name, bucket and label is here; docs/metrics.md lists them.

Labels take values of fixed sets only, never a session's or a tenant's name, so a node has the same few hundred series
after a year as after a minute; all of them are there from the start, so that a first event is seen as a change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from voiceedge.budget import TOTAL
from voiceedge.engines import STAGES
from voiceedge.protocol.extensions import TurnTraced
from voiceedge.server.admission import Admission
from voiceedge.server.build import Build
from voiceedge.server.network import NETWORK, ROUND_TRIP
from voiceedge.server.step_tally import OTHER, StepTally
from voiceedge.server.throttle import Kind
from voiceedge.session.blame import NEEDED_BY
from voiceedge.session.compute import MOST_HANGING, Compute, StepSink
from voiceedge.trace import MILLISECONDS_A_SECOND, SEGMENTS, now

TURN_BUCKETS_S = (
    *(0.001, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    *(1.0, 1.25, 1.5, 2.0, 3.0, 5.0),
)
"""Narrow where conversations are felt to be quick or slow, 200 ms to 1 s: a percentile is no finer than its bucket. The
first one is for segments that a turn does not have."""
SHORT_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""For engine steps, their waits, barge-in, round trips and the event loop."""
LOOP_CHECK_S = 0.25
"""How often the event loop is asked how late it is: it sends audio every 20 ms or more, and is seldom late for less."""

STATUSES = ("completed", "incomplete", "cancelled", "failed")
STEPS = tuple(NEEDED_BY)
"""Names that steps have in `Compute`."""
TOKENS = {"prefill": "prefill_tokens", "cached": "cached_tokens", "completion": "completion_tokens"}
"""Kinds of tokens, and the facts that count them."""
Fate = Literal["exported", "dropped", "failed"]
"""Of a span: it has been taken; the queue was full; nobody took it."""
LoopSink = Callable[[float, float], None]
"""Takes a moment, and how late the event loop was then, both in seconds."""


class Metrics:
    """Everything that one node counts. Thread-safe; a call costs microseconds."""

    def __init__(self, build: Build) -> None:
        self.registry = CollectorRegistry()
        self._describe(build)
        self._count_turns()
        self._count_work()
        ProcessCollector(registry=self.registry)

    def watch(self, admission: Admission, compute: Compute) -> None:
        """Show what these know, as it is when somebody looks."""
        self.registry.register(_Watched(admission, compute))

    def _describe(self, build: Build) -> None:
        info = Info("voiceedge_build", "The version, the profile and the model of each stage.", registry=self.registry)
        info.info({"version": build.version, "profile": build.profile, **build.models})
        sizes = Gauge(
            "voiceedge_model_file_bytes",
            "Size of the files that a stage's model is loaded from; what it takes in memory is about that much.",
            ["stage"],
            registry=self.registry,
        )
        for stage, size in build.model_bytes.items():
            sizes.labels(stage).set(size)

    def _count_turns(self) -> None:
        self._turn_seconds = self._histogram(
            "turn_seconds", "Voice-to-voice: last voiced sample to first audible audio at the socket.", TURN_BUCKETS_S
        )
        segments = self._histogram(
            "segment_seconds", "Segments of the critical path; those of a turn add up to it.", TURN_BUCKETS_S, "segment"
        )
        self._segments: dict[str, Histogram] = {name: segments.labels(name) for name in SEGMENTS}
        self._turns = self._counters("turns", "Turns that are over.", "status", STATUSES)
        self._overruns = self._counters(
            "budget_overruns",
            "Turns over budget, by the segment that is to blame.",
            "segment",
            (TOTAL, *SEGMENTS, NETWORK, OTHER),
        )
        self._drafts = self._counters(
            "drafts",
            "Turns that were drafted before they were over: ready when they were, or still being made.",
            "outcome",
            ("ready", "begun"),
        )
        self._engine_seconds = self._counters(
            "engine_seconds",
            "Engine time that went into turns, and into drafts that nobody heard.",
            "use",
            ("turn", "waste"),
        )
        self._tokens = self._counters(
            "tokens",
            "The LLM's tokens in turns: prefilled, taken from the cache, written.",
            "kind",
            tuple(TOKENS),
        )
        self._sometimes = {
            "barge_in_evidence_ms": self._histogram(
                "barge_in_evidence_seconds",
                "From the first voiced sample of who barges in until the client is told to stop playing.",
                TURN_BUCKETS_S,
            ),
            "barge_in_stop_ms": self._histogram(
                "barge_in_stop_seconds", "From then until the engines are free of that answer.", SHORT_BUCKETS_S
            ),
            ROUND_TRIP: self._histogram(
                "round_trip_seconds", "WebSocket ping to the client and back, one a turn.", SHORT_BUCKETS_S
            ),
        }
        """By the fact that only some turns have, in ms."""

    def _count_work(self) -> None:
        steps = StepTally(STEPS, SHORT_BUCKETS_S)
        self.registry.register(steps)
        self.step: StepSink = steps.count
        """Counts an engine step, or a run that several shared; called from the engines' threads."""
        self._loop_lag = self._histogram(
            "loop_lag_seconds", f"How late the event loop is, asked every {LOOP_CHECK_S} s.", SHORT_BUCKETS_S
        )
        self._throttled = self._counters(
            "throttled_seconds",
            "How long sessions were not read because they sent faster than they may, by what there was too much of.",
            "kind",
            get_args(Kind),
        )
        self._spans = self._counters("spans", "OpenTelemetry spans; a dropped turn is one.", "fate", get_args(Fate))
        self._tasks = Gauge(
            "voiceedge_tasks",
            "Tasks of the event loop; a node without sessions always has as many.",
            registry=self.registry,
        )

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"voiceedge_{name}", text, labels, buckets=buckets, registry=self.registry)

    def _counters(self, name: str, text: str, label: str, values: Iterable[str]) -> dict[str, Counter]:
        counter = Counter(f"voiceedge_{name}", text, [label], registry=self.registry)
        return {value: counter.labels(value) for value in values}

    # ── what happens ──────────────────────────────────────────────────────────────────────────────────

    def report(self, session_id: str, turn: TurnTraced) -> None:  # noqa: ARG002 - a sink's shape; never a label
        """Count a turn. A sink of `Judge`."""
        facts = turn.facts
        self._turns[turn.status].inc()
        if turn.total_ms is not None:
            self._turn_seconds.observe(turn.total_ms / MILLISECONDS_A_SECOND)
            for part in turn.critical_path:
                self._segments[part.segment].observe(part.ms / MILLISECONDS_A_SECOND)
        if (segment := facts.get("over_budget")) is not None:
            self._overruns.get(str(segment), self._overruns[OTHER]).inc()
        if facts.get("speculated"):
            self._drafts["ready" if facts.get("answer_ready_at_endpoint") else "begun"].inc()
        for use, fact in (("turn", "work_ms"), ("waste", "wasted_ms")):
            self._engine_seconds[use].inc(_number(facts, fact) / MILLISECONDS_A_SECOND)
        for kind, fact in TOKENS.items():
            self._tokens[kind].inc(_number(facts, fact))
        for fact, histogram in self._sometimes.items():
            if fact in facts:
                histogram.observe(_number(facts, fact) / MILLISECONDS_A_SECOND)

    def throttled(self, kind: Kind, seconds: float) -> None:
        """Count how long a session was made to wait. A sink of `Throttling`."""
        self._throttled[kind].inc(seconds)

    def spans(self, fate: Fate, count: int) -> None:
        """Count spans that are done with."""
        self._spans[fate].inc(count)

    async def watch_loop(self, measured: LoopSink = lambda at, late_s: None) -> None:  # noqa: ARG005 - its shape
        """Measure how late the event loop is until cancelled, and tell `measured`."""
        while True:
            due = now() + LOOP_CHECK_S
            await asyncio.sleep(LOOP_CHECK_S)
            at = now()
            self._loop_lag.observe(max(at - due, 0.0))
            measured(at, max(at - due, 0.0))

    # ── what is shown ─────────────────────────────────────────────────────────────────────────────────

    async def endpoint(self, request: Request) -> Response:
        """Answer `GET /metrics`, in OpenMetrics for those who ask for it, else in Prometheus' own text."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        self._tasks.set(len(asyncio.all_tasks()))
        # milliseconds of work, in which the loop has audio to send
        body = await asyncio.to_thread(encode, _Shown(self.registry))
        return Response(body, headers={"Content-Type": content_type, "Cache-Control": "no-store"})


class _Watched(Collector):
    """What others count already."""

    def __init__(self, admission: Admission, compute: Compute) -> None:
        self._admission = admission
        self._compute = compute

    def collect(self) -> Iterator[Metric]:
        """Look at it now."""
        admission = self._admission
        yield GaugeMetricFamily("voiceedge_sessions", "Sessions that are open.", admission.sessions)
        yield GaugeMetricFamily(
            "voiceedge_sessions_max", "Sessions that may be open at a time.", admission.max_sessions
        )
        refusals = CounterMetricFamily(
            "voiceedge_refusals", "Handshakes that were refused, by reason.", labels=["reason"]
        )
        for reason, count in admission.refusals.items():
            refusals.add_metric([reason], count)
        yield refusals
        yield GaugeMetricFamily(
            "voiceedge_busy", "1 while new sessions are refused for want of time.", admission.is_busy
        )
        yield GaugeMetricFamily(
            "voiceedge_load", "Engine steps that run, or keep a listener waiting, a thread.", self._compute.load
        )
        yield GaugeMetricFamily(
            "voiceedge_limits_store_away",
            "1 while the store of limits does not answer: tenants then have their hour once on each node.",
            admission.is_store_away,
        )
        yield GaugeMetricFamily("voiceedge_steps_waiting", "Engine steps that wait to run.", self._compute.waiting)
        yield from self._engines()

    def _engines(self) -> Iterator[Metric]:
        """How well the engines are."""
        renewal = self._compute.renewal
        rebuilds = CounterMetricFamily(
            "voiceedge_engine_rebuilds", "Engines that hung or failed and were loaded anew.", labels=["stage"]
        )
        missing = GaugeMetricFamily("voiceedge_engine_missing", "1 while an engine is loaded anew.", labels=["stage"])
        for stage in STAGES:
            rebuilds.add_metric([stage], 0 if renewal is None else renewal.rebuilds[stage])
            missing.add_metric([stage], renewal is not None and stage in renewal.out)
        yield rebuilds
        yield missing
        yield GaugeMetricFamily(
            "voiceedge_threads_lost",
            f"Threads that hang inside an engine; at {MOST_HANGING} the process stops, to be started anew.",
            self._compute.hanging,
        )


class _Shown(Collector):
    """A registry without the `_created` series, which double the number of them and are read by nobody."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """Look at all of it."""
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


def _number(facts: Mapping[str, int | float | str], name: str) -> float:
    """A fact as a number; 0 where a turn has none."""
    value = facts.get(name, 0)
    return 0.0 if isinstance(value, str) else float(value)
