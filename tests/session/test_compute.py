import asyncio
import threading
from contextlib import aclosing
from contextvars import ContextVar
from functools import partial

import pytest

from voiceedge.errors import ContextFull, EngineFailed, Overloaded
from voiceedge.session import compute as compute_module
from voiceedge.session import waiting as waiting_module
from voiceedge.session.compute import Compute
from voiceedge.session.load import AVERAGED_S
from voiceedge.session.waiting import JOIN_S
from voiceedge.trace import TurnTrace, now

LONG_S = 10.0
"""Only a failing test waits for it."""


class Gate:
    """A step that goes on when it is told to."""

    def __init__(self):
        self._entered = threading.Event()
        self._opened = threading.Event()

    def __call__(self):
        self._entered.set()
        assert self._opened.wait(LONG_S)
        return "passed"

    async def entered(self):
        """Wait until a thread stands in the gate."""
        assert await asyncio.to_thread(self._entered.wait, LONG_S)

    def open(self):
        self._opened.set()


class Steps:
    """A generator that yields what it is given, runs what can be run, and knows how it ended."""

    def __init__(self, *steps):
        self.steps = steps
        self.is_closed = False

    def __call__(self):
        try:
            for step in self.steps:
                yield step() if callable(step) else step
        finally:
            self.is_closed = True


@pytest.fixture
def compute():
    one = Compute(1)
    yield one
    one.close()


def at_once():
    return 0.0


async def consume(compute, steps, got, deadline=at_once):
    async with aclosing(compute.stream(steps, deadline=deadline)) as stream:
        async for item in stream:
            got.append(item)


async def settle():
    """Let everything run that can run without waiting."""
    for _ in range(5):
        await asyncio.sleep(0)


async def block(compute, gate):
    """Keep the only worker busy until the gate opens."""
    task = asyncio.create_task(compute.run(gate, deadline=0.0))
    await gate.entered()
    return task


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


# ── streams ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_stream_yields_every_item_and_asks_for_the_deadline_of_each(compute):
    asked, got, steps = [], [], Steps("a", None, "c")

    def deadline():
        asked.append(1)
        return 0.0

    await consume(compute, steps, got, deadline)
    assert got == ["a", None, "c"]
    assert len(asked) == 4  # the last step finds the end
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
    assert not compute.is_busy
    gate = Gate()
    blocked = await block(compute, gate)
    assert compute.is_busy
    gate.open()
    await blocked
    assert not compute.is_busy


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


# ── runs that are shared ──────────────────────────────────────────────────────────────────────────────────


class Model:
    """Decodes rows; knows which of them shared a run."""

    def __init__(self):
        self.runs = []
        self.fails = False
        self.alone = set()  # those that can share no run


class Row:
    """The run of one token."""

    def __init__(self, model, name):
        self.model = model
        self.name = name
        self.done = False

    def batch(self, others):
        joining = [row for row in others if row.name not in self.model.alone]
        return SharedRun(self.model, [self, *joining]) if joining else None


class SharedRun:
    """One run for several rows."""

    def __init__(self, model, rows):
        self.model = model
        self.rows = rows

    def run(self):
        if self.model.fails:
            raise RuntimeError("a batch cannot be run")
        self.model.runs.append("".join(sorted(row.name for row in self.rows)))
        for row in self.rows:
            row.done = True


class Decoding:
    """A generator of so many tokens, the first of which needs no run of the model."""

    def __init__(self, model, name, tokens, gate=None):
        self.row = None
        self._model, self._name, self._left, self._gate = model, name, tokens, gate
        self.is_closed = False

    def __iter__(self):
        return self

    def __next__(self):
        if self._left == 0:
            raise StopIteration
        if self._gate is not None and self.row is not None:
            self._gate()
            self._gate = None
        if self.row is not None and not self.row.done:
            self._model.runs.append(self._name)
        self._left -= 1
        self.row = Row(self._model, self._name) if self._left else None
        return self._name

    def close(self):
        self.is_closed = True


async def together(compute, *begin):
    """Begin streams and wait for them; their first runs of the model all wait when the only worker is free."""
    first, second = Gate(), Gate()
    blocked = [await block(compute, first)]
    tasks = [one() for one in begin]
    await settle()
    blocked.append(asyncio.create_task(compute.run(second, deadline=0.0)))
    await settle()
    first.open()
    await second.entered()
    while compute.waiting < len(tasks):
        await settle()
    second.open()
    await asyncio.gather(*blocked, *tasks)


def decode(compute, model, name, tokens=3, deadline=at_once, gate=None):
    return asyncio.create_task(consume(compute, lambda: Decoding(model, name, tokens, gate), [], deadline))


@pytest.fixture
def patient(monkeypatch):
    """No run begins without those that the last one served."""
    monkeypatch.setattr(waiting_module, "GATHER_S", LONG_S)


@pytest.fixture
def pair():
    one = Compute(2)
    yield one
    one.close()


@pytest.mark.usefixtures("patient")
async def test_whoever_waits_joins_the_next_run(compute):
    model = Model()
    await together(compute, *(partial(decode, compute, model, name) for name in "abc"))
    assert model.runs == ["abc", "abc"]


@pytest.mark.usefixtures("patient")
async def test_whoever_observes_is_told_once_of_a_run_that_is_shared():
    told, model = [], Model()
    compute = Compute(1, lambda _name, _waited_s, _ran_s, rows: told.append(rows))
    try:
        await together(compute, *(partial(decode, compute, model, name, 2) for name in "abc"))
    finally:
        compute.close()
    assert model.runs == ["abc"]
    assert [rows for rows in told if rows > 1] == [3]


async def test_only_one_run_of_a_model_is_in_flight_and_sessions_join_and_leave_between_two(pair):
    model, gate = Model(), Gate()
    first = decode(pair, model, "a", 6, gate=gate)
    await gate.entered()
    second = decode(pair, model, "b", 3)
    while pair.waiting == 0:
        await settle()
    assert await pair.run(lambda: "others go on", deadline=9.0) == "others go on"
    assert model.runs == []
    gate.open()
    await asyncio.gather(first, second)
    assert sum("a" in run for run in model.runs) == 5
    assert sum("b" in run for run in model.runs) == 2


async def test_who_has_time_does_not_make_a_run_longer_for_who_has_none(compute):
    gate, model, later = Gate(), Model(), now() + 10 * LONG_S
    blocked = await block(compute, gate)
    tasks = [
        decode(compute, model, name, 2, lambda at=at: at)
        for name, at in (("a", 0.0), ("b", now()), ("c", later), ("d", later + JOIN_S), ("e", later + 3 * JOIN_S))
    ]
    await settle()
    gate.open()
    await asyncio.gather(blocked, *tasks)
    assert all(set(run) <= set("ab") or set(run) <= set("cd") or run == "e" for run in model.runs)
    assert sorted("".join(model.runs)) == list("abcde")


async def test_a_run_begins_without_those_that_do_not_come_back(compute):
    model = Model()
    async with aclosing(compute.stream(lambda: Decoding(model, "a", 9), deadline=at_once)) as paused:
        await anext(paused)
        await anext(paused)  # served, and does not come for the next
        await consume(compute, lambda: Decoding(model, "b", 3), [])
    assert model.runs == ["a", "b", "b"]


@pytest.mark.usefixtures("patient")
async def test_a_session_alone_waits_for_nobody(compute):
    model, got = Model(), []
    await consume(compute, lambda: Decoding(model, "a", 4), got)
    assert (model.runs, got) == (["a"] * 3, ["a"] * 4)


@pytest.mark.usefixtures("patient")
async def test_two_models_share_no_run(compute):
    models = [Model(), Model()]
    await together(compute, *(partial(decode, compute, model, name) for model in models for name in "ab"))
    assert [model.runs for model in models] == [["ab", "ab"], ["ab", "ab"]]


async def test_who_cannot_join_runs_later(compute):
    gate, model = Gate(), Model()
    model.alone = {"b", "c"}
    blocked = await block(compute, gate)
    tasks = [decode(compute, model, name, 2) for name in "abc"]
    await settle()
    gate.open()
    await asyncio.gather(blocked, *tasks)
    assert sorted("".join(model.runs)) == ["a", "b", "c"]


@pytest.mark.usefixtures("patient")
async def test_a_batch_that_fails_is_run_one_by_one(compute):
    model = Model()
    model.fails = True
    await together(compute, *(partial(decode, compute, model, name, 2) for name in "ab"))
    assert model.runs == ["a", "b"]


async def test_who_is_cancelled_while_it_waits_for_a_run_is_closed_and_the_others_go_on(compute):
    gate, model = Gate(), Model()
    staying, doomed = Decoding(model, "a", 3), Decoding(model, "b", 5)
    async with (
        aclosing(compute.stream(lambda: staying, deadline=at_once)) as first,
        aclosing(compute.stream(lambda: doomed, deadline=at_once)) as second,
    ):
        assert [await anext(first), await anext(second)] == ["a", "b"]
        blocked = await block(compute, gate)
        going_on, cancelled = (asyncio.create_task(anext(each)) for each in (first, second))
        await settle()
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert doomed.is_closed
        gate.open()
        assert await going_on == "a"
        await blocked
    assert model.runs == ["a"]


@pytest.mark.usefixtures("patient")
async def test_every_turn_is_told_its_share_of_a_run(compute):
    model = Model()
    traces = [TurnTrace(1, 0.0), TurnTrace(2, 0.0)]

    async def one(name, trace):
        async with aclosing(compute.stream(lambda: Decoding(model, name, 2), deadline=at_once, trace=trace)) as steps:
            async for _ in steps:
                pass

    def begin(name, trace):
        return asyncio.create_task(one(name, trace))

    await together(compute, *(partial(begin, name, trace) for name, trace in zip("ab", traces, strict=True)))
    assert model.runs == ["ab"]
    assert all(trace.work_s > 0 and len(trace.waits) == 3 for trace in traces)


async def test_a_step_runs_in_the_context_of_whoever_asked_for_it_so_that_the_log_can_name_the_session(compute):
    whose = ContextVar("whose", default="nobody's")
    asked = whose.set("mine")
    mine = asyncio.ensure_future(compute.run(whose.get, deadline=0))
    await asyncio.sleep(0)
    whose.reset(asked)
    assert (await mine, await compute.run(whose.get, deadline=0)) == ("mine", "nobody's")
