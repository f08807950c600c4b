"""Steps that do not come back, in real threads."""

import asyncio
import logging
import threading

import pytest

from tests.session.stepping import (
    LONG_S,
    TIMEOUT_S,
    Decoding,
    Gate,
    Hang,
    Model,
    Steps,
    begin_no_threads,
    consume,
    settle,
)
from voiceedge.errors import EngineHung
from voiceedge.session.compute import MOST_HANGING, Compute


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


async def test_who_waits_for_a_step_that_hangs_is_told_even_if_no_thread_can_take_its_place(hangs, monkeypatch):
    told, ended = [], threading.Event()

    def doomed(why):
        told.append(why)
        ended.set()

    compute = Compute(1, timeout_s=TIMEOUT_S, on_doomed=doomed)
    try:
        hung = hang_in(compute, hang := hangs())
        await hang.entered()
        begin_no_threads(monkeypatch)
        with pytest.raises(EngineHung):
            await hung
        assert await asyncio.to_thread(ended.wait, LONG_S)
        assert told == ["no thread can be begun"]
    finally:
        hang.open()
        compute.close()
