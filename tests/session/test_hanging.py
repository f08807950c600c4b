"""Steps that do not come back, in real threads."""

import asyncio
import logging
import threading
from contextlib import aclosing
from dataclasses import replace
from functools import partial

import pytest

from tests.session.test_compute import LONG_S, Decoding, Gate, Model, Steps, at_once, consume, settle
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.fake_llm import FakeLlm
from voiceedge.engines.renewal import Renewal, parts_of
from voiceedge.errors import ContextFull, EngineFailed, EngineHung, InvalidTool, Refused
from voiceedge.session.compute import MOST_HANGING, Compute

TIMEOUT_S = 0.1


class Hang(Gate):
    """A step that does not come back before the test is over; it knows in which thread it is."""

    def __call__(self):
        self.thread = threading.current_thread()
        return super().__call__()

    def came_back(self):
        """Let it go on, and wait for its thread to end."""
        self.open()
        self.thread.join(LONG_S)
        assert not self.thread.is_alive()


@pytest.fixture
def hangs():
    """Makes hanging steps, which are let go at the end."""
    made = []

    def make():
        made.append(Hang())
        return made[-1]

    yield make
    for hang in made:
        hang.open()


@pytest.fixture
def compute():
    one = Compute(1, timeout_s=TIMEOUT_S)
    yield one
    one.close()


def hang_in(compute, hang, name="llm"):
    return asyncio.create_task(compute.run(hang, deadline=0.0, name=name))


async def test_a_step_that_hangs_fails_and_another_thread_takes_the_place_of_its_own(compute, hangs, caplog):
    hang = hangs()
    with caplog.at_level(logging.ERROR), pytest.raises(EngineHung, match="llm"):
        await compute.run(hang, deadline=0.0, name="llm")
    thread = await compute.run(threading.current_thread, deadline=0.0)
    assert thread is not hang.thread
    assert compute.hanging == 1
    assert compute.doomed is None
    (line,) = [record.getMessage() for record in caplog.records if "has not come back" in record.getMessage()]
    assert "assert self._opened.wait" in line  # where it hangs


async def test_what_waits_behind_a_step_that_hangs_runs_when_that_is_given_up(compute, hangs):
    hang = hangs()
    hung = hang_in(compute, hang)
    await hang.entered()
    waiting = asyncio.create_task(compute.run(lambda: "ran", deadline=0.0))
    assert await waiting == "ran"
    with pytest.raises(EngineHung):
        await hung


async def test_steps_that_take_long_but_not_too_long_are_left_alone(hangs):
    compute = Compute(2, timeout_s=LONG_S)
    slow = hangs()
    try:
        task = hang_in(compute, slow)
        await slow.entered()
        for awake_s in (0.0, LONG_S - 0.1):  # as the watchdog does
            compute._look(awake_s)
        assert not task.done()
        slow.open()
        assert await task == "passed"
        assert compute.hanging == 0
    finally:
        compute.close()


async def test_a_thread_that_comes_back_too_late_hangs_no_longer_and_ends(compute, hangs):
    hang = hangs()
    with pytest.raises(EngineHung):
        await compute.run(hang, deadline=0.0)
    hang.came_back()
    assert compute.hanging == 0
    assert await compute.run(lambda: "next", deadline=0.0) == "next"


async def test_the_generator_of_a_step_that_hangs_is_closed_by_its_own_thread_and_no_other(compute, hangs):
    hang, closed_in = hangs(), []

    def steps():
        try:
            yield "a"
            yield hang()
        finally:
            closed_in.append(threading.current_thread())

    got = []
    with pytest.raises(EngineHung):
        await consume(compute, steps, got)
    assert got == ["a"]
    assert closed_in == []
    hang.came_back()
    assert closed_in == [hang.thread]


async def test_who_is_cancelled_behind_a_step_that_hangs_is_free_when_that_is_given_up(compute, hangs):
    hang = hangs()
    steps = Steps("a", hang)
    task = asyncio.create_task(consume(compute, steps, []))
    await hang.entered()
    task.cancel()
    async with asyncio.timeout(LONG_S):
        await asyncio.wait([task])
    assert task.cancelled()
    assert not steps.is_closed


async def test_a_stream_that_hangs_before_its_first_step_fails_too(compute, hangs):
    hang = hangs()

    def begin():
        hang()
        return iter("a")

    with pytest.raises(EngineHung):
        await consume(compute, begin, [])


async def test_all_rows_of_a_run_that_hangs_fail_and_the_model_can_run_again(compute, hangs):
    hang, model = hangs(), Model()
    model.hang = hang
    gate = Gate()
    blocked = asyncio.create_task(compute.run(gate, deadline=0.0))
    await gate.entered()
    hung = [asyncio.create_task(consume(compute, lambda n=name: Hanging(model, n, 3), [])) for name in "ab"]
    await settle()
    gate.open()
    await blocked
    for task in hung:
        with pytest.raises(EngineHung):
            await task
    assert compute.hanging == 1
    got = []
    await consume(compute, lambda: Decoding(model, "c", 3), got)
    assert got == ["c"] * 3


class Hanging(Decoding):
    """A generator whose shared runs hang."""

    @property
    def row(self):
        return self._row

    @row.setter
    def row(self, row):
        self._row = row if row is None else HangingRow(row)


class HangingRow:
    def __init__(self, row):
        self._row, self.model, self.name, self.done = row, row.model, row.name, False

    def batch(self, others):
        return HangingRun(self.model, [self, *others]) if others else None


class HangingRun:
    def __init__(self, model, rows):
        self.rows, self._model = rows, model

    def run(self):
        self._model.hang()


async def test_the_process_is_to_be_started_anew_when_three_threads_hang_and_is_told_so_once(hangs):
    told, threads = [], threading.active_count()
    compute = Compute(1, timeout_s=TIMEOUT_S, on_doomed=told.append)
    try:
        for number in range(MOST_HANGING):
            assert told == []
            with pytest.raises(EngineHung):
                await compute.run(hangs(), deadline=0.0)
            assert compute.hanging == number + 1
        assert await compute.run(lambda: "answers that run can finish", deadline=0.0)
        with pytest.raises(EngineHung):
            await compute.run(hangs(), deadline=0.0)
        assert threading.active_count() <= threads + MOST_HANGING + 2  # the last one hangs too, and somebody looks on
        assert compute._threads == []  # no more are begun: the process must not fill with them
    finally:
        compute.close()
    assert told == [f"{MOST_HANGING} threads hang"]
    assert compute.doomed == told[0]


async def test_closing_does_not_wait_for_what_hangs(hangs):
    compute = Compute(2, timeout_s=TIMEOUT_S)
    hang = hangs()
    with pytest.raises(EngineHung):
        await compute.run(hang, deadline=0.0)
    compute.close()
    assert hang.thread.is_alive()
    assert compute.is_stuck


async def test_closing_waits_for_a_step_in_flight_no_longer_than_that_may_take(hangs):
    compute = Compute(1, timeout_s=TIMEOUT_S)
    compute._watchdog.close()
    hang = hangs()
    task = hang_in(compute, hang)
    await hang.entered()
    compute.close()
    assert compute.is_stuck
    hang.open()
    assert await task == "passed"


async def test_a_node_whose_threads_all_came_back_is_not_stuck():
    compute = Compute(2)
    await compute.run(lambda: None, deadline=0.0)
    compute.close()
    assert not compute.is_stuck


# ── with engines that are loaded anew ─────────────────────────────────────────────────────────────────────


class Loader:
    """Loads fakes, when it may."""

    def __init__(self):
        self.may_load = threading.Event()
        self.asked = threading.Event()
        self.stages = []

    def __call__(self, stage):
        self.stages.append(stage)
        self.asked.set()
        assert self.may_load.wait(LONG_S)
        return parts_of(fake_engines(), stage)


@pytest.fixture
def loader():
    one = Loader()
    yield one
    one.may_load.set()


@pytest.fixture
def renewed(loader):
    one = Compute(2, timeout_s=TIMEOUT_S, renewal=Renewal(fake_engines(), loader))
    yield one
    one.close()


async def test_work_for_an_engine_that_hung_waits_for_the_next_one_and_other_work_goes_on(hangs, loader):
    compute = Compute(2, timeout_s=LONG_S, renewal=Renewal(fake_engines(), loader))
    try:
        compute.renewal.hung("llm", 1e12)
        await asyncio.to_thread(loader.asked.wait, LONG_S)
        waiting = asyncio.create_task(compute.run(lambda: "on the new one", deadline=0.0, name="llm"))
        names = ("sentence end", "tools", "count")
        others = [asyncio.create_task(compute.run(lambda: "as well", deadline=0.0, name=name)) for name in names]
        assert await compute.run(lambda: "others", deadline=9.0, name="tts") == "others"
        assert not waiting.done()
        loader.may_load.set()
        assert await waiting == "on the new one"
        assert await asyncio.gather(*others) == ["as well"] * 3
    finally:
        compute.close()


async def test_what_has_begun_with_an_engine_goes_on_while_another_is_loaded(renewed, loader):
    async with aclosing(renewed.stream(Steps("a", "b"), deadline=at_once, name="llm")) as answer:
        assert await anext(answer) == "a"
        renewed.renewal.hung("llm", 1e12)
        assert await anext(answer) == "b"


async def test_work_waits_for_an_engine_no_longer_than_a_step_may_take(renewed, loader):
    renewed.renewal.hung("stt", 1e12)
    with pytest.raises(EngineFailed, match="loaded anew"):
        await renewed.run(lambda: "never", deadline=0.0, name="stt")


async def test_a_step_that_hangs_has_its_engine_loaded_anew(renewed, loader, hangs):
    loader.may_load.set()
    with pytest.raises(EngineHung):
        await renewed.run(hangs(), deadline=0.0, name="end of turn")
    assert await renewed.run(lambda: "again", deadline=0.0, name="end of turn") == "again"
    assert loader.stages == ["end_of_turn"]
    assert renewed.renewal.rebuilds["end_of_turn"] == 1


async def test_a_look_at_tools_that_hangs_costs_a_thread_and_no_engine(renewed, loader, hangs):
    with pytest.raises(EngineHung):
        await renewed.run(hangs(), deadline=0.0, name="tools")
    assert renewed.renewal.out == frozenset()
    assert renewed.hanging == 1


@pytest.mark.parametrize("error", [RuntimeError("broken"), MemoryError(), EngineFailed("onnxruntime")])
async def test_an_engine_that_fails_three_times_in_a_row_is_loaded_anew(renewed, loader, error):
    loader.may_load.set()

    def fail():
        raise error

    for number in range(3):
        if number == 2:
            assert loader.stages == []
        with pytest.raises(EngineFailed):
            await renewed.run(fail, deadline=0.0, name="tts")
    assert await renewed.run(lambda: "again", deadline=0.0, name="tts") == "again"
    assert loader.stages == ["tts"]


class Keeping(FakeLlm):
    """Has what neighbours share, and knows how often it was to drop it."""

    sheds = 0

    def shed(self):
        self.sheds += 1


@pytest.mark.parametrize(
    "error",
    [
        ContextFull("The prompt is too long."),
        InvalidTool("No lexer reads this pattern."),
        Refused("Turns must alternate.", code="invalid_prompt"),
    ],
)
async def test_what_a_client_asks_for_in_vain_is_not_the_engines_fault(error, loader):
    llm = Keeping()
    compute = Compute(2, timeout_s=TIMEOUT_S, renewal=Renewal(replace(fake_engines(), llm=llm), loader))

    def fail():
        raise error

    try:
        for _ in range(5):
            with pytest.raises(type(error)):
                await compute.run(fail, deadline=0.0, name="llm")
        assert compute.renewal.out == frozenset()
        assert llm.sheds == 0
    finally:
        compute.close()


async def test_the_process_is_to_be_started_anew_when_an_engine_cannot_be_loaded(monkeypatch):
    monkeypatch.setattr("voiceedge.engines.renewal.BACK_OFF_S", 0.001)
    told, ended = [], threading.Event()

    def doomed(why):
        told.append(why)
        ended.set()

    def load(stage):
        raise MemoryError

    compute = Compute(1, timeout_s=TIMEOUT_S, renewal=Renewal(fake_engines(), load), on_doomed=doomed)
    try:
        compute.renewal.hung("llm", 1e12)
        assert await asyncio.to_thread(ended.wait, LONG_S)
        assert told == ["llm cannot be loaded"]
    finally:
        compute.close()


# ── where there may be no more threads ────────────────────────────────────────────────────────────────────


@pytest.fixture
def no_threads(monkeypatch):
    """From the call on no threads can be begun but those of the test."""
    start = threading.Thread.start

    def refuse(thread):
        if thread.name.startswith(("compute-", "load ")):
            raise RuntimeError("can't start new thread")
        start(thread)

    return partial(monkeypatch.setattr, threading.Thread, "start", refuse)


async def test_who_waits_for_a_step_that_hangs_is_told_even_if_no_thread_can_take_its_place(hangs, no_threads):
    told, ended = [], threading.Event()

    def doomed(why):
        told.append(why)
        ended.set()

    compute = Compute(1, timeout_s=TIMEOUT_S, on_doomed=doomed)
    try:
        hung = hang_in(compute, hang := hangs())
        await hang.entered()
        no_threads()
        with pytest.raises(EngineHung):
            await hung
        assert await asyncio.to_thread(ended.wait, LONG_S)
        assert told == ["no thread can be begun"]
    finally:
        hang.open()
        compute.close()


async def test_an_engine_that_no_thread_can_load_is_lost_and_its_step_has_failed(loader, no_threads):
    told, ended = [], threading.Event()

    def doomed(why):
        told.append(why)
        ended.set()

    def fail():
        raise MemoryError

    compute = Compute(2, timeout_s=TIMEOUT_S, renewal=Renewal(fake_engines(), loader), on_doomed=doomed)
    try:
        no_threads()
        for _ in range(3):
            with pytest.raises(EngineFailed, match="MemoryError"):
                await compute.run(fail, deadline=0.0, name="tts")
        assert await compute.run(lambda: "others", deadline=0.0, name="stt") == "others"
        assert await asyncio.to_thread(ended.wait, LONG_S)
        assert told == ["tts cannot be loaded"]
        assert loader.stages == []
    finally:
        compute.close()


async def test_a_run_that_cannot_be_judged_fails_and_its_thread_goes_on(renewed, monkeypatch):
    def broken(stage):
        raise RuntimeError("Nobody knows how the engine is.")

    monkeypatch.setattr(renewed.renewal, "worked", broken)
    for _ in range(3):  # more than there are threads
        with pytest.raises(EngineFailed, match="not brought to its end"):
            await renewed.run(lambda: "done", deadline=0.0, name="tts")
    assert await renewed.run(lambda: "done", deadline=0.0) == "done"
    assert not renewed.is_busy


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
