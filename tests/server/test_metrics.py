"""What is counted, how it is shown, and that it stays a few hundred series."""

import ast
import asyncio
import re
import threading
from pathlib import Path
from unittest.mock import patch

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain_text
from starlette.requests import Request

from tests.metrics_document import METRICS, metrics_table
from tests.server.seen import MODELS, a_turn
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.renewal import Renewal, parts_of
from voiceedge.errors import Overloaded
from voiceedge.server import metrics as metrics_module
from voiceedge.server.admission import Admission
from voiceedge.server.build import Build
from voiceedge.server.metrics import STEPS, Metrics
from voiceedge.server.quotas import OwnCounts, Quotas
from voiceedge.session.compute import Compute
from voiceedge.trace import now


@pytest.fixture
def compute():
    compute = Compute(1)
    yield compute
    compute.close()


@pytest.fixture
def metrics():
    return Metrics(Build("1.2.3", "nano", MODELS, {"llm": 5_000}))


def request(accept=""):
    return Request({"type": "http", "method": "GET", "headers": [(b"accept", accept.encode())]})


async def answer(metrics, accept=""):
    return await metrics.endpoint(request(accept))


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(f"voiceedge_{name}", labels)


def test_a_turn_is_counted_in_seconds_with_its_segments(metrics):
    metrics.report("sess_1", a_turn())
    assert value(metrics, "turn_seconds_sum") == 0.612
    assert value(metrics, "segment_seconds_sum", segment="llm") == pytest.approx(0.612 / 7)
    assert value(metrics, "turns_total", status="completed") == 1
    assert value(metrics, "tokens_total", kind="cached") == 100
    assert value(metrics, "engine_seconds_total", use="turn") == 0.3
    assert value(metrics, "engine_seconds_total", use="waste") == 0.04


def test_a_turn_that_nobody_heard_has_a_status_and_no_time(metrics):
    metrics.report("sess_1", a_turn(status="failed", total_ms=None, critical_path=(), facts={}))
    assert value(metrics, "turns_total", status="failed") == 1
    assert value(metrics, "turn_seconds_count") == value(metrics, "segment_seconds_count", segment="stt") == 0


@pytest.mark.parametrize(("ready", "outcome"), [(1, "ready"), (0, "begun")])
def test_drafts_are_told_apart_by_whether_they_were_ready(metrics, ready, outcome):
    metrics.report("sess_1", a_turn(facts={"speculated": 1, "answer_ready_at_endpoint": ready}))
    metrics.report("sess_1", a_turn(facts={"answer_ready_at_endpoint": 0}))
    drafts = {name: value(metrics, "drafts_total", outcome=name) for name in ("ready", "begun")}
    assert drafts == {"ready": 0, "begun": 0} | {outcome: 1}


@pytest.mark.parametrize(("blamed", "segment"), [("llm", "llm"), ("network", "network"), ("weather", "other")])
def test_an_overrun_is_counted_by_who_is_to_blame(metrics, blamed, segment):
    metrics.report("sess_1", a_turn(facts={"over_budget": blamed}))
    assert value(metrics, "budget_overruns_total", segment=segment) == 1


@pytest.mark.parametrize(
    ("fact", "name"),
    [
        ("barge_in_evidence_ms", "barge_in_evidence_seconds"),
        ("barge_in_stop_ms", "barge_in_stop_seconds"),
        ("round_trip_ms", "round_trip_seconds"),
    ],
)
def test_what_only_some_turns_know_is_counted_for_those(metrics, fact, name):
    metrics.report("sess_1", a_turn(facts={fact: 42}))
    metrics.report("sess_1", a_turn())
    assert (value(metrics, f"{name}_count"), value(metrics, f"{name}_sum")) == (1, 0.042)


def test_steps_are_counted_by_name_and_unknown_ones_together(metrics):
    metrics.step("end of turn", 0.002, 0.09, 1)
    metrics.step("llm", 0.0, 0.03, 4)
    metrics.step("dreaming", 0.0, 0.5, 1)
    assert value(metrics, "step_seconds_sum", step="end_of_turn") == 0.09
    assert value(metrics, "step_wait_seconds_sum", step="end_of_turn") == 0.002
    assert (value(metrics, "step_rows_total", step="llm"), value(metrics, "step_seconds_count", step="llm")) == (4, 1)
    assert value(metrics, "step_seconds_count", step="other") == 1


def test_places_refusals_and_the_queue_are_shown_as_they_are(metrics, compute):
    admission = Admission(1)
    metrics.watch(admission, compute)
    assert value(metrics, "sessions") == 0
    with admission.session():
        assert value(metrics, "sessions") == 1
        with pytest.raises(Overloaded):
            admission.session().__enter__()
    assert value(metrics, "refusals_total", reason="full") == 1
    assert (value(metrics, "sessions_max"), value(metrics, "steps_waiting")) == (1, 0)
    assert (value(metrics, "busy"), value(metrics, "load")) == (0, 0)


def test_a_store_of_limits_that_does_not_answer_is_shown(metrics, compute):
    counts = OwnCounts()
    metrics.watch(Admission(1, quotas=Quotas({}, counts)), compute)
    assert value(metrics, "limits_store_away") == 0
    with patch.object(OwnCounts, "is_away", new=True):
        assert value(metrics, "limits_store_away") == 1


def test_engines_that_are_loaded_anew_and_threads_that_are_lost_are_shown(metrics):
    back = threading.Event()
    renewal = Renewal(fake_engines(), lambda stage: parts_of(fake_engines(), stage))
    renewing = Compute(1, renewal=renewal)
    try:
        metrics.watch(Admission(1), renewing)
        renewal.on_change = back.set
        renewal.hung("llm", now())
        assert back.wait(10)
        assert (value(metrics, "engine_rebuilds_total", stage="llm"), value(metrics, "threads_lost")) == (1, 0)
        assert value(metrics, "engine_rebuilds_total", stage="stt") == 0
        assert value(metrics, "engine_missing", stage="llm") == 0
        renewal.out = frozenset({"tts"})
        assert value(metrics, "engine_missing", stage="tts") == 1
    finally:
        renewing.close()


def test_the_build_and_its_models_are_named(metrics):
    assert value(metrics, "build_info", version="1.2.3", profile="nano", **MODELS) == 1
    assert value(metrics, "model_file_bytes", stage="llm") == 5_000


def test_what_sessions_were_made_to_wait_for_is_counted_in_seconds(metrics):
    metrics.throttled("audio", 1.5)
    metrics.throttled("audio", 0.5)
    assert value(metrics, "throttled_seconds_total", kind="audio") == 2.0
    assert value(metrics, "throttled_seconds_total", kind="frames") == 0.0


def test_spans_are_counted_by_their_fate(metrics):
    metrics.spans("dropped", 3)
    assert value(metrics, "spans_total", fate="dropped") == 3


async def test_a_loop_that_is_late_is_seen_to_be(metrics, monkeypatch):
    clock = iter([10.0, 10.29, 20.0])
    waited = []

    async def sleep(seconds):
        waited.append(seconds)
        if len(waited) == 2:
            raise asyncio.CancelledError

    monkeypatch.setattr(metrics_module, "now", lambda: next(clock))
    monkeypatch.setattr(metrics_module.asyncio, "sleep", sleep)
    told = []
    with pytest.raises(asyncio.CancelledError):
        await metrics.watch_loop(lambda at, late_s: told.append((at, late_s)))
    assert value(metrics, "loop_lag_seconds_sum") == pytest.approx(0.04)
    assert told == [(10.29, pytest.approx(0.04))]


def test_nodes_of_one_process_do_not_count_for_each_other(metrics):
    other = Metrics(Build("1.2.3", "nano"))
    metrics.report("sess_1", a_turn())
    assert value(other, "turns_total", status="completed") == 0


# ── the exposition ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("accept", "kind", "parse"),
    [
        ("", "text/plain; version=0.0.4", plain_text),
        ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text; version=1.0.0", openmetrics),
    ],
)
async def test_who_scrapes_gets_the_format_that_it_asks_for(metrics, compute, accept, kind, parse):
    metrics.watch(Admission(1), compute)
    metrics.report("sess_1", a_turn())
    response = await answer(metrics, accept)
    assert response.headers["content-type"].startswith(kind)
    families = {family.name for family in parse(response.body.decode())}
    assert {"voiceedge_turn_seconds", "voiceedge_sessions", "process_resident_memory_bytes"} <= families


async def test_no_label_names_a_session_and_the_series_are_all_there_from_the_start(metrics, compute):
    metrics.watch(Admission(1), compute)
    before = set(re.findall(rb"^(\w+(?:{.*})?) ", (await answer(metrics)).body, re.MULTILINE))
    for number in range(20):
        metrics.report(f"sess_{number}", a_turn(turn=number, facts={"over_budget": "llm", "barge_in_stop_ms": 10}))
        metrics.step(STEPS[number % len(STEPS)], 0.1, 0.1, 1)
    text = (await answer(metrics)).body
    assert set(re.findall(rb"^(\w+(?:{.*})?) ", text, re.MULTILINE)) == before
    assert b"sess_" not in text
    assert len(before) < 700


async def test_what_prometheus_client_adds_for_itself_is_left_out(metrics):
    assert b"_created" not in (await answer(metrics)).body


def test_every_metric_is_documented():
    assert metrics_table() in METRICS.read_text(encoding="utf-8")


def test_every_kind_of_engine_step_has_series_of_its_own():
    named = set()
    for path in (Path(metrics_module.__file__).parents[1] / "session").glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr in {"run", "stream"}
            ):
                named |= {ast.literal_eval(word.value) for word in call.keywords if word.arg == "name"}
    assert {"llm", "stt", "tts"} <= named
    assert named <= set(STEPS)
