import io

import pytest
from rich.console import Console

from voiceedge.bench.change import compare
from voiceedge.bench.change_rendering import render_change


def report(times):
    leg = [{"segment": "wait", "ms": 200.0}]
    rows = [{"audio": f"r{n}", "client_v2v_ms": ms, "legs": leg} for n, ms in enumerate(times)]
    return {"turns": [row | {"critical_path": leg} for row in rows]}


def printed(change, width=80):
    out = io.StringIO()
    Console(file=out, width=width).print(render_change(change))
    return out.getvalue()


def test_the_verdict_its_figures_and_what_to_mind_are_shown():
    text = printed(compare(report([300.0] * 9), report([360.0] * 9), ["the cpu was a and is b"]), width=120)
    assert "slower by 20.0 % (95 % interval +20.0 to +20.0 %)" in text
    (row,) = [line.split() for line in text.splitlines() if "client p50" in line]
    assert row == ["client", "p50", "300", "360", "+60", "+60", "to", "+60", "1.20", "1.20", "to", "1.20"]
    assert "endpoint wait p50" in text
    assert "mind: the cpu was a and is b" in text


def test_an_end_among_failed_turns_is_a_dash():
    text = printed(compare(report([300.0] * 9), report([300.0] * 5 + [None] * 4)))
    (row,) = [line.split() for line in text.splitlines() if "client p95" in line]
    assert row[2:] == ["300", "-", "-", "-", "to", "-", "-", "-", "to", "-"]


@pytest.mark.parametrize("width", [80, 100, 140])
def test_it_fits(width):
    text = printed(compare(report([1300.0] * 9), report([2600.0] * 9)), width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
