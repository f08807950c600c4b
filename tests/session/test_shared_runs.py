"""Tokens of several sessions in one run of their model, in real threads."""

import asyncio
from contextlib import aclosing
from functools import partial

import pytest

from tests.session.stepping import LONG_S, Decoding, Gate, Model, at_once, block, consume, settle
from voiceedge.session import waiting as waiting_module
from voiceedge.session.compute import Compute
from voiceedge.session.waiting import JOIN_S
from voiceedge.trace import TurnTrace, now


@pytest.fixture
def compute():
    one = Compute(1)
    yield one
    one.close()


@pytest.fixture
def pair():
    one = Compute(2)
    yield one
    one.close()


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
