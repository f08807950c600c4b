import asyncio
import threading
from contextlib import aclosing
from contextvars import ContextVar
from functools import partial
from math import inf

import pytest

from tests.session.stepping import LONG_S, Gate, Steps, at_once, block, consume, settle
from voiceedge.errors import ContextFull, EngineFailed, Overloaded
from voiceedge.session import compute as compute_module
from voiceedge.session.compute import Compute
from voiceedge.session.load import AVERAGED_S
from voiceedge.trace import TurnTrace, now


@pytest.fixture
def compute():
    one = Compute(1)
    yield one
    one.close()


# ── single steps ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_step_runs_on_a_thread_of_its_own_and_returns_its_result(compute):
    thread = await compute.run(threading.current_thread, deadline=0.0)
    assert thread.name == "compute-0"


async def test_the_earliest_deadline_goes_first_and_equals_in_the_order_they_came(compute):
    gate, order = Gate(), []
    blocked = await block(compute, gate)
    urgencies = [(3.0, "c"), (1.0, "a"), (2.0, "b"), (1.0, "a2")]
    tasks = [asyncio.create_task(compute.run(partial(order.append, name), deadline=at)) for at, name in urgencies]
    await settle()
    assert compute.waiting == 4
    gate.open()
    await asyncio.gather(blocked, *tasks)
    assert order == ["a", "a2", "b", "c"]
    assert compute.waiting == 0


async def test_whatever_an_engine_raises_is_an_engine_failure_and_the_thread_goes_on(compute):
    with pytest.raises(EngineFailed, match="ZeroDivisionError") as raised:
        await compute.run(lambda: 1 / 0, deadline=0.0)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert await compute.run(lambda: "alive", deadline=0.0) == "alive"


async def test_an_error_of_our_own_passes_as_it_is(compute):
    error = ContextFull("full")

    def fail():
        raise error

    with pytest.raises(ContextFull) as raised:
        await compute.run(fail, deadline=0.0)
    assert raised.value is error


async def test_a_step_that_is_cancelled_before_it_starts_never_runs(compute):
    gate, ran = Gate(), []
    blocked = await block(compute, gate)
    task = asyncio.create_task(compute.run(partial(ran.append, 1), deadline=0.0))
    await settle()
    task.cancel()
    await settle()
    gate.open()
    assert await blocked == "passed"
    await compute.run(lambda: None, deadline=9.0)  # everything before it has been passed over
    assert task.cancelled()
    assert ran == []


async def test_a_step_that_is_cancelled_while_it_runs_is_dropped_and_the_next_one_runs(compute):
    gate = Gate()
    task = await block(compute, gate)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.open()
    assert await compute.run(lambda: "next", deadline=0.0) == "next"


async def test_more_work_than_may_wait_is_refused(compute, monkeypatch):
    monkeypatch.setattr(compute_module, "MAX_WAITING", 1)
    gate = Gate()
    blocked = await block(compute, gate)
    waiting = asyncio.create_task(compute.run(lambda: "waited", deadline=0.0))
    await settle()
    with pytest.raises(Overloaded):
        await compute.run(lambda: None, deadline=0.0)
    gate.open()
    assert await asyncio.gather(blocked, waiting) == ["passed", "waited"]


async def test_the_trace_knows_how_long_a_step_stood_in_the_queue(compute):
    gate, trace = Gate(), TurnTrace(1, 0.0)
    blocked = await block(compute, gate)
    task = asyncio.create_task(compute.run(lambda: None, deadline=0.0, trace=trace))
    await settle()
    before_open = trace.clock()
    gate.open()
    await asyncio.gather(blocked, task)
    ((asked, started),) = trace.waits
    assert asked <= before_open <= started


async def test_a_step_runs_in_the_context_of_whoever_asked_for_it_so_that_the_log_can_name_the_session(compute):
    whose = ContextVar("whose", default="nobody's")
    asked = whose.set("mine")
    mine = asyncio.ensure_future(compute.run(whose.get, deadline=0))
    await asyncio.sleep(0)
    whose.reset(asked)
    assert (await mine, await compute.run(whose.get, deadline=0)) == ("mine", "nobody's")


# ── streams ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_stream_yields_every_item_and_asks_for_the_deadline_of_each(compute):
    asked, got, steps = [], [], Steps("a", None, "c")

    def deadline():
        asked.append(1)
        return 0.0

    await consume(compute, steps, got, deadline)
    assert got == ["a", None, "c"]
    assert len(asked) == 2 * 4  # when it comes, and when a thread is free; the last step finds the end
    assert steps.is_closed


async def test_two_streams_take_turns(compute):
    gate, order = Gate(), []
    blocked = await block(compute, gate)
    tasks = [
        asyncio.create_task(consume(compute, Steps(*(partial(order.append, name) for _ in range(3))), []))
        for name in "ab"
    ]
    await settle()
    gate.open()
    await asyncio.gather(blocked, *tasks)
    assert order == ["a", "b", "a", "b", "a", "b"]


async def test_a_more_urgent_stream_overtakes_between_two_steps(compute):
    gate, order = Gate(), []
    idle = Steps(gate, partial(order.append, "idle"))
    slow = asyncio.create_task(consume(compute, idle, [], lambda: 9.0))
    await gate.entered()
    fast = asyncio.create_task(consume(compute, Steps(partial(order.append, "urgent")), []))
    await settle()
    gate.open()
    await asyncio.gather(slow, fast)
    assert order == ["urgent", "idle"]


async def test_a_failing_step_ends_its_stream_only(compute):
    got = []
    with pytest.raises(EngineFailed):
        await consume(compute, Steps("a", lambda: 1 / 0), got)
    assert got == ["a"]
    await consume(compute, Steps("b"), got)
    assert got == ["a", "b"]


async def test_a_stream_that_is_left_early_is_closed_on_the_way_out(compute):
    steps = Steps("a", "b")
    async with aclosing(compute.stream(steps, deadline=at_once)) as stream:
        async for _ in stream:
            break
    assert steps.is_closed


@pytest.mark.parametrize("times", [1, 3])
async def test_a_stream_that_is_cancelled_ends_behind_the_step_in_flight_however_often_it_is_told(compute, times):
    gate, got = Gate(), []
    steps = Steps("a", gate, "never")
    task = asyncio.create_task(consume(compute, steps, got))
    await gate.entered()
    for _ in range(times):
        task.cancel()
        await settle()
        assert not task.done()  # the engine's stream is not free yet
        assert not steps.is_closed
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps.is_closed
    assert got == ["a"]


async def test_a_stream_that_is_cancelled_while_it_waits_is_closed_at_once(compute):
    gate, got, steps = Gate(), [], Steps("a", "b")
    async with aclosing(compute.stream(steps, deadline=at_once)) as stream:
        got.append(await anext(stream))
        blocked = await block(compute, gate)
        step = asyncio.create_task(anext(stream))
        await settle()
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
        assert steps.is_closed
    gate.open()
    await blocked
    assert got == ["a"]


async def test_a_stream_whose_closing_fails_is_left_all_the_same(compute):
    gate = Gate()

    def steps():
        try:
            yield gate()
        finally:
            raise ValueError("cannot even close")

    task = asyncio.create_task(consume(compute, steps, []))
    await gate.entered()
    task.cancel()
    await settle()
    gate.open()
    async with asyncio.timeout(LONG_S):
        await asyncio.wait([task])
    assert task.cancelled()


async def test_an_iterator_that_cannot_be_closed_is_streamed_too(compute):
    got = []
    await consume(compute, lambda: iter("ab"), got)
    assert got == ["a", "b"]


async def test_the_threads_forget_what_they_ran(compute):
    """It may hold the weights of an engine that has been replaced."""
    gone = threading.Event()

    class Weights:
        def __del__(self):
            gone.set()

    def steps(weights):
        yield id(weights)

    await consume(compute, partial(steps, Weights()), [])
    assert await asyncio.to_thread(gone.wait, LONG_S)


# ── the end ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_closing_lets_the_step_in_flight_finish_and_cancels_what_waits():
    compute, gate, ran = Compute(1), Gate(), []
    running = await block(compute, gate)
    waiting = asyncio.create_task(compute.run(partial(ran.append, 1), deadline=0.0))
    await settle()
    closing = asyncio.create_task(asyncio.to_thread(compute.close))
    await asyncio.wait([waiting])
    gate.open()
    await closing
    assert not any(thread.is_alive() for thread in compute._threads)
    assert waiting.cancelled()
    assert await running == "passed"
    assert ran == []
    with pytest.raises(EngineFailed, match="shutting down"):
        await compute.run(lambda: None, deadline=0.0)


# ── deadlines that change, and what is noted ──────────────────────────────────────────────────────────────


async def test_what_waits_can_become_urgent(compute):
    gate, order, draft = Gate(), [], [9.0]
    blocked = await block(compute, gate)
    tasks = [
        asyncio.create_task(consume(compute, Steps(partial(order.append, "draft")), [], lambda: draft[0])),
        asyncio.create_task(compute.run(partial(order.append, "idle"), deadline=lambda: draft[0] + 1)),
        asyncio.create_task(compute.run(partial(order.append, "spoken"), deadline=5.0)),
    ]
    await settle()
    draft[0] = 1.0
    gate.open()
    await asyncio.gather(blocked, *tasks)
    assert order == ["draft", "idle", "spoken"]


async def test_a_deadline_that_cannot_be_told_costs_nobody_the_thread(compute):
    assert await compute.run(lambda: "ran", deadline=lambda: 1 / 0) == "ran"
    assert await compute.run(lambda: "next", deadline=0.0) == "next"


async def test_the_node_is_busy_while_one_more_step_would_have_to_wait(compute):
    assert not compute.is_busy(before=inf)
    gate = Gate()
    blocked = await block(compute, gate)  # due at 0
    assert compute.is_busy(before=6.0)
    assert not compute.is_busy(before=0.0), "what is due later goes later"
    waiting = asyncio.create_task(compute.run(lambda: None, deadline=7.0))
    await asyncio.sleep(0)
    assert compute.is_busy(before=8.0)
    gate.open()
    await asyncio.gather(blocked, waiting)
    assert not compute.is_busy(before=inf)


class Hands:
    """A clock that a test turns."""

    def __init__(self):
        self.at = 100.0

    def __call__(self):
        return self.at

    def pass_by(self, seconds):
        self.at += seconds


async def test_the_load_is_made_of_what_runs_and_of_what_keeps_a_listener_waiting(monkeypatch):
    clock = Hands()
    monkeypatch.setattr(compute_module, "now", clock)
    compute = Compute(2)
    gates = [Gate(), Gate()]
    try:
        blocked = [asyncio.create_task(compute.run(gate, deadline=0.0)) for gate in gates]
        for gate in gates:
            await gate.entered()
        waits = [compute.run(lambda: None, deadline=at) for at in (0.0, 100.4, 102.0)]  # overdue, soon, a draft
        tasks = [asyncio.create_task(one) for one in waits]
        await settle()
        clock.pass_by(0.5)
        for gate in gates:
            gate.open()
        await asyncio.gather(*blocked, *tasks)
        assert compute.load == pytest.approx((0.5 + 0.5 + 0.5 + 0.1) / AVERAGED_S / 2)
        clock.pass_by(100.0)
        assert compute.load == pytest.approx(0.0, abs=1e-6)
    finally:
        compute.close()


async def test_engine_time_is_noted_with_the_turn_and_the_longest_step_by_its_name(compute):
    trace = TurnTrace(1, 0.0)
    for name in ("stt", "tts"):
        begun = trace.clock()
        await compute.run(lambda: sum(range(20_000)), deadline=0.0, trace=trace, name=name)
        assert 0 < compute.longest_s[name] <= trace.clock() - begun
    assert 0 < trace.work_s <= sum(compute.longest_s.values())


async def test_the_work_of_a_step_that_fails_is_noted_too(compute):
    trace = TurnTrace(1, 0.0)
    with pytest.raises(EngineFailed):
        await compute.run(lambda: 1 / 0, deadline=0.0, trace=trace)
    assert trace.work_s > 0


async def test_whoever_observes_is_told_of_every_step_from_the_thread_that_ran_it():
    told = []
    compute = Compute(1, lambda *run: told.append((*run, threading.current_thread().name)))
    try:
        gate, begun = Gate(), now()
        blocked = await block(compute, gate)
        task = asyncio.create_task(compute.run(lambda: None, deadline=0.0, name="stt"))
        await settle()
        gate.open()
        await asyncio.gather(blocked, task)
    finally:
        compute.close()
    (_, first_waited_s, first_ran_s, _, _), (name, waited_s, ran_s, rows, thread) = told
    assert (name, rows, thread) == ("stt", 1, "compute-0")
    assert first_waited_s >= 0
    assert 0 < waited_s <= first_ran_s + first_waited_s
    assert first_ran_s + ran_s <= now() - begun


async def test_whoever_observes_and_fails_costs_nobody_the_thread():
    compute = Compute(1, lambda *_: 1 / 0)
    try:
        assert await compute.run(lambda: "ran", deadline=0.0) == "ran"
        assert await compute.run(lambda: "next", deadline=0.0) == "next"
    finally:
        compute.close()


async def test_nobody_is_told_of_a_step_that_did_not_run():
    told = []
    compute = Compute(1, lambda name, *_: told.append(name))
    try:
        gate = Gate()
        blocked = await block(compute, gate)
        cancelled = asyncio.create_task(compute.run(lambda: None, deadline=0.0, name="cancelled"))
        await settle()
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        gate.open()
        await blocked
        await compute.run(lambda: None, deadline=0.0, name="last")
    finally:
        compute.close()
    assert told == ["step", "last"]
