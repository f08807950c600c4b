"""The unmodified openai client talks to a node with the real models of `standard`."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from openai import AsyncOpenAI

from tests import real
from tests.e2e.nodes import RunningNode, running_node
from tests.speech import utterance
from voiceedge.audio.pcm import from_pcm16
from voiceedge.audio.resample import resample
from voiceedge.engines import Engines, Prompt, Tool

pytestmark = pytest.mark.models

STORYTELLER = "You are a storyteller. Tell long stories of at least ten sentences."
BYTES_A_SECOND = 2 * 24_000
CHUNK_BYTES = BYTES_A_SECOND // 50


class Seen:
    """Hands everything on to the real LLM and keeps the prompts."""

    def __init__(self, engines: Engines) -> None:
        self.llm = engines.llm
        self.context_tokens = engines.llm.context_tokens
        self.prompts: list[Prompt] = []

    def check_tools(self, tools: tuple[Tool, ...]) -> None:
        self.llm.check_tools(tools)

    def open(self) -> Any:
        stream = self.llm.open()
        generate = stream.generate

        def remember(prompt: Prompt, sampling: Any) -> Any:
            self.prompts.append(prompt)
            return generate(prompt, sampling)

        stream.generate = remember  # type: ignore[method-assign]
        return stream


@pytest.fixture(scope="module")
def standard():
    engines = real.engines("standard")
    seen = Seen(engines)
    with running_node(replace(engines, llm=seen)) as node:
        yield node, seen


class Talk:
    """A conversation through the openai client, with a microphone that never stops."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.events: list[Any] = []

    async def say(self, pcm16: bytes) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for number, begin in enumerate(range(0, len(pcm16), CHUNK_BYTES)):
            await asyncio.sleep(max(0.0, begun + number * 0.02 - loop.time()))
            chunk = base64.b64encode(pcm16[begin : begin + CHUNK_BYTES]).decode()
            await self.connection.input_audio_buffer.append(audio=chunk)

    async def until(self, kind: str) -> Any:
        async with asyncio.timeout(30):
            async for event in self.connection:
                self.events.append(event)
                assert event.type != "error", event
                if event.type == kind:
                    return event
        raise AssertionError(f"the connection ended before {kind}")

    def audio(self, response_id: str) -> bytes:
        kind = "response.output_audio.delta"
        deltas = [e.delta for e in self.events if e.type == kind and e.response_id == response_id]
        return b"".join(base64.b64decode(delta) for delta in deltas)


async def talking(node: RunningNode) -> AsyncIterator[Talk]:
    client = AsyncOpenAI(base_url=f"{node.http}/v1", api_key="any")
    async with client, client.realtime.connect(model="voiceedge") as connection:
        yield Talk(connection)


def transcript(done: Any) -> str:
    return done.response.output[0].content[0].transcript


def heard(pcm16: bytes, engines: Engines) -> str:
    """The answer's audio, transcribed back."""
    audio = resample(from_pcm16(pcm16), 24_000, 16_000)
    return " ".join(segment.text for segment in engines.stt.transcribe(audio))


async def test_the_capital_of_france_its_people_and_an_interruption(standard: tuple[RunningNode, Seen]):
    node, seen = standard
    async for talk in talking(node):
        await talk.say(utterance("What is the capital of France?"))
        first = await talk.until("response.done")
        assert "Paris" in transcript(first)
        answer = talk.audio(first.response.id)
        assert "Paris" in heard(answer, real.engines("standard"))

        await talk.say(quiet(len(answer) / BYTES_A_SECOND))  # who does not hear it out cuts it off
        await talk.say(utterance("And how many people live there?"))
        second = await talk.until("response.done")
        shown = [(message.role, message.text) for message in seen.prompts[-1].messages]
        assert ("user", "What is the capital of France?") in shown
        assert ("assistant", transcript(first)) in shown
        assert any(char.isdigit() for char in transcript(second)) or "million" in transcript(second)
        assert node.turns[1].facts["prefill_tokens"] < 25


async def test_a_barge_in_ends_the_dead_audio_and_the_history_holds_what_was_heard(
    standard: tuple[RunningNode, Seen],
):
    node, seen = standard
    before = len(node.turns)
    async for talk in talking(node):
        await talk.connection.session.update(session={"type": "realtime", "instructions": STORYTELLER})
        await talk.say(utterance("Tell me a story about a dog and a cat.", pause_s=0.0))
        room = asyncio.create_task(talk.say(quiet(2.0)))
        await talk.until("response.output_audio.delta")
        await room
        interrupting = asyncio.create_task(talk.say(utterance("What is two plus two?")))
        await talk.until("input_audio_buffer.speech_started")
        dead = await talk.until("response.done")
        assert dead.response.status == "cancelled"
        await talk.connection.conversation.item.truncate(
            item_id=dead.response.output[0].id, content_index=0, audio_end_ms=1500
        )
        after = await talk.until("response.done")
        await interrupting
        late = talk.events[talk.events.index(dead) + 1 :]
        assert not [event for event in late if getattr(event, "response_id", None) == dead.response.id]
        assert after.response.status == "completed"
        story = [message for message in seen.prompts[-1].messages if message.role == "assistant"][-1]
        assert 0 < len(story.text) < len(transcript(dead))
        assert transcript(dead).startswith(story.text)
        # the cache survived the interruption: only the new turn was prefilled
        first, second = node.turns[before : before + 2]
        assert second.facts["prefill_tokens"] < 32
        assert second.facts["cached_tokens"] >= first.facts["cached_tokens"] + first.facts["prefill_tokens"]


def quiet(seconds: float) -> bytes:
    return np.zeros(round(seconds * 24_000), np.int16).tobytes()
