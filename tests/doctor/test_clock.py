"""Clocks that can and cannot be trusted."""

from itertools import count

import pytest

from voiceedge.doctor.clock import RELEASED_S, clock_findings, is_synchronised


def steps(step_s):
    ticks = count()
    return lambda: next(ticks) * step_s


def levels(step_s=1e-6, wall=RELEASED_S + 1, kept=True):
    return [f.level for f in clock_findings(steps(step_s), lambda: wall, lambda: kept)]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, ["ok", "ok"]),
        ({"kept": None}, ["ok", "ok"]),
        ({"kept": False}, ["ok", "warning"]),
        ({"wall": 0}, ["ok", "problem"]),
        ({"step_s": 0.016}, ["warning", "ok"]),
        ({"step_s": 0.0}, ["warning", "ok"]),
    ],
)
def test_a_clock_that_cannot_be_trusted_is_marked(facts, expected):
    assert levels(**facts) == expected


def test_the_size_of_its_steps_and_the_date_are_told():
    counted, wall = clock_findings(steps(2e-6), lambda: 1_800_000_000, lambda: True)
    assert "steps of 2 µs" in counted.text
    assert "15 Jan 2027" in wall.text


def test_this_machines_clock_says_something():
    assert is_synchronised() in {True, False, None}
    assert clock_findings()[0].level == "ok"
