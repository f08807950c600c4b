import io
from dataclasses import replace

import pytest
from rich.console import Console, Group

from tests.bench.rows import NODE, whole_report
from voiceedge.bench.rendering_about import about


def printed(**changed):
    report = whole_report()
    environment = report.environment | changed.pop("environment", {})
    out = io.StringIO()
    Console(file=out, width=300).print(Group(*about(replace(report, environment=environment, **changed))))
    return out.getvalue()


def test_both_machines_the_models_the_settings_and_the_load_are_told():
    text = printed(
        environment={"container_cpu_cores": 1.5, "container_memory_bytes": 2 << 30, "governor": "performance"}
    )
    for part in (
        "host:1, turn detection semantic_vad, listening: full",
        "container limit 1.5 cores and 2.0 GiB",
        "governor performance",
        "round trip 4.0 ms",
        "profile nano, region fra, Node CPU, 4 cores, 8.0 GiB, threads workers 2, 16 sessions at most",
        "small, int8, 0123456789ab",
    ):
        assert part in text


def test_without_a_container_no_limit_is_told():
    assert "container" not in printed(environment={"container_cpu_cores": None, "container_memory_bytes": None})


@pytest.mark.parametrize(
    "node",
    [
        {},
        {"models": None, "machine": None, "threads": None, "region": None},
        {"models": [None, "x", {}], "machine": {"memory_bytes": "much"}, "threads": [], "region": "fra"},
        NODE | {"version": "\x1b[2J[red]"},
    ],
)
def test_a_node_may_say_of_itself_what_it_likes(node):
    text = printed(node=node)
    assert text.startswith("asked")
    assert "\x1b" not in text


def test_a_node_that_says_nothing_has_no_rows():
    assert "node " not in printed(node=None)


def test_whether_people_wait_for_answers_before_they_ask_again_is_told():
    assert "closed model: every question waits" in printed()
    text = printed(environment={"arrivals_per_minute": 6.0})
    assert "open model of 6.0 arrivals a minute" in text
    assert "closed" not in text
    assert "at once" not in text
    assert ", 1 at once, " in printed()


def test_interruptions_are_told():
    assert "interrupts after 0.5..2 s" in printed(environment={"barge_in_s": "0.5..2"})
    assert "interrupts" not in printed()
