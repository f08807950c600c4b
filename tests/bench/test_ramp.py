import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.bench.scripted_node import ScriptedNode, begin_answer, end_answer, options
from tests.bench.test_rendering import row
from voiceedge.bench import run_bench
from voiceedge.bench.figures import distribution
from voiceedge.bench.options import BenchOptions, NodeFull, NodeUnreachable
from voiceedge.bench.pace import Pace
from voiceedge.bench.ramp import climb
from voiceedge.bench.report import BenchReport
from voiceedge.bench.selfcheck import SelfCheck
from voiceedge.budget import parse_budget

SLO = parse_budget("p95<800ms")
EASY, BUSY = (SelfCheck(cpu, distribution([1.0]), distribution([1.0])) for cpu in (5.0, 99.0))


def asking(**more):
    return BenchOptions(url="", budget=SLO, **more)


class Curve:
    """A node whose turns take what a function of the number of conversations says."""

    def __init__(self, times, check=lambda _: EASY, room_for=999):
        self.times, self.check, self.room_for = times, check, room_for
        self.asked = []
        self.steps = []

    async def measure(self, asked):
        self.asked.append(asked)
        if asked.sessions > self.room_for:
            raise NodeFull("full", sessions=self.room_for)
        turns = asked.sessions * asked.turns
        rows = tuple(row("a", ms) for ms in np.broadcast_to(self.times(asked.sessions, turns), turns).tolist())
        return BenchReport({}, rows, budget=asked.budget, self_check=self.check(asked.sessions))

    async def ramp(self, **more):
        return await climb(asking(**more), self.measure, self.steps.append)


async def test_the_largest_number_that_keeps_the_limit_is_found():
    curve = Curve(lambda sessions, _: 100.0 * sessions)
    ramp = await curve.ramp()
    assert [step.sessions for step in ramp.steps] == [1, 2, 4, 8, 6, 7]
    assert ramp.capacity == 7
    assert ramp.best.sessions == 7
    assert list(ramp.steps) == curve.steps
    assert ramp.limit_reason.startswith("With 8 conversations p95<800ms is missed: p95 is 800 ms, 64 of 64 turns late")
    assert "most of it in" in ramp.limit_reason
    assert not ramp.is_void


async def test_there_are_turns_enough_for_a_p95():
    curve = Curve(lambda sessions, _: 100.0 * sessions)
    await curve.ramp()
    assert [(one.sessions, one.turns) for one in curve.asked[:4]] == [(1, 24), (2, 12), (4, 8), (8, 8)]
    curve = Curve(lambda sessions, _: 100.0 * sessions)
    await curve.ramp(turns=3)
    assert {one.turns for one in curve.asked} == {3}


async def test_not_even_one():
    ramp = await Curve(lambda _, __: 900.0).ramp()
    assert (ramp.capacity, [step.sessions for step in ramp.steps]) == (0, [1])
    assert ramp.best.sessions == 1
    assert ramp.limit_reason.startswith("With 1 conversation p95<800ms is missed")


async def test_more_than_is_tried():
    ramp = await Curve(lambda _, __: 100.0).ramp(at_most=6)
    assert (ramp.capacity, ramp.limit_reason) == (6, "No more than 6 were tried (--at-most)")


async def test_a_number_next_to_the_limit_is_judged_by_two_tries():
    def times(sessions, turns):
        late = 2 if sessions == 2 and len(curve.asked) == 2 else 0  # the first try of 2 only
        return np.array([900.0] * late + [100.0] * (turns - late))

    curve = Curve(times)
    ramp = await curve.ramp(at_most=2)
    (_, step) = ramp.steps
    assert (step.tries, step.kept, ramp.capacity) == (2, True, 2)
    assert len(step.report.turns) == 48
    assert {one.run for one in step.report.turns} == {1, 2}
    assert curve.asked[1].seed != curve.asked[2].seed


async def test_a_node_that_takes_no_more_is_the_reason_and_the_number_it_takes_is_tried():
    curve = Curve(lambda _, __: 100.0, room_for=6)
    ramp = await curve.ramp(pace=Pace(speed=1e6))
    assert [(step.sessions, step.kept) for step in ramp.steps] == [
        (1, True),
        (2, True),
        (4, True),
        (8, False),
        (6, True),
    ]
    assert (ramp.capacity, ramp.limit_reason) == (6, "The node takes no more than 6 sessions")
    assert ramp.steps[3].report.turns == ()
    assert [one.sessions for one in curve.asked].count(8) == 2  # sessions of the step before may have been closing


async def test_a_full_node_may_still_miss_the_limit_with_fewer():
    ramp = await Curve(lambda sessions, _: 900.0 if sessions > 4 else 100.0, room_for=6).ramp(pace=Pace(speed=1e6))
    assert ramp.capacity == 4
    assert ramp.limit_reason.startswith("With 5 conversations p95<800ms is missed")


async def test_a_node_that_lets_nobody_in_is_unreachable():
    with pytest.raises(NodeUnreachable):
        await Curve(lambda _, __: 100.0, room_for=0).ramp(pace=Pace(speed=1e6))


def dies(curve, measurement):
    """The node is gone from so many measurements on."""

    async def measure(asked):
        if len(curve.asked) + 1 >= measurement:
            raise NodeUnreachable("no node answers at h:1")
        return await curve.measure(asked)

    return measure


async def test_a_node_that_dies_under_load_ends_the_ramp_and_what_was_measured_is_kept():
    curve = Curve(lambda sessions, _: 100.0 * sessions)
    ramp = await climb(asking(), dies(curve, 4), curve.steps.append)
    assert [(step.sessions, step.kept) for step in ramp.steps] == [(1, True), (2, True), (4, True)]
    assert (ramp.capacity, ramp.lost) == (4, True)
    assert ramp.limit_reason == "With 8 conversations the node was lost: no node answers at h:1"
    with pytest.raises(NodeUnreachable):
        await climb(asking(), dies(Curve(lambda _, __: 100.0), 1), lambda _: None)


async def test_a_node_that_dies_in_the_second_try_leaves_the_first():
    curve = Curve(lambda _, turns: np.array([900.0] * 2 + [100.0] * (turns - 2)))
    ramp = await climb(asking(), dies(curve, 2), curve.steps.append)
    (step,) = ramp.steps
    assert (len(step.report.turns), step.tries, step.kept) == (24, 2, False)
    assert ramp.limit_reason == "With 1 conversation no node answers at h:1"


async def test_where_a_busy_client_ends_the_ramp_the_capacity_may_be_larger():
    curve = Curve(lambda sessions, _: 100.0 * sessions**2, check=lambda sessions: BUSY if sessions > 1 else EASY)
    ramp = await curve.ramp()
    # 2 conversations kept the limit all the same: what the client adds is counted against the node
    assert [(step.sessions, step.kept, step.is_void, step.tries) for step in ramp.steps] == [
        (1, True, False, 1),
        (2, True, False, 1),
        (4, False, True, 2),
        (3, False, True, 2),
    ]
    assert ramp.is_void
    assert ramp.capacity == 2
    assert ramp.limit_reason == (
        "With 3 conversations this client was too busy to tell: this client used 99 % of a core (at most 80 %)"
    )


async def test_a_client_that_was_too_busy_beyond_the_capacity_does_not_matter():
    curve = Curve(lambda sessions, _: 100.0 * sessions**2, check=lambda sessions: BUSY if sessions > 3 else EASY)
    ramp = await curve.ramp()
    assert [(step.sessions, step.is_void) for step in ramp.steps] == [(1, False), (2, False), (4, True), (3, False)]
    assert not ramp.is_void
    assert ramp.limit_reason.startswith("With 3 conversations p95<800ms is missed")


async def test_whoever_has_seen_enough_gets_what_is_known():
    asked = asking()
    curve = Curve(lambda _, __: 100.0)

    async def measure(step):
        if step.sessions == 4:
            asked.halt.ask()
        return await curve.measure(step)

    ramp = await climb(asked, measure, lambda _: None)
    assert ramp.limit_reason == "Stopped by hand"
    assert [step.sessions for step in ramp.steps] == [1, 2, 4]


@settings(max_examples=15, deadline=None)
@given(knee=st.integers(3, 40), softness=st.sampled_from([20.0, 60.0]), seed=st.integers(0, 10_000))
async def test_two_runs_differ_by_at_most_one(knee, softness, seed):
    """Times as of a queue, scattered by 30 %."""

    async def capacity(chance):
        def times(sessions, turns):
            busy = sessions / knee
            typical = 250.0 + softness * busy / (1.0 - busy) if busy < 0.99 else 5000.0
            return typical * chance.lognormal(0.0, 0.3, turns)

        return (await Curve(times).ramp()).capacity

    first, second = [await capacity(np.random.default_rng((seed, run))) for run in (1, 2)]
    assert abs(first - second) <= 1


# ── over sockets ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_real_ramp_ends_where_the_node_lets_nobody_in(recordings):
    async with ScriptedNode(room_for=3).up() as node:
        steps = []
        report = await run_bench(
            options(node, recordings, ramp=True, turns=1, budget=parse_budget("p95<100s")), steps.append
        )
    assert report.ramp.limit_reason == "The node takes no more than 3 sessions"
    assert report.ramp.capacity == 3
    assert list(report.ramp.steps) == steps
    assert [step.sessions for step in steps] == [1, 2, 4, 3]
    assert {one.session for one in report.turns} == {1, 2, 3}


async def test_a_real_ramp_finds_what_is_too_slow(recordings):
    async def slow_for_several(socket, turn):
        if node._open > 1:
            return  # never answers
        await end_answer(socket, await begin_answer(socket, turn))

    async with ScriptedNode(slow_for_several).up() as node:
        report = await run_bench(
            options(node, recordings, ramp=True, turns=1, timeout_s=3.0, budget=parse_budget("p95<100s"))
        )
    assert report.ramp.capacity == 1
    assert "2 never answered" in report.ramp.limit_reason
