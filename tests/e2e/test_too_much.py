"""More of everything than a conversation has: it is taken or refused, and neighbours notice nothing."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import suppress

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from tests.e2e.asking import ANSWER, QUESTION, asks, closed, is_answered
from tests.e2e.caller import Caller, calling
from tests.e2e.faults import Faults
from tests.e2e.nodes import RunningNode, running_node
from tests.protocol.order import check
from tests.speech import RATE_HZ, silence, utterance
from voiceedge.audio.pcm import PCM, to_pcm16
from voiceedge.engines import Prompt
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.fake_defects import FakeDelays
from voiceedge.protocol.client_events import MAX_AUDIO_BYTES


@pytest.fixture(scope="module")
def node():
    with running_node(fake_engines(text=QUESTION, answer=ANSWER, slots=8)) as node:
        yield node


def hum(seconds: float) -> PCM:
    """A sound without a pause, at 24 kHz."""
    return np.sin(np.arange(round(seconds * RATE_HZ), dtype=np.float32) * 0.1) * np.float32(0.2)


async def test_fifteen_mebibytes_of_audio_in_one_message_hold_no_neighbour_up():
    quiet = base64.b64encode(to_pcm16(silence(1.0)) * (MAX_AUDIO_BYTES // (2 * RATE_HZ))).decode()

    async def burst(caller: Caller) -> None:
        for _ in range(2):
            await caller.send("input_audio_buffer.append", audio=quiet)
        await caller.hear(utterance(QUESTION))
        await is_answered(caller)

    with running_node(fake_engines(text=QUESTION, answer=ANSWER, slots=2), audio_ahead_s=700, byte_rate=1e8) as node:
        async with calling(node.url) as caller, calling(node.url) as neighbour:
            await neighbour.update(output_modalities=["text"])
            bursting = asyncio.create_task(burst(caller))
            for _ in range(3):
                await asks(neighbour)
                await is_answered(neighbour)
            assert not bursting.done()
            await bursting
        assert "error" not in caller.types()


async def test_a_message_that_takes_longer_than_a_silent_client_may_is_heard_to_its_end(monkeypatch):
    monkeypatch.setattr("voiceedge.session.listening.SILENT_CLIENT_S", 0.2)
    with running_node(fake_engines(FakeDelays(vad_s=0.002), text=QUESTION)) as node:
        async with calling(node.url) as caller:
            await caller.append(to_pcm16(hum(0.5)))
            await caller.append(to_pcm16(np.concatenate([hum(10.0), silence(2.0)])))
            await is_answered(caller)
    assert len(caller.of("input_audio_buffer.speech_stopped")) == 1
    assert caller.of("input_audio_buffer.speech_stopped")[0]["audio_end_ms"] > 10_000


async def test_a_turn_longer_than_the_memory_for_audio_is_answered(node: RunningNode):
    async with calling(node.url) as caller:
        for _ in range(2):
            await caller.append(to_pcm16(hum(160.0)))
        await caller.hear(to_pcm16(silence(2.0)))
        await is_answered(caller)


async def test_a_message_beyond_24_mebibytes_closes_its_own_socket_only(node: RunningNode):
    async with calling(node.url) as caller, calling(node.url) as neighbour:
        await asks(neighbour)
        with suppress(ConnectionClosed):  # it may be closed while it still sends
            await caller.socket.send("x" * (24 * 1024 * 1024 + 1))
        assert await closed(caller) == 1009
        await is_answered(neighbour)


async def test_text_that_is_no_utf_8_closes_its_own_socket_only(node: RunningNode):
    async with calling(node.url) as caller, calling(node.url) as neighbour:
        await asks(neighbour)
        await caller.socket.send(b'{"type": "\xff\xfe"}', text=True)
        assert await closed(caller) == 1007
        await is_answered(neighbour)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("depth", [100, 900, 5_000, 500_000])
@pytest.mark.parametrize(
    "message",
    [
        '{"type": "session.update", "session": {"type": "realtime", "tools": %s}}',
        '{"type": "session.update", "session": {"type": "realtime", "prompt": %s, "tracing": {"metadata": %s}}}',
        '{"type": "response.create", "response": {"metadata": {"x": %s}, "tools": %s}}',
        '{"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": %s}}',
        '{"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "c", "output": %s}}',
        '{"type": "no.such.type", "x": %s}',
        '{"event_id": %s}',
    ],
)
async def test_deep_nesting_is_an_error_and_the_session_goes_on(node: RunningNode, message: str, depth: int):
    async with calling(node.url) as caller:
        await caller.update(output_modalities=["text"])
        await caller.socket.send(message.replace("%s", nested(depth)))
        await caller.send("input_audio_buffer.clear")
        while (await caller.next())["type"] != "input_audio_buffer.cleared":
            pass
        if caller.of("response.created"):
            await is_answered(caller)
        await asks(caller)
        await is_answered(caller)


async def test_a_flood_of_requests_makes_one_response_at_a_time(node: RunningNode):
    requests = 300
    async with calling(node.url) as caller:
        await caller.update(output_modalities=["text"])
        for _ in range(requests):
            await caller.send("response.create")
        ended = 0
        while ended < requests:
            ended += (await caller.next())["type"] in {"response.done", "error"}
        assert {event["error"]["code"] for event in caller.of("error")} <= {"conversation_already_has_active_response"}
        assert len(caller.of("response.created")) + len(caller.of("error")) == requests
        check(caller.seen)
        await asks(caller)
        await is_answered(caller)


async def test_a_request_that_is_cancelled_at_once_is_created_and_done(node: RunningNode):
    async with calling(node.url) as caller:
        for _ in range(20):
            await caller.send("response.create")
            await caller.send("response.cancel")
        await caller.send("response.create", response={"output_modalities": ["text"]})
        done = [(await caller.until("response.done"))["response"]["status"] for _ in range(21)]
        assert done == ["cancelled"] * 20 + ["completed"]
        check(caller.seen)


async def test_a_flood_of_new_instructions_lets_one_task_at_a_time_into_the_llms_stream():
    faults = Faults(llm_step_s=0.001)
    updates = 100
    with running_node(faults.engines(fake_engines(slots=2))) as node:
        async with calling(node.url) as caller:
            for number in range(updates):
                await caller.send(
                    "session.update", session={"type": "realtime", "instructions": f"Be {number} times brief. " * 20}
                )
                if number % 10 == 5:
                    await caller.send("response.create")
                    await caller.send("response.cancel")
            for _ in range(updates):
                await caller.until("session.updated")
            await asks(caller)
            while (await caller.until("response.done"))["response"]["status"] == "cancelled":
                pass
            check(caller.seen)
    assert faults.shared_streams == 0


async def test_a_conversation_of_thousands_of_items_is_forgotten_down_to_the_context():
    prompts: list[Prompt] = []

    def answer(prompt: Prompt) -> str:
        prompts.append(prompt)
        return ANSWER

    with running_node(fake_engines(answer=answer, slots=1)) as node:
        async with calling(node.url) as caller:
            await caller.update(output_modalities=["text"])
            for number in range(2_100):
                role, kind = ("user", "input_text") if number % 2 == 0 else ("assistant", "output_text")
                item = {"id": f"item_{number}", "type": "message", "role": role}
                item["content"] = [{"type": kind, "text": f"This is number {number} of many."}]
                await caller.send("conversation.item.create", item=item)
            await caller.send("response.create")
            while json.loads(await caller.socket.recv())["type"] != "response.created":
                pass
            await is_answered(caller)
            await caller.send("conversation.item.retrieve", item_id="item_0")
            await caller.until("error")
            await caller.send("conversation.item.retrieve", item_id="item_2099")
            await caller.until("conversation.item.retrieved")
    shown = [message.text for message in prompts[0].messages[1:]]
    assert shown[-1] == "This is number 2099 of many."
    assert 10 < len(shown) < 200


async def test_text_that_costs_more_tokens_than_estimated_is_forgotten_too():
    # the fake has a token a word: these cost half as much again as their letters let expect
    with running_node(fake_engines(slots=1, context_tokens=1024), max_answer_tokens=16) as node:
        async with calling(node.url) as caller:
            await caller.update(output_modalities=["text"])
            for _ in range(6):
                await asks(caller, "a " * 300)
                await is_answered(caller)
