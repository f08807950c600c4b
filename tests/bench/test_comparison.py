import json

import pytest

from tests.bench.test_rendering import row
from voiceedge.bench.comparison import SCHEMA, Compared, Comparison, to_json
from voiceedge.bench.report import BenchReport
from voiceedge.bench.side_by_side import CpuUse


def compared(*times, name="whole"):
    found = Compared(name)
    found.pairs = [(row(f"{n}.wav", ours), row(f"{n}.wav", theirs)) for n, (ours, theirs) in enumerate(times)]
    return found


def comparison(*points, **more):
    """With curves of (side, sessions, p95 in ms or None)."""
    found = Comparison({"cpu": "Some CPU"}, ("ours", "plain"), **more)
    for side, sessions, p95 in points:
        problems = ("no_answer",) if p95 is None else ()
        found.curves[side].add(sessions, BenchReport({}, (row("a", p95, problems=problems),)), CpuUse(0.2, 1.0))
    return found


def test_a_ratio_is_the_first_node_over_the_second():
    found = compared((200.0, 500.0), (300.0, 1000.0), (400.0, 1000.0))
    assert found.ratio(50).value == 0.3
    assert found.ratio(95).value == 0.4
    assert [found.summary(side).client_v2v_ms.p50 for side in (0, 1)] == [300.0, 1000.0]


def test_recordings_of_several_runs_are_one_piece_of_evidence():
    once, thrice = Compared("whole"), Compared("whole")
    once.pairs = [(row(f"{n}", 100.0 * n), row(f"{n}", 500.0)) for n in range(1, 8)]
    thrice.pairs = once.pairs * 3
    assert thrice.ratio(50) == once.ratio(50)


def test_the_limit_is_half_as_much_again_as_the_baseline_alone():
    found = comparison((1, 1, 1000.0), (0, 1, 300.0), (0, 2, 1499.0), (0, 4, 1500.0), (1, 2, 1700.0))
    assert found.limit_ms == 1500.0
    assert (found.capacity(0), found.capacity(1)) == (2, 1)


def test_a_number_of_conversations_of_which_too_many_fail_or_one_is_refused_does_not_hold():
    found = comparison((1, 1, 1000.0), (0, 1, None))
    assert found.capacity(0) == 0
    refused = BenchReport({}, (row("a", 300.0),), interrupted="1 of 2 conversations: full")
    found.curves[1].add(2, refused, CpuUse())
    assert found.capacity(1) == 1


@pytest.mark.parametrize("points", [(), ((0, 1, 300.0),), ((1, 1, None), (0, 1, 300.0))])
def test_without_a_baseline_nothing_is_said_of_capacity(points):
    assert comparison(*points).limit_ms is None
    assert comparison(*points).capacity(0) is None


def test_the_json_has_the_form_that_its_schema_promises():
    found = comparison((1, 2, 2000.0), (1, 1, 1000.0), (0, 1, 300.0), interrupted="stopped by hand")
    found.sets.append(compared((200.0, 500.0), (None, 500.0)))
    found.silent += [CpuUse(0.3, 30.0), CpuUse(0.6, 30.0)]
    data = to_json(found)
    assert json.loads(json.dumps(data)) == data
    assert (data["schema"], data["names"], data["interrupted"]) == (SCHEMA, ["ours", "plain"], "stopped by hand")
    (whole,) = data["sets"]
    assert whole["ratios"] == {
        "p50": {"value": 0.4, "low": 0.4, "high": None},  # in a quarter of the draws ours always fails
        "p95": {"value": None, "low": 0.4, "high": None},
    }
    assert whole["answered_by_both"] == {
        "n": 1,
        "p50": {"value": 0.4, "low": 0.4, "high": 0.4},
        "p95": {"value": 0.4, "low": 0.4, "high": 0.4},
    }
    assert [summary["failed"] for summary in whole["summaries"]] == [1, 0]
    assert whole["turns"][1][0]["client_v2v_ms"] is None
    assert whole["cpu_percent"] == [None, None]
    assert [[point["sessions"] for point in curve] for curve in data["curves"]] == [[1], [1, 2]]
    assert data["curves"][1][0]["cpu_percent"] == 20.0
    assert (data["limit_ms"], data["capacity"]) == (1500.0, [1, 1])
    assert data["silent_session_cpu_percent"] == [1.0, 2.0]


def test_nothing_found_yet_can_be_reported():
    data = to_json(comparison())
    assert (data["sets"], data["curves"], data["capacity"]) == ([], [[], []], [None, None])
