"""Steps whose engine is loaded anew: for what it did, and no other."""

import asyncio
import threading
from contextlib import aclosing
from dataclasses import replace
from math import inf

import pytest

from tests.session.stepping import LONG_S, TIMEOUT_S, Hang, Steps, at_once, begin_no_threads
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.fake_llm import FakeLlm
from voiceedge.engines.renewal import Renewal, parts_of
from voiceedge.errors import ContextFull, EngineFailed, EngineHung, InvalidTool, Refused
from voiceedge.session.compute import Compute


@pytest.fixture
def hang():
    """A step that hangs, and is let go at the end."""
    one = Hang()
    yield one
    one.open()


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


async def test_work_for_an_engine_that_hung_waits_for_the_next_one_and_other_work_goes_on(loader):
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


async def test_a_step_that_hangs_has_its_engine_loaded_anew(renewed, loader, hang):
    loader.may_load.set()
    with pytest.raises(EngineHung):
        await renewed.run(hang, deadline=0.0, name="end of turn")
    assert await renewed.run(lambda: "again", deadline=0.0, name="end of turn") == "again"
    assert loader.stages == ["end_of_turn"]
    assert renewed.renewal.rebuilds["end_of_turn"] == 1


async def test_a_look_at_tools_that_hangs_costs_a_thread_and_no_engine(renewed, loader, hang):
    with pytest.raises(EngineHung):
        await renewed.run(hang, deadline=0.0, name="tools")
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


async def test_an_engine_that_no_thread_can_load_is_lost_and_its_step_has_failed(loader, monkeypatch):
    told, ended = [], threading.Event()

    def doomed(why):
        told.append(why)
        ended.set()

    def fail():
        raise MemoryError

    compute = Compute(2, timeout_s=TIMEOUT_S, renewal=Renewal(fake_engines(), loader), on_doomed=doomed)
    try:
        begin_no_threads(monkeypatch)
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
    assert not renewed.is_busy(before=inf)
