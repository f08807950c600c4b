"""Engines that hang, fail again and again or have no memory: their turn fails, the next one succeeds, nobody else
notices."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.e2e.caller import Caller, calling
from tests.e2e.nodes import RunningNode, running_node
from tests.e2e.processes import ROOT, listening
from tests.e2e.test_node import get
from tests.faulty import SPARED, Plan, faulty, faulty_load
from tests.protocol.order import check
from tests.speech import say, utterance
from voiceedge.audio.pcm import to_pcm16
from voiceedge.engines import Engines, Prompt, Stage
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.fake_defects import FakeDelays
from voiceedge.engines.renewal import parts_of

TIMEOUT_S = 0.5
QUESTION = "What is the capital of France?"
ANSWER = "Paris is the capital of France. It lies on the Seine."


def answer(prompt: Prompt) -> str:
    is_neighbour = prompt.messages[0].role == "system" and SPARED in prompt.messages[0].text
    return "The neighbour says a word. " * 8 if is_neighbour else ANSWER


def engines() -> Engines:
    return fake_engines(FakeDelays(llm_token_s=0.01), text=QUESTION, answer=answer, slots=8)


@contextmanager
def faulty_node(plan: Plan, **settings: Any) -> Iterator[RunningNode]:
    load = faulty_load(lambda stage: parts_of(engines(), stage), plan)
    settings = {"step_timeout_s": TIMEOUT_S, **settings}
    try:
        with running_node(faulty(engines(), plan), load=load, **settings) as node:
            try:
                yield node
            finally:
                plan.mend()  # what hangs holds its session until it is given up
    finally:
        plan.mend()


async def asks(caller: Caller) -> None:
    content = [{"type": "input_text", "text": QUESTION}]
    await caller.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    await caller.send("response.create")


async def done(caller: Caller) -> dict[str, Any]:
    """The next response that is over."""
    while True:
        event = await caller.next()
        if event["type"] == "response.done":
            response: dict[str, Any] = event["response"]
            return response


def code_of(response: dict[str, Any]) -> str | None:
    error = (response["status_details"] or {}).get("error") or {}
    code: str | None = error.get("code")
    return code


@pytest.mark.parametrize("stage", ["stt", "llm", "tts"])
@pytest.mark.parametrize(("kind", "code"), [("hang", "engine_timeout"), ("memory", "engine_failed")])
async def test_a_step_that_fails_costs_its_own_turn_and_nothing_else(stage: Stage, kind: Any, code: str):
    plan = Plan()
    with faulty_node(plan, draft_after_ms=0) as node:  # so that the words are found out once, when they are asked for
        async with calling(node.url) as caller, calling(node.url) as neighbour:
            await neighbour.update(instructions=f"You are a {SPARED}.")
            await caller.hear(utterance(QUESTION))
            assert (await done(caller))["status"] == "completed"  # all that is warmed up is warm
            await neighbour.send("response.create")
            await neighbour.until("response.output_audio.delta")
            plan.arm(stage, kind)
            await caller.hear(utterance(QUESTION))
            failed = await done(caller)
            assert (failed["status"], code_of(failed)) == ("failed", code)
            await caller.hear(utterance(QUESTION))
            assert (await done(caller))["status"] == "completed"
            assert (await neighbour.until("response.done"))["response"]["status"] == "completed"
            assert plan.hanging == (kind == "hang")  # all the while
            for client in (caller, neighbour):
                check(client.seen)
        renewal = node.node.compute.renewal
        assert renewal is not None
        assert renewal.rebuilds[stage] == (kind == "hang")
        assert node.node.compute.hanging == (kind == "hang")
        assert {turn.status for turn in node.turns} == {"completed", "failed"}


async def test_without_the_end_of_turn_model_silence_alone_decides():
    plan = Plan()
    with faulty_node(plan) as node:
        async with calling(node.url) as caller:
            for _ in range(2):
                plan.arm("end_of_turn", "hang")
                await caller.hear(utterance(QUESTION))
                assert (await done(caller))["status"] == "completed"
            check(caller.seen)
            async with asyncio.timeout(10):  # it may wait for a thread, or for an engine that is loaded anew
                while plan.happened["end_of_turn", "hang"] < 2:  # noqa: ASYNC110 - nobody tells a test
                    await asyncio.sleep(0.01)


async def test_voice_activity_that_hangs_in_a_long_message_is_loaded_anew():
    plan = Plan()
    with faulty_node(plan) as node:
        async with calling(node.url) as caller:
            plan.arm("vad", "hang")
            await caller.append(to_pcm16(say(QUESTION)))  # more frames than are looked at in the event loop
            assert (await caller.until("error"))["error"]["code"] == "engine_timeout"
            await caller.send("input_audio_buffer.clear")
            await caller.until("input_audio_buffer.cleared")
            await caller.hear(utterance(QUESTION))
            while (status := (await done(caller))["status"]) != "completed":
                assert status == "cancelled"  # answered in a pause
            check(caller.seen)


@pytest.mark.parametrize("kind", ["raise", "memory", "panic"])
async def test_an_engine_that_fails_again_and_again_is_loaded_anew(kind: Any):
    plan = Plan()
    with faulty_node(plan) as node:
        async with calling(node.url) as caller:
            await asks(caller)
            assert (await done(caller))["status"] == "completed"
            for _ in range(3):
                plan.arm("tts", kind)
                await asks(caller)
                failed = await done(caller)
                assert (failed["status"], code_of(failed)) == ("failed", "engine_failed")
            await asks(caller)
            assert (await done(caller))["status"] == "completed"
            check(caller.seen)
        renewal = node.node.compute.renewal
        assert renewal is not None
        assert renewal.rebuilds["tts"] == 1


async def test_a_client_that_leaves_behind_a_step_that_hangs_leaves_nothing_behind():
    plan = Plan()
    with faulty_node(plan) as node:
        async with calling(node.url) as caller:
            await asks(caller)
            await done(caller)
            plan.arm("llm", "hang")
            await asks(caller)
            assert await asyncio.to_thread(plan.broken.wait, 10)
        async with asyncio.timeout(10):
            while node.admission.sessions:  # noqa: ASYNC110 - it does not tell when one is gone
                await asyncio.sleep(0.01)
        async with calling(node.url) as next_one:
            await asks(next_one)
            assert (await done(next_one))["status"] == "completed"


async def test_an_answer_that_is_interrupted_behind_a_step_that_hangs_is_over_at_once():
    plan = Plan()
    with faulty_node(plan, step_timeout_s=1.0) as node:
        async with calling(node.url) as caller:
            await asks(caller)
            await done(caller)
            plan.arm("llm", "hang")
            plan.broken.clear()
            await asks(caller)
            await caller.until("response.created")
            assert await asyncio.to_thread(plan.broken.wait, 10)
            await caller.send("response.cancel")
            assert (await done(caller))["status"] == "cancelled"
            assert node.node.compute.hanging == 0
            await asks(caller)  # waits behind it, until it is given up
            assert (await done(caller))["status"] == "completed"
            check(caller.seen)


async def test_a_node_is_not_ready_while_an_engine_is_loaded_anew():
    gate = threading.Event()

    def load(stage: Stage) -> dict[str, Any]:
        assert gate.wait(10)
        return parts_of(engines(), stage)

    with running_node(engines(), load=load) as node:
        renewal = node.node.compute.renewal
        assert renewal is not None
        assert node.node.missing == frozenset()
        renewal.hung("stt", 1e12)
        assert node.node.missing == {"stt"}
        status, body = await asyncio.to_thread(get, f"{node.http}/readyz")
        assert (status, body["status"], body["missing"]) == (503, "loading", ["stt"])
        gate.set()
        async with calling(node.url) as caller:
            await caller.hear(utterance(QUESTION))
            assert (await done(caller))["status"] == "completed"
        assert node.node.missing == frozenset()
        assert (await asyncio.to_thread(get, f"{node.http}/readyz"))[0] == 200


# ── processes ─────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def serve_faulty(faults: str, log: Path) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """The URL of a real `serve` with faulty engines, and its process; it does not outlive the block."""
    flags = ("--faults", faults, "--", "serve", "--engines", "fake", "--port", "0", "--step-timeout-s", "0.5")
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.serve_faulty", *flags),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            cwd=ROOT,
        )
    try:
        yield f"ws://127.0.0.1:{await listening(process, log)}/v1/realtime", process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ended(process: asyncio.subprocess.Process) -> int:
    async with asyncio.timeout(30):
        return await process.wait()


async def test_a_process_with_three_threads_that_hang_finishes_and_ends_to_be_started_anew(tmp_path: Path):
    log = tmp_path / "log.txt"
    async with serve_faulty("tts:hang:1", log) as (url, process), calling(url) as caller:
        with suppress(ConnectionClosed):
            while True:
                await asks(caller)
                failed = await done(caller)
                # while the engine is loaded anew, an answer waits no longer than a step may take
                assert code_of(failed) in {"engine_timeout", "engine_failed"}
        assert caller.socket.close_code == 1001
        check(caller.seen)
        assert await ended(process) == 70
    said = log.read_text()
    assert "3 threads hang: this process stops" in said
    # one more where an answer that goes on while the process finishes finds the engine back
    assert re.search(r"faults: tts hang [34]\b", said)


async def test_a_process_whose_event_loop_hangs_ends_to_be_started_anew(tmp_path: Path):
    log = tmp_path / "log.txt"
    async with serve_faulty("vad:hang:#5", log) as (url, process), calling(url) as caller:
        with suppress(ConnectionClosed):
            await caller.hear(utterance(QUESTION))
        assert await ended(process) == 70
    said = log.read_text()
    assert "The event loop hangs" in said
    assert "in _probabilities" in said  # where


async def test_a_process_that_is_told_to_stop_while_a_thread_hangs_stops(tmp_path: Path):
    log = tmp_path / "log.txt"
    async with serve_faulty("tts:hang:#1", log) as (url, process), calling(url) as caller:
        await asks(caller)
        assert code_of(await done(caller)) == "engine_timeout"
        await asks(caller)
        assert (await done(caller))["status"] == "completed"
        process.terminate()
        assert await ended(process) == 0
    assert "faults: tts hang 1" in log.read_text()
