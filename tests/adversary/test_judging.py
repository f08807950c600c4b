"""What counts as withstood."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest

from tests.adversary.attack import Attack
from tests.adversary.judging import Figures, Outcome, Window, slope_kb
from tests.adversary.world import Turn

ATTACK = Attack("slow-head", "", "", ("HTTP 401",), None)
CALM = Figures(turns=40, failed=0, p50_ms=200.0, p95_ms=300.0, trip_p95_ms=2.0)
GOOD = Window(
    quiet=CALM,
    attacked=CALM,
    memory_mb=(100.0, 101.0),
    files=(20, 20),
    lost=0,
    errors=0,
    node_cores=0.5,
    attacker_cores=0.2,
    honest_cores=0.1,
    busy_cores=0.9,
)


def outcome(*windows: Window, **more) -> Outcome:
    return Outcome(**{"attack": ATTACK, "answers": Counter({"HTTP 401": 9}), "windows": list(windows), **more})


def slower(times: float) -> Window:
    return replace(GOOD, attacked=replace(CALM, p95_ms=300.0 * times))


def test_percentiles_are_turns_that_there_were_and_failed_ones_are_endless():
    turns = [Turn(0.0, float(ms), 1.0) for ms in range(1, 20)]
    assert (Figures.of(turns).p50_ms, Figures.of(turns).p95_ms) == (10.0, 19.0)
    lost = Figures.of([*turns, Turn(0.0, None, problems=("no_answer",)), Turn(0.0, None, problems=("no_answer",))])
    assert (lost.p95_ms, lost.failed) == (math.inf, 2)


def test_a_node_that_is_as_it_was_has_withstood():
    assert outcome(GOOD, steps_alone=0).problems() == []


@pytest.mark.parametrize(
    ("window", "problem"),
    [
        (slower(1.31), "1.31 times slower"),
        (replace(GOOD, attacked=replace(CALM, failed=2)), "2 turns failed"),
        (replace(GOOD, lost=1), "1 honest sessions lost"),
        (replace(GOOD, errors=3), "3 errors in the log"),
        (replace(GOOD, files=(20, 23)), "3 descriptors kept"),
        (replace(GOOD, memory_mb=(100.0, 130.0)), "30 MB kept"),
    ],
)
def test_what_a_node_does_not_withstand_is_named(window: Window, problem: str):
    assert outcome(window).problems() == [problem]


def test_slow_once_in_three_is_the_machines_mood():
    assert outcome(slower(1.5), GOOD, slower(1.1)).problems() == []
    assert outcome(slower(1.5), GOOD, slower(1.4)).problems() == ["1.40 times slower"]


def test_too_few_turns_say_nothing_about_slowness():
    few = replace(slower(9.0), attacked=replace(CALM, turns=3, p95_ms=2700.0))
    assert outcome(few).problems() == []
    assert math.isnan(outcome(few).ratio)


def test_answers_and_engine_steps_that_should_not_be_are_named():
    wrong = outcome(GOOD, answers=Counter({"HTTP 101": 1}), steps_alone=4)
    assert wrong.problems() == ["answered HTTP 101", "4 engine steps"]
    assert outcome(GOOD, answers=Counter()).problems() == ["no answers"]


def test_memory_for_a_thousand_attempts_is_that_of_the_second_half():
    begun = [100.0, 140.0, 150.0, 150.0]
    assert slope_kb(begun + [150.0] * 4, 10_000) == pytest.approx(0.0, abs=1e-6)
    growing = [100.0 + 2.0 * step for step in range(11)]  # 20 MB for 10,000 attempts
    assert slope_kb(growing, 10_000) == pytest.approx(2000.0)
    assert slope_kb([100.0], 10_000) == 0.0


def test_growth_by_handshakes_is_judged_where_there_are_many():
    assert outcome(GOOD, slope_kb=500.0).problems() == []
    many = replace(ATTACK, at_least=10_000)
    assert outcome(GOOD, attack=many, slope_kb=500.0).problems() == ["500 KB for 1,000"]
