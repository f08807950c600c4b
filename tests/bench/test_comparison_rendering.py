import io

from rich.console import Console

from tests.bench.test_comparison import compared, comparison
from tests.bench.test_rendering import row
from voiceedge.bench.comparison_rendering import render_comparison
from voiceedge.bench.side_by_side import CpuUse


def printed(found, width=80):
    out = io.StringIO()
    Console(file=out, width=width).print(render_comparison(found))
    return out.getvalue()


def line_of(text, *starts):
    (line,) = [line for line in text.splitlines() if line.split()[: len(starts)] == list(starts)]
    return line.split()


def test_both_sides_stand_above_their_ratio_and_its_interval():
    text = printed_set(compared(*[(200.0, 500.0)] * 3))
    assert line_of(text, "whole", "ours", "3", "200")[:7] == ["whole", "ours", "3", "200", "200", "200", "200"]
    assert line_of(text, "ratio") == ["ratio", "3", "0.40", "0.40"]
    assert "swered" not in text
    assert line_of(text, "95", "%") == ["95", "%", "0.40", "to", "0.40", "0.40", "to", "0.40"]


def printed_set(one, **more):
    found = comparison(**more)
    found.sets.append(one)
    return printed(found)


def test_a_side_that_fails_too_often_has_no_end():
    text = printed_set(compared((200.0, 500.0), (None, 500.0), (None, 500.0)))
    assert line_of(text, "whole", "ours", "3", "∞")[:7] == ["whole", "ours", "3", "∞", "∞", "∞", "200"]
    assert line_of(text, "ratio") == ["ratio", "3", "-", "-"]
    assert line_of(text, "answered") == ["answered", "1", "0.40", "0.40"]
    assert "A failed turn counts as slower than all others." in text


def test_rudeness_is_a_share_and_restarts_that_nobody_hears_stand_apart():
    found = compared(*[(200.0, 500.0)] * 39)
    found.pairs.append((row("rude", problems=("talked_over", "split"), restarts=1), row("rude", restarts=1)))
    text = printed_set(found)
    wrong = text.split("what went wrong")[1]
    (ours,) = [line.split() for line in wrong.splitlines() if line.split()[:2] == ["whole", "ours"]]
    assert ours == ["whole", "ours", "40", "1", "2.5", "1", "0", "0", "0", "0", "1"]


def test_segments_of_both_sides_are_shown():
    segments = printed_set(compared((200.0, 500.0))).split("medians of the segments")[1]
    assert ["whole", "ours", "200", "90", "200"] in [line.split() for line in segments.splitlines()]


def test_what_drafting_gained_and_cost_is_told():
    drafted = {"answer_ready_at_endpoint": 1, "wasted_ms": 100, "work_ms": 300}
    found = compared()
    found.pairs = [(row("a", facts=drafted), row("a"))]
    found.uses[0].cpu_s = 0.5
    text = " ".join(printed_set(found).split())
    assert "whole, ours: answer ready at the endpoint in 100 % of 1 turns" in text
    assert "0.1 s thrown away, 25 % of the engines' time, 20 % of the process's" in text
    assert "whole, plain" not in text


def test_the_curve_says_what_holds_and_how_many_times_as_many():
    found = comparison((1, 1, 1000.0), (1, 2, 1600.0), (0, 1, 300.0), (0, 2, 500.0), (0, 4, 1400.0))
    text = printed(found)
    assert line_of(text, "ours", "4") == ["ours", "4", "1", "1400", "1400", "1400", "1400", "20", "4.67", "yes"]
    assert line_of(text, "plain", "2")[-1] == "no"
    assert "under 1500 ms (1.5 times plain's with one): ours 4, plain 1, 4.0 times as many" in " ".join(text.split())


def test_what_silence_costs_is_told():
    found = comparison()
    found.silent.append(CpuUse(0.45, 30.0))
    assert "a session in which nobody speaks: ours 1.50 % of a core" in printed(found)


def test_a_comparison_that_was_ended_early_says_so_and_fits_80_columns():
    found = comparison((1, 1, 12345.0), (0, 1, 12345.0), interrupted="stopped by hand")
    found.sets.append(compared(*[(1234.0, 12345.0)] * 100, name="hesitate"))
    text = printed(found)
    assert "ended early: stopped by hand" in text
    assert "…" not in text
