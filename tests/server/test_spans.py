"""Spans say what the trace says, and nobody waits for them."""

import json
import logging

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.e2e.caller import calling
from tests.server.collector import attributes, collecting
from tests.server.seen import MODELS, a_turn, seen_node
from tests.speech import utterance
from voiceedge.protocol.extensions import TurnWords
from voiceedge.server import spans as spans_module
from voiceedge.server.build import Build
from voiceedge.server.spans import MAX_WAITING, STAGES, Spans, resource_of, spans_to

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
BUILD = Build("1.2.3", "nano", MODELS)
MS = 1_000_000


class Fates(dict):
    """What became of spans."""

    def __call__(self, fate, count):
        self[fate] = self.get(fate, 0) + count


def spans_of(exporter, fates):
    return Spans(exporter, resource={"service.name": "v"}, models=MODELS, count=fates)


def exported(*reports, headers=(), code=1000):
    """The spans of one session, by name."""
    exporter = InMemorySpanExporter()
    with spans_of(exporter, Fates()) as spans:
        spans.opened("sess_1", dict(headers))
        for turn in reports:
            spans.report("sess_1", turn)
        spans.closed("sess_1", code)
    return {span.name: span for span in exporter.get_finished_spans()}


async def test_the_spans_of_a_turn_match_its_trace():
    with collecting() as collector:
        with seen_node(otlp_endpoint=collector.endpoint) as node:
            headers = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01", "tracestate": "congo=t61rcWkgMzE"}
            async with calling(node.url, additional_headers=headers) as caller:
                await caller.hear(utterance("Paris?"))
                turn = await caller.until("voiceedge.turn")
        (session,), (span,) = collector.named("session"), collector.named("turn")
        # one trace, from the caller's span down
        assert {one.trace_id.hex() for one in collector.spans} == {TRACE_ID}
        assert session.parent_span_id.hex() == PARENT_ID
        assert (session.trace_state, session.kind) == ("congo=t61rcWkgMzE", Span.SPAN_KIND_SERVER)
        assert span.parent_span_id == session.span_id
        zero = round(turn["zero_at"] * 1e9)
        assert abs(span.start_time_unix_nano - zero) < MS
        marks = {event.name: (event.time_unix_nano - zero) / MS for event in span.events}
        assert marks == pytest.approx(turn["marks_ms"], abs=0.001)
        # every stage that the trace knows lies where it says
        stages = {attributes(child)["voiceedge.stage"]: child for child in collector.children(span).values()}
        assert set(stages) == {"wait", "end_of_turn", "stt", "llm", "tts", "send"}
        for name, begin, end in STAGES:
            begun = 0.0 if begin is None else turn["marks_ms"][begin]
            if name == "send":
                begun = max(begun, turn["marks_ms"]["endpoint"])
            assert abs(stages[name].start_time_unix_nano - zero - begun * MS) < MS
            ended = max(turn["marks_ms"][end], begun)
            assert abs(stages[name].end_time_unix_nano - zero - ended * MS) < MS
        # the critical path, to be added up
        shown = attributes(span)
        path = [shown[f"voiceedge.critical_path.{part['segment']}_ms"] for part in turn["critical_path"]]
        assert sum(path) == pytest.approx(turn["total_ms"], abs=0.01)
        assert session.start_time_unix_nano <= span.end_time_unix_nano <= session.end_time_unix_nano


def test_the_llms_span_speaks_the_genai_conventions():
    chat = exported(a_turn())["chat smol"]
    assert dict(chat.attributes) == {
        "voiceedge.stage": "llm",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "voiceedge",
        "gen_ai.request.model": "smol",
        "gen_ai.request.stream": True,
        "gen_ai.response.id": "resp_1",
        "gen_ai.conversation.id": "sess_1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 112,
        "gen_ai.usage.cache_read.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.response.time_to_first_chunk": pytest.approx(0.049),
    }


def test_words_are_in_a_span_only_where_a_turn_brings_them():
    assert "France" not in str([span.to_json() for span in exported(a_turn()).values()])
    chat = exported(a_turn(words=TurnWords("The capital of France?", "Paris.")))["chat smol"]
    heard, said = (json.loads(chat.attributes[f"gen_ai.{side}.messages"]) for side in ("input", "output"))
    assert heard == [{"role": "user", "parts": [{"type": "text", "content": "The capital of France?"}]}]
    assert said == [{"role": "assistant", "parts": [{"type": "text", "content": "Paris."}]}]


def test_without_a_callers_span_a_session_begins_a_trace():
    assert exported(a_turn())["session"].parent is None
    assert exported(headers={"traceparent": "nonsense"})["session"].parent is None


def test_a_caller_that_samples_nothing_gets_nothing():
    assert exported(a_turn(), headers={"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-00"}) == {}


def test_an_answer_that_was_cut_off_has_the_stages_that_it_came_to():
    marks = {"wait_over": 200.0, "endpoint": 210.0, "llm_started": 220.0}
    spans = exported(a_turn(status="cancelled", total_ms=None, marks_ms=marks, critical_path=(), facts={}))
    assert set(spans) == {"session", "turn", "wait", "end_of_turn", "chat smol"}
    assert spans["chat smol"].end_time == spans["turn"].end_time
    assert "gen_ai.response.finish_reasons" not in spans["chat smol"].attributes


@pytest.mark.parametrize(("code", "status"), [(1000, Status.STATUS_CODE_UNSET), (1011, Status.STATUS_CODE_ERROR)])
def test_what_failed_is_an_error(code, status):
    session = exported(a_turn(status="failed"), code=code)["session"]
    assert (session.status.status_code.value, session.attributes["voiceedge.close_code"]) == (status, code)


def test_a_turn_that_failed_is_an_error():
    assert exported(a_turn(status="failed"))["turn"].status.status_code.value == Status.STATUS_CODE_ERROR


def test_when_too_much_waits_it_is_dropped_and_counted():
    fates = Fates()
    spans = spans_of(InMemorySpanExporter(), fates)  # nobody takes anything: the thread does not run yet
    for _ in range(MAX_WAITING + 3):
        spans.opened("sess", {})
    assert fates == {"dropped": 3}
    assert len(spans._waiting) == MAX_WAITING


def test_a_session_ends_even_when_too_much_waits(monkeypatch):
    monkeypatch.setattr(spans_module, "MAX_WAITING", 64)  # all of them are exported in the end, which has its time
    exporter, fates = InMemorySpanExporter(), Fates()
    spans = spans_of(exporter, fates)
    spans.opened("sess_1", {})
    for _ in range(64):
        spans.report("sess_1", a_turn())
    spans.closed("sess_1", 1000)
    with spans:
        pass
    assert fates.pop("dropped") == 1
    assert "session" in {span.name for span in exporter.get_finished_spans()}
    assert not spans._sessions


def test_sessions_whose_beginning_was_dropped_do_not_fill_the_queue_with_their_ends():
    spans = spans_of(InMemorySpanExporter(), Fates())
    for number in range(MAX_WAITING + 3):
        spans.opened(f"sess_{number}", {})
    for number in range(2 * MAX_WAITING):
        spans.closed(f"sess_{number}", 1000)
    assert len(spans._waiting) == 2 * MAX_WAITING


def test_a_turn_whose_session_was_dropped_is_dropped_as_well():
    fates = Fates()
    with spans_of(InMemorySpanExporter(), fates) as spans:
        spans.report("sess_1", a_turn())
        spans.closed("sess_1", 1000)
    assert fates == {"dropped": 1}


class Failing(SpanExporter):
    def __init__(self, result):
        self.result = result

    def export(self, spans):
        if self.result is None:
            raise ValueError("no such thing")
        return self.result


@pytest.mark.parametrize("result", [SpanExportResult.FAILURE, None])
def test_an_export_that_fails_costs_its_spans_and_is_counted(result, caplog):
    fates = Fates()
    with caplog.at_level(logging.CRITICAL), spans_of(Failing(result), fates) as spans:
        spans.opened("sess_1", {})
        spans.closed("sess_1", 1000)
    assert fates == {"failed": 1}


def test_what_one_turn_brings_does_not_stop_the_others(caplog):
    with caplog.at_level(logging.CRITICAL):
        spans = exported(a_turn(facts={"prefill_tokens": "many"}), a_turn(response_id="resp_2"))
    assert spans["chat smol"].attributes["gen_ai.response.id"] == "resp_2"


@pytest.mark.parametrize("path", ["", "/", "/v1/traces"])
def test_the_collector_is_told_who_asks_and_by_which_key(path):
    with collecting() as collector:
        fates = Fates()
        with spans_to(collector.endpoint + path, "authorization=Bearer%20abc,x=1", BUILD, "nrt", fates) as spans:
            spans.opened("sess_1", {})
            spans.closed("sess_1", 1000)
        ((asked, headers),) = collector.requests
        assert (asked, headers["authorization"], headers["x"]) == ("/v1/traces", "Bearer abc", "1")
        assert collector.resource["service.name"] == "voiceedge"
        assert collector.resource["cloud.region"] == "nrt"
        assert fates == {"exported": 1}


def test_a_node_says_its_version_and_its_own_name():
    first, second = resource_of(BUILD, None), resource_of(BUILD, None)
    assert (first["service.version"], first["voiceedge.profile"]) == ("1.2.3", "nano")
    assert first["service.instance.id"] != second["service.instance.id"]
    assert "cloud.region" not in first


def test_what_the_operator_says_of_the_service_wins(monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "desk")
    spans = spans_of(InMemorySpanExporter(), Fates())
    assert spans._tracer.resource.attributes["service.name"] == "desk"
