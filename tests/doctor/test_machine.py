"""What is said about a machine."""

import pytest

from voiceedge.doctor.machine import load_finding, machine_findings
from voiceedge.machine import Machine


def levels(**facts):
    found = Machine(**{"cpu": "x", "flags": ("AVX2", "AVX-VNNI"), "cores": 2, **facts})
    return [finding.level for finding in machine_findings(found)]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, ["ok", "ok", "ok"]),
        ({"flags": ("NEON", "dotprod")}, ["ok", "ok", "ok"]),
        ({"flags": ("AVX2",)}, ["warning", "ok", "ok"]),
        ({"flags": ()}, ["problem", "ok", "ok"]),
        ({"quota": 1.5}, ["ok", "warning", "ok"]),
        ({"quota": 2.0}, ["ok", "ok", "ok"]),
        ({"memory_bytes": 4_000_000_000, "memory_free_bytes": 500_000_000}, ["ok", "ok", "warning"]),
        ({"memory_bytes": 4_000_000_000, "memory_free_bytes": 3_000_000_000}, ["ok", "ok", "ok"]),
    ],
)
def test_what_is_not_as_it_should_be_is_marked(facts, expected):
    assert levels(**facts) == expected


@pytest.mark.parametrize(("load", "level"), [(None, "ok"), (0.2, "ok"), (1.5, "warning")])
def test_others_at_work_are_told_because_figures_suffer(load, level):
    assert load_finding(2, load).level == level
