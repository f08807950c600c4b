"""The idle timeout (realtime-protocol.md, section 6.8), in virtual time."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from tests.protocol.oracle import validate
from tests.protocol.order import check
from tests.session.machine.virtual import VirtualCompute, VirtualLoop
from voiceedge.audio.pcm import to_pcm16
from voiceedge.engines import Prompt, Sampling
from voiceedge.engines.fake import fake_engines
from voiceedge.protocol.server_events import ServerEvent, encode
from voiceedge.protocol.session_config import LocalNames, default_session
from voiceedge.session.idle import Idle
from voiceedge.session.node import Node
from voiceedge.session.outbox import Outbox
from voiceedge.session.session import Session
from voiceedge.session.silence import MOST_IN_A_ROW, SILENCE

TIMEOUT_S = 6.0
ANSWER = "One two three four five six seven eight nine ten."
ANSWER_S = 3.0
"""The fake voice needs 0.3 s a word."""
CHUNK_S = 0.02
SPEECH = to_pcm16(0.3 * np.sin(np.arange(12_000) * 0.1).astype(np.float32))
Talk = Callable[["Client"], AsyncIterator[dict[str, Any]]]


class Client:
    """A session in virtual time, and when each of its events came."""

    def __init__(self, *, heard: str = "Hello.") -> None:
        self.loop = VirtualLoop()
        self.compute = VirtualCompute([0.0])
        self.prompts: list[Prompt] = []
        self.heard = heard
        self.seen: list[tuple[float, dict[str, Any]]] = []

    def run(self, talk: Talk) -> None:
        try:
            self.loop.run_until_complete(self._run(talk))
        finally:
            self.loop.close()
        check(event for _, event in self.seen)

    def of(self, kind: str) -> list[tuple[float, dict[str, Any]]]:
        return [(moment, event) for moment, event in self.seen if event["type"] == kind]

    async def listens(self, seconds: float) -> AsyncIterator[dict[str, Any]]:
        """A quiet microphone."""
        for _ in range(round(seconds / CHUNK_S)):
            await asyncio.sleep(CHUNK_S)
            yield append(bytes(960))

    async def _run(self, talk: Talk) -> None:
        names = LocalNames(model="fake", transcription="fake", voices=("heart",))
        node = Node(
            engines=fake_engines(text=self.heard, answer=self._answer, slots=2, sleep=self.compute.sleep),
            compute=self.compute,
            names=names,
            instructions="Be kind.",
            sampling=Sampling(max_tokens=64),
            report=lambda *_: None,
            clock=self.loop.time,
        )
        outbox = Outbox()
        config = default_session(session_id="sess_1", names=names, expires_at=1, instructions="Be kind.")
        session = Session(node, config, outbox, wants_trace=False)
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(outbox.drain(self._read))
            await session.run(self._messages(talk))
            writer.cancel()

    def _answer(self, prompt: Prompt) -> str:
        self.prompts.append(prompt)
        return ANSWER

    async def _read(self, event: ServerEvent) -> None:
        text = encode(event)
        validate(text)
        self.seen.append((self.loop.time(), json.loads(text)))

    async def _messages(self, talk: Talk) -> AsyncIterator[str]:
        yield json.dumps(detects(idle_timeout_ms=round(TIMEOUT_S * 1000)))
        async for message in talk(self):
            yield json.dumps(message)


def detects(**detection: Any) -> dict[str, Any]:
    heard = {"transcription": {"model": "whisper-1"}, "turn_detection": {"type": "server_vad", **detection}}
    return {"type": "session.update", "session": {"type": "realtime", "audio": {"input": heard}}}


def append(pcm16: bytes) -> dict[str, Any]:
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm16).decode()}


async def greeted(client: Client) -> AsyncIterator[dict[str, Any]]:
    yield {"type": "response.create"}
    async for message in client.listens(14.0):
        yield message


@pytest.fixture(scope="module")
def silent() -> Client:
    """A client whose user says nothing after the greeting."""
    client = Client()
    client.run(greeted)
    return client


def test_the_silence_counts_from_the_end_of_what_was_played(silent: Client):
    (moment, event), *_ = silent.of("input_audio_buffer.timeout_triggered")
    assert moment == pytest.approx(ANSWER_S + TIMEOUT_S, abs=0.1)
    assert event["audio_start_ms"] == pytest.approx(ANSWER_S * 1000, abs=100)
    assert event["audio_end_ms"] == pytest.approx((ANSWER_S + TIMEOUT_S) * 1000, abs=100)


def test_the_silence_is_an_item_and_is_answered(silent: Client):
    kinds = [event["type"] for _, event in silent.seen]
    begin = kinds.index("input_audio_buffer.timeout_triggered")
    assert kinds[begin : begin + 8] == [
        "input_audio_buffer.timeout_triggered",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.completed",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
    ]
    _, *events = [event for _, event in silent.seen[begin : begin + 8]]
    names = {event.get("item_id") or event["item"]["id"] for event in events[:4]}
    assert names == {silent.seen[begin][1]["item_id"]}
    assert events[3]["transcript"] == ""
    assert events[6]["previous_item_id"] == silent.seen[begin][1]["item_id"]
    assert silent.of("response.done")[1][1]["response"]["status"] == "completed"


def test_the_model_is_told_what_it_cannot_hear(silent: Client):
    assert [(line.role, line.text) for line in silent.prompts[1].messages] == [
        ("system", "Be kind."),
        ("assistant", ANSWER),
        ("system", SILENCE),
    ]


def test_who_speaks_is_not_asked_whether_they_are_there():
    async def speaks(client: Client) -> AsyncIterator[dict[str, Any]]:
        yield {"type": "response.create"}
        async for message in client.listens(ANSWER_S + TIMEOUT_S - 1):
            yield message
        yield append(SPEECH)
        async for message in client.listens(4.0):
            yield message

    client = Client()
    client.run(speaks)
    assert len(client.of("response.done")) == 2
    assert not client.of("input_audio_buffer.timeout_triggered")


def test_noise_puts_the_timeout_off_and_no_more():
    async def coughs(client: Client) -> AsyncIterator[dict[str, Any]]:
        yield {"type": "response.create"}
        async for message in client.listens(ANSWER_S + TIMEOUT_S - 1):
            yield message
        yield append(SPEECH)
        async for message in client.listens(TIMEOUT_S + 3):
            yield message

    client = Client(heard="")
    client.run(coughs)
    assert client.of("input_audio_buffer.speech_stopped")
    assert len(client.of("input_audio_buffer.timeout_triggered")) == 1


@pytest.mark.parametrize("message", [{"type": "response.create"}, detects(idle_timeout_ms=None)])
def test_another_response_or_no_timeout_any_more_ends_the_wait(message: dict[str, Any]):
    async def goes_on(client: Client) -> AsyncIterator[dict[str, Any]]:
        yield {"type": "response.create"}
        async for silence in client.listens(ANSWER_S + TIMEOUT_S - 1):
            yield silence
        yield message
        async for silence in client.listens(2.0):
            yield silence

    client = Client()
    client.run(goes_on)
    assert not client.of("input_audio_buffer.timeout_triggered")


def test_an_answer_that_the_client_cancels_is_followed_by_the_silence_as_well():
    async def cancels(client: Client) -> AsyncIterator[dict[str, Any]]:
        yield {"type": "response.create"}
        async for silence in client.listens(0.5):
            yield silence
        yield {"type": "response.create"}
        yield {"type": "response.cancel"}
        async for silence in client.listens(TIMEOUT_S + 1):
            yield silence

    client = Client()
    client.run(cancels)
    done, *_ = client.of("response.done")
    assert done[1]["response"]["status"] == "completed"
    assert [event["response"]["status"] for _, event in client.of("response.done")][1] == "cancelled"
    (moment, _), *_ = client.of("input_audio_buffer.timeout_triggered")
    assert moment == pytest.approx(0.5 + TIMEOUT_S, abs=0.1)


def test_a_conversation_that_has_not_begun_has_no_timeout():
    async def says_nothing(client: Client) -> AsyncIterator[dict[str, Any]]:
        async for message in client.listens(2 * TIMEOUT_S):
            yield message

    client = Client()
    client.run(says_nothing)
    assert not client.of("input_audio_buffer.timeout_triggered")


def test_a_timer_tells_where_the_silence_began_and_runs_once():
    expired: list[int] = []
    positions = iter((100, 200))
    loop = VirtualLoop()

    async def wait() -> None:
        idle = Idle(lambda: next(positions), expired.append)
        idle.begin(5_000, after_s=1.0)
        await asyncio.sleep(0.5)
        idle.begin(5_000, after_s=1.0)  # the first one is forgotten
        await asyncio.sleep(5.9)
        assert expired == []
        await asyncio.sleep(20)
        assert expired == [100]
        idle.begin(5_000, after_s=1.0)
        await asyncio.sleep(2)
        idle.stop()
        await asyncio.sleep(20)
        idle.begin(5_000, after_s=1.0)
        idle.close()
        idle.begin(5_000, after_s=1.0)
        await asyncio.sleep(20)

    loop.run_until_complete(wait())
    loop.close()
    assert expired == [100]


def test_the_node_does_not_talk_to_an_empty_room_for_ever():
    async def stays_away(client: Client) -> AsyncIterator[dict[str, Any]]:
        yield {"type": "response.create"}
        async for silence in client.listens((MOST_IN_A_ROW + 3) * (ANSWER_S + TIMEOUT_S)):
            yield silence

    client = Client()
    client.run(stays_away)
    assert len(client.of("input_audio_buffer.timeout_triggered")) == MOST_IN_A_ROW


@pytest.mark.parametrize("sign", [{"type": "response.create"}, append(SPEECH)])
def test_who_comes_back_is_asked_again(sign: dict[str, Any]):
    async def comes_back(client: Client) -> AsyncIterator[dict[str, Any]]:
        yield {"type": "response.create"}
        for _ in range(2):
            async for silence in client.listens((MOST_IN_A_ROW + 1) * (ANSWER_S + TIMEOUT_S)):
                yield silence
            yield sign

    client = Client()
    client.run(comes_back)
    assert len(client.of("input_audio_buffer.timeout_triggered")) == 2 * MOST_IN_A_ROW
