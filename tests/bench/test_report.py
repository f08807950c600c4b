import json
from dataclasses import replace

import numpy as np
import pytest

from voiceedge.bench.exchange import Exchange
from voiceedge.bench.microphone import Utterance
from voiceedge.bench.playout import Playout
from voiceedge.bench.recording import WIRE_RATE_HZ, Recording
from voiceedge.bench.report import SCHEMA, BenchReport, to_json, turn_row
from voiceedge.bench.wire import PathSegment, ResponseState, ServerEvent

SECOND = np.full(WIRE_RATE_HZ, 0.1, np.float32)


def exchange(name, heard_after_s, *, traced=True, silent_s=0.0):
    recording = Recording(name, SECOND, WIRE_RATE_HZ, "expected")
    found = Exchange(recording, Utterance(0.0, 1.0, 1.0), Playout())
    found.receive(ServerEvent("response.created", response=ResponseState("r")), 1.1)
    if heard_after_s is not None:
        silence = np.zeros(round(silent_s * WIRE_RATE_HZ), np.float32)
        delta = ServerEvent("response.output_audio.delta", response_id="r", item_id="i")
        found.receive_audio(delta, np.concatenate([silence, SECOND]), 1.0 + heard_after_s - silent_s)
    found.receive(ServerEvent("response.done", response=ResponseState("r", "completed")), 3.0)
    if traced and heard_after_s is not None:
        total_ms = heard_after_s * 1000 - 10
        path = (PathSegment("wait", 200.0), PathSegment("llm", total_ms - 200))
        trace = ServerEvent("voiceedge.turn", response_id="r", critical_path=path, total_ms=total_ms)
        found.receive(trace, 3.0)
    found.lags_s = [0.0, 0.004]
    return found


def report(*exchanges, **more):
    return BenchReport({"cpu": "c"}, tuple(turn_row(one) for one in exchanges), **more)


def test_the_json_has_the_form_that_its_schema_promises():
    data = to_json(report(exchange("a", 0.5), exchange("b", 0.7), exchange("c", 0.9)))
    assert json.loads(json.dumps(data)) == data
    assert data["schema"] == SCHEMA == "voiceedge.bench/2"
    assert data["environment"] == {"cpu": "c"}
    client = data["summary"]["client_v2v_ms"]
    assert (client["n"], client["p50"], client["p95"], client["max"]) == (3, 700.0, 900.0, 900.0)
    assert data["summary"]["server_v2v_ms"]["p50"] == 690.0
    assert data["summary"]["segments_ms"] == {"wait": 200.0, "llm": 490.0}
    turn = data["turns"][0]
    assert turn["audio"] == "a"
    assert turn["critical_path"] == [{"segment": "wait", "ms": 200.0}, {"segment": "llm", "ms": 290.0}]
    assert {"user_text", "agent_text", "client_v2v_ms", "server_v2v_ms"} <= turn.keys()


def test_a_failed_turn_is_in_the_denominator():
    summary = report(exchange("a", 0.5), exchange("b", None)).summary
    assert (summary.turns, summary.failed, summary.client_v2v_ms.n) == (2, 1, 2)
    assert (summary.client_v2v_ms.p50, summary.client_v2v_ms.p95) == (pytest.approx(500.0), None)
    assert summary.problems["no_answer"] == 1
    assert summary.problems["split"] == 0


def test_the_leading_silence_of_the_voice_has_its_own_row():
    row = turn_row(exchange("a", 0.5, silent_s=0.2))
    assert row.leading_silence_ms == pytest.approx(200.0)
    assert row.client_v2v_ms == pytest.approx(500.0)
    assert row.remainder_ms == pytest.approx(10.0)


def test_the_latest_append_speaks_for_a_turn():
    assert turn_row(exchange("a", 0.5)).send_lag_ms == pytest.approx(4.0)


def test_the_median_turn_is_one_that_was_traced():
    rows = report(exchange("a", 0.5), exchange("untraced", 0.6, traced=False), exchange("c", 0.9))
    assert rows.median_turn.audio == "a"
    assert report(exchange("b", None)).median_turn is None


def test_a_node_without_a_trace_still_gets_its_client_figures():
    data = to_json(report(exchange("a", 0.5, traced=False)))
    assert data["turns"][0]["server_v2v_ms"] is None
    assert data["turns"][0]["critical_path"] == []
    assert data["summary"]["server_v2v_ms"]["n"] == 0


def test_an_empty_run_can_be_reported():
    data = to_json(report(interrupted="the node went away"))
    assert data["interrupted"] == "the node went away"
    assert data["summary"]["turns"] == 0


def test_runs_and_conversations_have_their_own_figures():
    placed = ((1, 1, 0.5), (1, 2, 0.7), (2, 1, 0.9), (2, 2, None))
    rows = tuple(turn_row(exchange("a", heard_s), run, session) for run, session, heard_s in placed)
    data = to_json(BenchReport({}, rows))
    assert {run: one["client_v2v_ms"]["p50"] for run, one in data["runs"].items()} == {"1": 500.0, "2": 900.0}
    assert {n: (one["turns"], one["failed"]) for n, one in data["sessions"].items()} == {"1": (2, 0), "2": (2, 1)}
    assert [(row["run"], row["session"]) for row in data["turns"]] == [(1, 1), (1, 2), (2, 1), (2, 2)]


# ── drafts: what the node says about answers that it began early ──────────────────────────────────────────


def drafts_of(*facts):
    rows = tuple(replace(turn_row(exchange("a", 0.5)), facts=one) for one in facts)
    return BenchReport({}, rows).summary.drafts


def test_the_share_of_answers_that_were_ready_and_of_engine_time_thrown_away():
    found = drafts_of(
        {"answer_ready_at_endpoint": 1, "wasted_ms": 0, "work_ms": 300},
        {"answer_ready_at_endpoint": 0, "wasted_ms": 100, "work_ms": 300},
        {"wasted_ms": 100, "work_ms": 200},  # no draft was of use
        {"prefill_tokens": 9},  # says nothing
    )
    assert (found.turns, found.wasted_ms) == (3, 200.0)
    assert found.drafted_percent == pytest.approx(200 / 3)
    assert found.ready_percent == pytest.approx(100 / 3)
    assert found.wasted_percent == pytest.approx(20.0)


def test_what_a_node_says_outright_about_drafting_counts():
    found = drafts_of({"speculated": 1, "wasted_ms": 50}, {"speculated": 0, "wasted_ms": 0})
    assert (found.drafted_percent, found.ready_percent, found.wasted_percent) == (50.0, 0.0, None)


def test_a_node_that_says_nothing_about_drafts_has_no_figures_of_them():
    assert drafts_of({"prefill_tokens": 9}, {}) is None
