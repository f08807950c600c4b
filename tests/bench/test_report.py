import json
import re

import pytest

from tests.bench.rows import exchange, row, whole_report
from tests.documents import ROOT
from voiceedge.bench.report import INTERVAL, SCHEMA, BenchReport, to_json
from voiceedge.bench.row import turn_row

FREE = {"node", "facts", "marks_ms", "segments_ms", "legs_ms"}
"""Whose keys are the node's own words."""


def report(*exchanges, **more):
    return BenchReport({"cpu": "c"}, tuple(turn_row(one) for one in exchanges), **more)


def test_the_json_has_the_form_that_its_schema_promises():
    data = to_json(report(exchange("a", 0.5), exchange("b", 0.7), exchange("c", 0.9)))
    assert json.loads(json.dumps(data)) == data
    assert data["schema"] == SCHEMA == "voiceedge.bench/3"
    assert data["interval"] == INTERVAL
    assert data["environment"] == {"cpu": "c"}
    client = data["summary"]["client_v2v_ms"]
    assert (client["n"], client["p50"], client["p95"], client["max"]) == (3, 700.0, 900.0, 900.0)
    assert data["summary"]["server_v2v_ms"]["p50"] == 690.0
    assert data["summary"]["segments_ms"] == {"wait": 200.0, "llm": 490.0}
    turn = data["turns"][0]
    assert turn["audio"] == "a"
    assert turn["critical_path"] == [{"segment": "wait", "ms": 200.0}, {"segment": "llm", "ms": 290.0}]
    assert [leg["segment"] for leg in turn["legs"]] == ["wait", "llm", "leading_silence", "unexplained"]
    assert {"user_text", "agent_text", "client_v2v_ms", "server_v2v_ms"} <= turn.keys()


def keys(value):
    """Every key that the bench itself chooses, however deep it lies."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not key.isdecimal():  # of runs and sessions
                yield key
            if key not in FREE:
                yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


def test_every_key_that_is_written_is_documented():
    page = (ROOT / "docs" / "bench-json.md").read_text("utf-8")
    told = to_json(whole_report())
    assert all(told[key] for key in told), "a report without something proves nothing of it"
    assert set(keys(told)) - set(re.findall(r"`(\w+)`", page)) == set()


def test_a_whole_report_is_plain_json():
    told = to_json(whole_report())
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_times_over_the_run_count_from_the_first_turn():
    told = to_json(BenchReport({}, (row("late", zero_s=112.5), row("first", zero_s=100.0), row("never", zero_s=None))))
    assert [turn["at_s"] for turn in told["turns"]] == [12.5, 0.0, None]


def test_cold_is_the_first_answered_turn_of_every_session_and_what_failed_before_it():
    placed = [("a", None, 1), ("b", 500.0, 1), ("c", 400.0, 1), ("d", None, 1), ("e", 450.0, 2), ("f", 300.0, 2)]
    found = BenchReport({}, tuple(row(name, ms, connection=connection) for name, ms, connection in placed))
    assert [one.audio for one in found.cold] == ["a", "b", "e"]
    assert [one.audio for one in found.warm] == ["c", "d", "f"]
    told = to_json(found)
    assert [turn["cold"] for turn in told["turns"]] == [True, True, False, False, True, False]
    assert (told["cold"]["failed"], told["warm"]["client_v2v_ms"]["n"]) == (1, 3)


def test_every_limit_is_judged_and_named_in_words():
    kept, missed = to_json(whole_report())["verdicts"]
    assert (kept["limit"], kept["kept"], kept["blame"]) == ("p50<800ms", True, None)
    assert (missed["what"], missed["limit_ms"], missed["kept"]) == ("wait", 200.0, False)
    assert missed["blame"]["segment"] == "wait"
    assert "wait" in missed["said"]


def test_the_median_turn_is_one_that_was_traced():
    rows = report(exchange("a", 0.5), exchange("untraced", 0.6, traced=False), exchange("c", 0.9))
    assert rows.median_turn.audio == "a"
    assert report(exchange("b", None)).median_turn is None


def test_a_node_without_a_trace_still_gets_its_client_figures():
    data = to_json(report(exchange("a", 0.5, traced=False)))
    assert data["turns"][0]["server_v2v_ms"] is None
    assert data["turns"][0]["critical_path"] == []
    assert data["summary"]["server_v2v_ms"]["n"] == 0
    assert data["breakdown"] == []


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
    assert [(turn["run"], turn["session"]) for turn in data["turns"]] == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_a_ramp_tells_every_number_that_was_tried():
    told = to_json(whole_report())["ramp"]
    assert told["capacity"] == 1
    assert [(step["sessions"], step["kept"]) for step in told["steps"]] == [(1, True), (2, False)]
    assert told["steps"][0]["summary"]["client_v2v_ms"]["p50"] == pytest.approx(254.0)
