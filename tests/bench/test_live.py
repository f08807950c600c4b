import io

import pytest
from rich.console import Console

from tests.bench.test_rendering import row
from voiceedge.bench.figures import distribution
from voiceedge.bench.live import PLAIN_EVERY_S, LiveView, curve_row, live_lines, plain_line
from voiceedge.bench.progress import Progress
from voiceedge.bench.ramp_steps import RampStep
from voiceedge.bench.report import BenchReport
from voiceedge.bench.selfcheck import SelfCheck

ALONE = Progress(3, 24, "Why do [cats] purr?", "waiting", ("waiting",), 312.4, 655.0, 1, 83.0)
CROWD = Progress(7, None, "a.wav", "speaking", ("speaking", "waiting", "speaking"), None, None, 0, None)


class Wall:
    at = 0.0

    def __call__(self):
        return self.at


def lines(progress, left_s=None):
    return [line.plain for line in live_lines(progress, left_s)]


def view(terminal, wall=None):
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, color_system=None)
    return LiveView(console, wall or Wall()), out


def test_one_conversation_takes_two_lines():
    assert lines(ALONE, 82.6) == [
        "turn 3 of 24  Why do [cats] purr?: waiting, about 1:23 left",
        "p50 312 ms, p95 655 ms, 1 failed",
    ]


def test_several_are_a_sign_each():
    assert lines(CROWD) == ["turn 7", "no answer yet", "▶?▶  2 speaking, 1 waiting"]


def test_what_is_endless_is_said_so():
    failed = Progress(3, 4, "a", "done", ("done",), None, None, 2, None)
    assert lines(failed)[1] == "p50 ∞, p95 ∞, 2 failed"


def test_the_questions_are_counted_while_they_are_spoken():
    speaking = Progress(3, 24, "Why?", "preparing", ("preparing",))
    assert lines(speaking) == ["speaking question 3 of 24  Why?: preparing"]


def test_a_plain_line_says_all_of_it():
    assert plain_line(ALONE) == "turn 3 of 24: p50 312 ms, p95 655 ms, 1 failed, about 1:23 left"
    assert plain_line(CROWD) == "turn 7: no answer yet, 2 speaking, 1 waiting"


def test_where_there_is_no_terminal_a_line_comes_now_and_then():
    wall = Wall()
    shown, out = view(terminal=False, wall=wall)
    with shown:
        for wall.at in (1.0, PLAIN_EVERY_S, PLAIN_EVERY_S + 1.0, 2.5 * PLAIN_EVERY_S):
            shown(ALONE)
    assert out.getvalue() == f"{plain_line(ALONE)}\n" * 2


def test_on_a_terminal_it_is_redrawn_counts_down_and_is_gone_at_the_end():
    wall = Wall()
    shown, out = view(terminal=True, wall=wall)
    with shown:
        shown(ALONE)
        wall.at = 23.0
        shown._live.refresh()
        assert "about 1:00 left" in out.getvalue()
        assert "[cats]" in out.getvalue()
    assert out.getvalue().endswith("\x1b[2K")  # the line is cleared


def step(ms, kept=True, cpu=5.0, **more):
    check = SelfCheck(cpu, distribution([1.0]), distribution([1.0]))
    return RampStep(4, BenchReport({}, (row("a", ms),), self_check=check), kept=kept, **more)


@pytest.mark.parametrize(
    ("step", "cells"),
    [
        (step(420.0), "4 420 420 0 5 % yes"),
        (step(920.0, kept=False, tries=2), "4 920 920 0 5 % no, tried twice"),
        (step(None, kept=False), "4 ∞ ∞ 1 5 % no"),
        (step(920.0, kept=False, cpu=99.0), "4 920 920 0 99 % unknown: this client is too busy"),
        (RampStep(8, BenchReport({}, (), "the node is full"), kept=False), "8 - - 0 - no: the node is full"),
    ],
)
def test_a_step_of_a_ramp_is_a_row_of_the_curve(step, cells):
    assert curve_row(step).plain.split() == cells.split()


def test_the_curve_stays_and_has_one_heading():
    shown, out = view(terminal=False)
    with shown:
        shown.step(step(420.0))
        shown.step(step(520.0))
    heading, *rows = out.getvalue().splitlines()
    assert heading.split() == ["conversations", "p50", "p95", "failed", "client", "CPU", "kept"]
    assert len(rows) == 2
