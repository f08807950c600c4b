"""The bounds of one session (issue 8, points 3 and 7), by clients that go as far as they may, and further."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from tests.e2e.caller import Caller, calling
from tests.e2e.nodes import RunningNode, running_node
from tests.speech import utterance
from voiceedge.engines import Call, Prompt
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.fake_defects import FakeDelays
from voiceedge.protocol.items import MAX_ITEM_BYTES
from voiceedge.protocol.session_config import MAX_SESSION_BYTES
from voiceedge.server.memory import give_back

QUESTION = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello?"}]}
MEBIBYTE = 1024 * 1024
SESSION_MB = 200
"""What one session may take at its worst (ARCHITECTURE.md)."""


def text_item(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}], **more}


def resident_mb() -> float:
    """What is held: without what the C library keeps of what is free, in the heap that all tests of a process share."""
    give_back(collect=True)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


async def answered(caller: Caller, **response: Any) -> dict[str, Any]:
    await caller.send("response.create", response=response)
    return (await caller.until("response.done"))["response"]


async def refused(caller: Caller, kind: str, **fields: Any) -> dict[str, Any]:
    await caller.send(kind, event_id="mine", **fields)
    error: dict[str, Any] = (await caller.until("error"))["error"]
    return error


async def settled(caller: Caller) -> None:
    """Read until everything that was sent before has been seen to; nothing of it is kept."""
    await caller.send("conversation.item.retrieve", item_id="nobody", event_id="settled")
    async with asyncio.timeout(30):
        while '"settled"' not in str(await caller.socket.recv()):
            pass


async def standing_still(count: Callable[[], int]) -> None:
    """Wait until a count has been the same for ten looks."""
    last, looks = count(), 0
    async with asyncio.timeout(30):
        while looks < 10:
            await asyncio.sleep(0.05)
            last, looks = (last, looks + 1) if count() == last else (count(), 0)


async def end_of(caller: Caller) -> tuple[list[dict[str, Any]], int | None, str | None]:
    """Read to the end: what came, and the close code and reason."""
    events = []
    try:
        async with asyncio.timeout(20):
            while True:
                events.append(json.loads(await caller.socket.recv()))
    except ConnectionClosed:
        return events, caller.socket.close_code, caller.socket.close_reason


# ── what a client sends ───────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def node():
    with running_node(fake_engines(slots=8, context_tokens=1024)) as node:
        yield node


@pytest.mark.parametrize(
    ("kind", "fields", "code"),
    [
        ("conversation.item.create", {"item": text_item("x" * 20 * MEBIBYTE)}, "item_too_large"),
        ("conversation.item.create", {"item": text_item("\u4e2d" * 2 * MEBIBYTE)}, "item_too_large"),
        ("conversation.item.create", {"item": text_item("hi", id="i" * 1000)}, "invalid_value"),
        ("conversation.item.create", {"item": text_item("hi"), "previous_item_id": "i" * 1000}, "invalid_value"),
        ("conversation.item.create", {"item": {"type": "message", "role": "user", "content": [0] * 50_000}}, None),
        ("session.update", {"session": {"instructions": "x" * MAX_SESSION_BYTES}}, "session_too_long"),
        ("session.update", {"session": {"instructions": "x" * 2 * MEBIBYTE}}, "message_too_large"),
        ("session.update", {"session": {"instructions": "many words " * 2000}}, "context_length_exceeded"),
        ("session.update", {"session": {"instructions": "x" * 100_000}}, "context_length_exceeded"),
        (
            "session.update",
            {"session": {"tools": [{"name": "f", "description": "a " * 2000}]}},
            "context_length_exceeded",
        ),
        ("session.update", {"session": {"tracing": {"a": 10**30}}}, "invalid_value"),
        ("response.create", {"response": {"metadata": {"a": "x" * 600}}}, "invalid_value"),
        ("response.create", {"response": {"input": [text_item("x" * 5 * MEBIBYTE)]}}, "item_too_large"),
        ("response.create", {"response": {"instructions": "x" * MAX_SESSION_BYTES}}, "session_too_long"),
        ("input_audio_buffer.append", {"audio": "A" * (20 * MEBIBYTE + 4)}, "invalid_value"),
    ],
)
async def test_what_is_too_large_is_refused_in_few_words_and_the_session_goes_on(
    node: RunningNode, kind: str, fields: dict[str, Any], code: str | None
):
    async with calling(node.url) as caller:
        error = await refused(caller, kind, **fields)
        assert code in (None, error["code"])
        assert len(json.dumps(error)) < 1000
        assert error["event_id"] == "mine"
        assert (await answered(caller))["status"] == "completed"


async def test_instructions_that_do_not_fit_are_told_how_much_does_and_the_old_ones_hold(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.update(instructions="Be kind.")
        error = await refused(caller, "session.update", session={"instructions": "one two three " * 1000})
        assert error["param"] == "session.instructions"
        assert "3" in error["message"]
        assert "960" in error["message"]
        assert (await caller.update(audio={}))["session"]["instructions"] == "Be kind."


async def test_an_event_id_of_a_megabyte_does_not_come_back(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.send("response.cancel", event_id="e" * MEBIBYTE)
        error = (await caller.until("error"))["error"]
        assert (error["event_id"], len(json.dumps(error)) < 1000) == (None, True)


async def test_speech_in_items_adds_up_to_no_more_than_the_longest_turn(node: RunningNode):
    def speech(seconds: int) -> dict[str, Any]:
        telephone = "/" * (8_000 * seconds // 3 * 4)
        return {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": telephone}]}

    async with calling(node.url) as caller:
        await caller.update(audio={"input": {"format": {"type": "audio/pcmu"}}})
        error = await refused(caller, "conversation.item.create", item=speech(303))
        assert (error["code"], "300 s" in error["message"]) == ("too_much_audio", True)
        await caller.send("conversation.item.create", item=speech(60))
        await caller.until("conversation.item.done")
        assert (await answered(caller))["status"] == "completed"


async def test_nobody_reaches_the_items_of_another_session(node: RunningNode):
    async with calling(node.url) as owner, calling(node.url) as stranger:
        await owner.send("conversation.item.create", item=text_item("My secret is 1234.", id="item_mine"))
        await owner.until("conversation.item.done")
        assert (await refused(stranger, "conversation.item.retrieve", item_id="item_mine"))["code"]
        assert (await refused(stranger, "conversation.item.delete", item_id="item_mine"))["code"]
        await stranger.send("conversation.item.truncate", item_id="item_mine", content_index=0, audio_end_ms=0)
        reference = {"conversation": "none", "input": [{"type": "item_reference", "id": "item_mine"}]}
        assert (await refused(stranger, "response.create", response=reference))["param"] == "response.input[0].id"
        await owner.send("conversation.item.retrieve", item_id="item_mine")
        kept = (await owner.until("conversation.item.retrieved"))["item"]
        assert kept["content"][0]["text"] == "My secret is 1234."


# ── memory ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_one_hostile_session_takes_no_more_memory_than_it_may():
    """The worst that is allowed, over and over: measured in this process, so with all that this client itself holds."""
    with running_node(fake_engines(slots=2), byte_rate=1e9, audio_speed=1000, message_rate=100_000) as node:
        largest = text_item("x" * (MAX_ITEM_BYTES - 1000))
        asked = [
            ("conversation.item.create", {"item": largest}),
            ("conversation.item.create", {"item": text_item("x" * 20 * MEBIBYTE)}),
            ("conversation.item.create", {"item": text_item("x" * 20 * MEBIBYTE + "\U0001f600")}),
            ("conversation.item.create", {"item": text_item("\u4e2d" * (MEBIBYTE // 2))}),
            ("session.update", {"session": {"tracing": {"a": "x" * (MAX_SESSION_BYTES - 5000)}}}),
            ("input_audio_buffer.append", {"audio": "A" * 20 * MEBIBYTE}),
            ("response.create", {"response": {"conversation": "none", "input": [largest]}}),
        ]
        messages = [json.dumps({"type": kind, **fields}) for kind, fields in asked]
        async with calling(node.url) as caller:
            await caller.update(instructions="Be kind.")
            await settled(caller)
            before, most = resident_mb(), 0.0
            for _ in range(10):
                for message in messages:
                    await caller.socket.send(message)
                    await settled(caller)
                    most = max(most, resident_mb())
            print(f"one hostile session: at most {most - before:.0f} MB, {resident_mb() - before:.0f} MB in the end")  # noqa: T201
            assert most - before < SESSION_MB


async def test_a_client_that_sends_and_does_not_read_fills_no_memory_with_its_own_words():
    with running_node(fake_engines(slots=2), byte_rate=1e9, message_rate=100_000) as node:
        async with calling(node.url, max_queue=1) as caller:
            filling = json.dumps({"type": "session.update", "session": {"tracing": {"a": "x" * 200_000}}})
            before, sent = resident_mb(), 0

            async def flood() -> None:
                nonlocal sent
                for _ in range(2000):  # 400 MB, and their echoes
                    await caller.socket.send(filling)
                    sent += 1

            flooding = asyncio.create_task(flood())
            await standing_still(lambda: sent)
            assert 0 < sent < 100, "the node reads no further than it can answer"
            assert resident_mb() - before < 64
            flooding.cancel()
            caller.socket.transport.abort()
            async with asyncio.timeout(10):
                while node.admission.sessions:  # noqa: ASYNC110 - nobody tells a test
                    await asyncio.sleep(0.01)


# ── time ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_session_in_which_nobody_takes_part_ends_and_is_told_so():
    silence = bytes(48_000 // 50)
    with running_node(fake_engines(), idle_s=1) as node:
        async with calling(node.url) as caller:

            async def microphone() -> None:
                while True:
                    await caller.append(silence)
                    await asyncio.sleep(0.02)

            streaming = asyncio.create_task(microphone())
            events, code, reason = await end_of(caller)
            streaming.cancel()
            assert events[-1]["error"]["code"] == "session_expired"
            assert (code, "idle" in (reason or "")) == (1001, True)


async def test_a_client_that_is_gone_without_a_word_is_noticed():
    with running_node(fake_engines(), idle_s=0) as node:
        node.server.config.ws_ping_interval = node.server.config.ws_ping_timeout = 0.2
        async with calling(node.url) as caller:
            caller.socket.transport.pause_reading()
            async with asyncio.timeout(10):
                while node.admission.sessions:  # noqa: ASYNC110 - nobody tells a test
                    await asyncio.sleep(0.05)
            caller.socket.transport.abort()


async def test_an_answer_that_takes_too_long_ends_incomplete_and_the_next_one_comes():
    engines = fake_engines(FakeDelays(llm_token_s=0.05), answer=["It is so. " * 100, "Well."])
    with running_node(engines, answer_s=1) as node:
        async with calling(node.url) as caller:
            cut = await answered(caller)
            assert (cut["status"], cut["status_details"]["reason"]) == ("incomplete", "max_output_tokens")
            assert cut["output"][0]["status"] == "incomplete"
            assert (await answered(caller))["status"] == "completed"
            aside = await answered(caller, conversation="none")
            assert aside["status"] == "completed"


async def test_an_aside_that_takes_too_long_ends_incomplete_as_well():
    with running_node(fake_engines(FakeDelays(llm_token_s=0.05), answer="word " * 200), answer_s=1) as node:
        async with calling(node.url) as caller:
            assert (await answered(caller, conversation="none", output_modalities=["text"]))["status"] == "incomplete"


# ── tokens ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_beyond_its_tokens_a_session_gets_no_answers_but_goes_on():
    with running_node(fake_engines(answer="One two three four five."), session_tokens=8) as node:
        async with calling(node.url) as caller:
            await caller.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
            statuses = [(await answered(caller))["status"] for _ in range(3)]
            assert statuses == ["completed", "completed", "failed"]
            for response in (await answered(caller), await answered(caller, conversation="none")):
                assert response["status_details"]["error"]["code"] == "session_tokens_reached"
                assert not response["output"]
            await caller.hear(utterance("What is the capital of France?"))
            heard = await caller.until("conversation.item.input_audio_transcription.completed")
            assert heard["transcript"]
            assert (await caller.until("response.done"))["response"]["status"] == "failed"


async def test_a_model_that_always_calls_makes_one_call_a_request_and_nothing_by_itself():
    def calls(prompt: Prompt) -> Call:
        return Call("f", json.dumps({"n": len(prompt.messages)}))

    with running_node(fake_engines(answer=calls)) as node:
        async with calling(node.url) as caller:
            await caller.update(tools=[{"type": "function", "name": "f", "parameters": {"type": "object"}}])
            call = (await answered(caller))["output"][0]
            output = {"type": "function_call_output", "call_id": call["call_id"], "output": "again"}
            await caller.send("conversation.item.create", item=output)
            await caller.until("conversation.item.done")
            await asyncio.sleep(0.3)
            await caller.update()
            assert len(caller.of("response.created")) == 1
