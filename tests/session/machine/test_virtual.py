import asyncio

import pytest

from tests.session.machine.virtual import Hang, VirtualCompute, VirtualLoop
from voiceedge.errors import EngineFailed


def run(work):
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


def test_an_hour_passes_at_once():
    async def wait():
        await asyncio.sleep(3_600)
        return asyncio.get_running_loop().time()

    assert run(wait()) == 3_600


def test_waiting_for_ever_is_noticed():
    async def wait():
        await asyncio.Event().wait()

    with pytest.raises(Hang, match="for ever"):
        run(wait())


def test_turning_for_ever_is_noticed():
    async def spin():
        while True:  # noqa: ASYNC110 - the fault that must be seen
            await asyncio.sleep(0)

    with pytest.raises(Hang, match="spins"):
        run(spin())


def test_a_step_waits_then_takes_as_long_as_the_engine_says():
    compute = VirtualCompute([0.5])

    async def step():
        result = await compute.run(lambda: compute.sleep(2) or 7, deadline=0)
        return result, asyncio.get_running_loop().time()

    assert run(step()) == (7, 2.5)


def test_whatever_an_engine_raises_is_an_engine_that_failed():
    with pytest.raises(EngineFailed, match="division"):
        run(VirtualCompute([0.0]).run(lambda: 1 / 0, deadline=0))


def test_a_generator_is_closed_behind_its_step_in_flight():
    compute = VirtualCompute([0.0])
    told = []

    def steps():
        try:
            while True:
                compute.sleep(1)
                yield 1
        finally:
            told.append("closed")

    async def listen():
        try:
            async for _ in compute.stream(steps, deadline=lambda: 0):
                pass
        finally:
            told.append("left")

    async def leave():
        task = asyncio.create_task(listen())
        await asyncio.sleep(2.5)
        assert told == []
        task.cancel()
        await asyncio.wait([task])
        return asyncio.get_running_loop().time()

    assert run(leave()) == 3
    assert told == ["closed", "left"]
