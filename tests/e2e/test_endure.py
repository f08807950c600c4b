"""Twenty seconds of what scripts/endure does for hours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.endure.ledger import Ledger, Page
from tests.endure.run import Outcome, Plan, endure
from tests.endure.watching import Sample, as_page, slope, spark

FAULTS = "stt:raise:0.05,llm:raise:0.01,llm:slow=0.1:0.01,llm:memory:0.01,tts:raise:0.02,tts:panic:0.01"


@pytest.mark.slow
async def test_a_node_endures_callers_who_come_and_go_and_engines_that_fail(tmp_path: Path):
    plan = Plan(
        minutes=0.3,
        sessions=4,
        seed=3,
        faults=FAULTS,
        serve=("--engines", "fake:stt+20,llm+30,tts+10"),
        every_s=1.0,
        rest_every_s=6.0,
        calm_s=1.5,
    )
    outcome = Outcome(plan)
    await endure(plan, outcome, tmp_path / "log", lambda _: None)
    assert outcome.complaints == [], outcome.ledger.findings
    assert outcome.ledger.sessions >= 4
    assert outcome.ledger.done["completed"] > 4
    assert len(outcome.samples) > 8
    assert len(outcome.rests) > 1
    assert {rest.sessions for rest in outcome.rests} == {0}


def a_sample(at_s: float, resident_mb: float) -> Sample:
    return Sample(at_s, resident_mb, threads=8, descriptors=20, tasks=3, sessions=0)


def test_growth_is_found_whatever_odd_samples_there_are():
    growing = [a_sample(at, 100 + at / 360 + (50 if at % 500 == 0 else at % 3)) for at in range(0, 3600, 20)]
    found = slope(growing, after_s=600)
    assert found is not None
    assert found.low < 10 < found.high
    assert found.mb_an_hour == pytest.approx(10, rel=0.1)


def test_a_few_samples_say_nothing_of_growth():
    assert slope([a_sample(at, 100) for at in range(5)], after_s=0) is None


def test_what_is_left_over_is_a_complaint():
    outcome = Outcome(Plan(1, 1, 0, "", ()))
    outcome.before, outcome.after = a_sample(0, 1), Sample(0, 1, threads=9, descriptors=20, tasks=5, sessions=0)
    assert outcome.complaints == ["2 tasks are left over", "1 threads are left over"]


def done(status: str, name: str = "r1", **details: object) -> dict[str, object]:
    return {"type": "response.done", "response": {"id": name, "status": status, "output": [], **details}}


def created(name: str = "r1") -> dict[str, object]:
    return {"type": "response.created", "response": {"id": name, "conversation_id": "conv_1"}}


def test_a_failed_turn_counts_against_the_node_only_where_nobody_is_marked():
    ledger = Ledger()
    failed = {"status_details": {"error": {"code": "engine_failed"}}, "conversation_id": "conv_1"}
    for name, is_marked in (("marked", True), ("spared", False)):
        page = Page(ledger, name, is_marked=is_marked)
        page.see(created())
        page.see(done("failed", **failed))
    assert ledger.affected == {"spared"}
    assert ledger.faults == {"engine_failed": 1}


def test_a_response_that_is_done_twice_is_found():
    ledger = Ledger()
    page = Page(ledger, "a", is_marked=True)
    for event in (created(), done("completed"), done("completed")):
        page.see(event)
    assert ledger.found["done twice or never created"] == 1
    assert ledger.created == 1


def test_curves_are_drawn():
    assert spark([0, 1, 2, 3]) == "▁▃▆█"
    assert len(spark(list(range(1000)))) <= 60
    assert spark([5, 5]) == "▁▁"
    page = as_page([a_sample(0, 100), a_sample(60, 110)], "run")
    assert "resident_mb: 100 to 110 in 1.0 minutes" in page
    assert page.count("<polyline") == 5
