"""Speech that a client writes into items and responses, or commits bit by bit: listened to as any other, in turn."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.e2e.caller import Caller, calling
from tests.e2e.nodes import RunningNode, running_node
from tests.speech import silence, utterance
from voiceedge.audio.pcm import to_pcm16
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.fake_defects import FakeDelays
from voiceedge.server import throttle
from voiceedge.session import listening
from voiceedge.session.transcribing import AT_ONCE, MOST_WAITING

RATE_HZ = 24_000
MANUAL = {"audio": {"input": {"turn_detection": None, "transcription": {"model": "whisper-1"}}}}
HEARD = "conversation.item.input_audio_transcription.completed"


class Counted:
    """Speech-to-text that knows how many utterances it was in at a time."""

    def __init__(self, stt: Any) -> None:
        self._stt = stt
        self._lock = threading.Lock()
        self._open = 0
        self.most = 0

    def transcribe(self, audio: Any, earlier: Any = ()) -> Iterator[Any]:
        yield from self._stt.transcribe(audio, earlier)

    def steps(self, audio: Any, earlier: Any = ()) -> Iterator[Any]:
        with self._lock:
            self._open += 1
            self.most = max(self.most, self._open)
        try:
            yield from self._stt.steps(audio, earlier)
        finally:
            with self._lock:
                self._open -= 1


@contextmanager
def a_node(stt_s: float = 0.0, **settings: object) -> Iterator[tuple[RunningNode, Counted]]:
    engines = fake_engines(FakeDelays(stt_s=stt_s), slots=4)
    stt = Counted(engines.stt)
    with running_node(replace(engines, stt=stt), **settings) as node:
        yield node, stt


def spoken(seconds: float, **fields: Any) -> dict[str, Any]:
    audio = base64.b64encode(bytes(2 * round(seconds * RATE_HZ))).decode()
    return {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": audio}], **fields}


async def heard(caller: Caller, count: int) -> list[str]:
    """Wait until so many utterances have been transcribed; their items."""
    while len(caller.of(HEARD)) < count:
        await caller.next()
    return [event["item_id"] for event in caller.of(HEARD)]


async def test_a_long_conversation_in_speech_is_replayed_without_an_error_and_two_are_listened_to_at_a_time():
    with a_node(stt_s=0.01, audio_speed=1000) as (node, stt):
        async with calling(node.url) as caller:
            await caller.update(**MANUAL)
            names = [f"item_{number}" for number in range(2 * MOST_WAITING)]
            for name in names:
                await caller.send("conversation.item.create", item=spoken(12.0, id=name))
            await caller.send("response.create")
            assert (await caller.until("response.done"))["response"]["status"] == "completed"
            assert await heard(caller, len(names)) == names
            assert not caller.of("error")
        assert 1 <= stt.most <= AT_ONCE


async def test_a_commit_every_tenth_of_a_second_is_heard_to_the_last_and_in_order():
    with a_node(stt_s=0.005) as (node, stt):
        async with calling(node.url) as caller:
            await caller.update(**MANUAL)
            for _ in range(3 * MOST_WAITING):
                await caller.append(bytes(2 * RATE_HZ // 8))
                await caller.send("input_audio_buffer.commit")
            names = await heard(caller, 3 * MOST_WAITING)
            assert names == [event["item_id"] for event in caller.of("input_audio_buffer.committed")]
            assert not caller.of("error")
        assert 1 <= stt.most <= AT_ONCE


async def test_whoever_speaks_is_heard_beside_somebody_who_commits_as_fast_as_the_socket_takes_it():
    with a_node(stt_s=0.02) as (node, _):
        async with calling(node.url) as flood, calling(node.url) as caller:
            await flood.update(**MANUAL)
            for _ in range(200):
                await flood.append(bytes(2 * RATE_HZ // 8))
                await flood.send("input_audio_buffer.commit")
            await caller.hear(utterance("What is the capital of France?"))
            assert (await caller.until("response.done"))["response"]["status"] == "completed"
            flood.socket.transport.abort()


async def test_speech_in_items_and_in_input_counts_against_the_quota_and_each_refusal_is_told(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(throttle, "SETTLE_S", 3600.0)  # only what is at once too much
    with a_node(audio_seconds_an_hour=5) as (node, _):
        async with calling(node.url) as caller:
            await caller.update(**MANUAL)
            await caller.send("conversation.item.create", item=spoken(20.0))
            await heard(caller, 1)  # what comes at once may exceed what is left, as in an append
            asked = [
                ("conversation.item.create", {"item": spoken(0.5)}),
                ("conversation.item.create", {"item": spoken(0.5)}),
                ("response.create", {"response": {"input": [spoken(0.5)]}}),
                ("response.create", {"response": {"conversation": "none", "input": [spoken(0.5)]}}),
            ]
            for number, (kind, fields) in enumerate(asked):
                await caller.send(kind, event_id=f"mine_{number}", **fields)
                error = (await caller.until("error"))["error"]
                assert (error["code"], error["event_id"]) == ("quota_exceeded", f"mine_{number}")
            await caller.send("response.create")
            assert (await caller.until("response.done"))["response"]["status"] == "completed"
            assert len(caller.of("conversation.item.done")) == 2  # one of the user's, and the answer


@pytest.mark.parametrize("kind", ["item", "input"])
async def test_speech_that_is_written_comes_no_faster_than_speech_that_is_spoken(kind: str):
    with a_node(audio_speed=100, audio_ahead_s=1) as (node, _):
        async with calling(node.url) as caller:
            await caller.update(**MANUAL)
            for _ in range(2):
                if kind == "item":
                    await caller.send("conversation.item.create", item=spoken(16.0))
                    await caller.until("conversation.item.done")
                else:
                    await caller.send("response.create", response={"conversation": "none", "input": [spoken(16.0)]})
                    await caller.until("response.done")
        assert sum(seconds for waited_for, seconds in node.waits if waited_for == "audio") > 0.05


@pytest.mark.parametrize("kind", ["item", "input"])
async def test_who_has_to_wait_for_it_in_the_middle_of_a_sentence_has_not_fallen_silent(
    kind: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(listening, "SILENT_CLIENT_S", 0.3)
    words = (0.3 * np.sin(np.arange(3 * RATE_HZ) / 9)).astype(np.float32)
    with a_node(audio_speed=4, audio_ahead_s=1) as (node, _):
        async with calling(node.url) as caller:
            await caller.append(to_pcm16(np.concatenate([silence(0.5), words])))
            if kind == "item":
                await caller.send("conversation.item.create", item=spoken(0.1))
            else:
                await caller.send("response.create", response={"conversation": "none", "input": [spoken(0.1)]})
            await caller.append(to_pcm16(np.concatenate([words, silence(1.5)])))
            stopped = await caller.until("input_audio_buffer.speech_stopped")
        assert sum(seconds for waited_for, seconds in node.waits if waited_for == "audio") > 0.3
        assert stopped["audio_end_ms"] > 6500
        assert len(caller.of("input_audio_buffer.speech_started")) == 1
