"""What is drafted while the user may still go on: of use when the turn ends there, else as if it had never been."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from math import inf

import numpy as np
import pytest

from tests.e2e.caller import Caller, calling
from tests.e2e.nodes import RunningNode, running_node
from tests.speech import RATE_HZ, silence
from voiceedge.audio.pcm import PCM, to_pcm16
from voiceedge.engines import Engines, Prompt, Stage
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.fake_defects import FakeDelays
from voiceedge.session.compute import Compute
from voiceedge.session.load import ANSWERS_BELOW, THRIFTY_FROM

STATED = {"type": "server_vad", "silence_duration_ms": 500}
"""A wait that neither model nor words change."""
PATIENCE_S = 5.0
SECOND = 16_000


def speech(seconds: float) -> bytes:
    """What the fakes take for speech."""
    tone = np.sin(2 * np.pi * 300 / RATE_HZ * np.arange(round(seconds * RATE_HZ))) * 0.3
    return to_pcm16(tone.astype(np.float32))


def pause(seconds: float) -> bytes:
    return to_pcm16(silence(seconds))


class Asked:
    """What the engines were asked, by the threads that ran them."""

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []
        self.utterances: list[PCM] = []
        self.held = threading.Event()
        self.held.set()

    def answer(self, prompt: Prompt) -> str:
        self.prompts.append(prompt)
        self.held.wait(PATIENCE_S)
        return "It is Paris, as you know."

    def words(self, audio: PCM) -> str:
        self.utterances.append(audio)
        return "First." if len(audio) < 1.5 * SECOND else "First. And second."

    def engines(self, **changes: object) -> Engines:
        return fake_engines(text=self.words, answer=self.answer, slots=4, **changes)

    async def until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not is_so():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.002)


@pytest.fixture
def asked():
    return Asked()


@pytest.fixture
def node(asked: Asked):
    with running_node(asked.engines()) as node:
        yield node


async def listening(caller: Caller) -> None:
    await caller.update(audio={"input": {"turn_detection": STATED, "transcription": {"model": "whisper-1"}}})


async def test_an_answer_that_was_drafted_is_not_made_again(node: RunningNode, asked: Asked):
    async with calling(node.url) as caller:
        await listening(caller)
        await caller.hear(speech(0.6) + pause(0.2))
        await asked.until(lambda: len(asked.prompts) == 1)
        assert [event["type"] for event in caller.seen] == ["session.created", "session.updated"]
        await caller.hear_in_real_time(pause(0.6))
        turn = await caller.until("voiceedge.turn")
        assert (len(asked.prompts), len(asked.utterances)) == (1, 1)
        assert turn["facts"]["speculated"] == 1
        assert turn["facts"]["answer_ready_at_endpoint"] == 1
        assert turn["facts"]["wasted_ms"] == 0
        assert turn["marks_ms"]["tts_first_audio"] < turn["marks_ms"]["endpoint"]


async def test_nothing_of_a_draft_is_left_when_the_user_goes_on(node: RunningNode, asked: Asked):
    async with calling(node.url) as caller:
        await listening(caller)
        await caller.hear(speech(0.6) + pause(0.2))
        await asked.until(lambda: len(asked.prompts) == 1)
        await caller.hear(speech(1.2) + pause(0.7))
        turn = await caller.until("voiceedge.turn")
        [started] = caller.of("input_audio_buffer.speech_started")
        [response] = [event["response"] for event in caller.of("response.done")]
        [heard] = caller.of("conversation.item.input_audio_transcription.completed")
        assert heard["item_id"] == started["item_id"]
        assert heard["transcript"] == "First. And second."
        assert [message.text for message in asked.prompts[-1].messages if message.role == "user"] == [
            "First. And second."
        ]
        assert response["status"] == "completed"
        assert response["usage"]["output_tokens"] == 6
        assert len(caller.of("conversation.item.added")) == 2
        assert turn["facts"]["speculated"] == 1


async def test_work_for_a_draft_that_was_dropped_is_told(asked: Asked):
    with running_node(asked.engines(delays=FakeDelays(stt_s=0.05))) as node:
        async with calling(node.url) as caller:
            await listening(caller)
            await caller.hear(speech(0.6) + pause(0.2))
            await asked.until(lambda: len(asked.prompts) == 1)
            await caller.hear(speech(1.2) + pause(0.7))
            turn = await caller.until("voiceedge.turn")
            assert turn["facts"]["wasted_ms"] >= 50
            assert turn["facts"]["work_ms"] >= 50


async def test_a_draft_stops_behind_the_step_in_flight(node: RunningNode, asked: Asked):
    async with calling(node.url) as caller:
        await listening(caller)
        asked.held.clear()
        await caller.hear(speech(0.6) + pause(0.2))
        await asked.until(lambda: len(asked.prompts) == 1)
        await caller.hear(speech(1.2) + pause(0.7))
        asked.held.set()
        await caller.until("response.done")
        assert len(asked.prompts) == 2


@pytest.mark.parametrize("change", ["history", "instructions", "voice"])
async def test_a_draft_is_of_no_use_when_something_else_would_be_answered_now(
    node: RunningNode, asked: Asked, change: str
):
    async with calling(node.url) as caller:
        await listening(caller)
        await caller.hear(speech(0.6) + pause(0.2))
        await asked.until(lambda: len(asked.prompts) == 1)
        if change == "history":
            content = [{"type": "input_text", "text": "Be brief."}]
            await caller.send(
                "conversation.item.create", item={"type": "message", "role": "system", "content": content}
            )
        elif change == "instructions":
            await caller.update(instructions="Be brief.")
        else:
            await caller.update(audio={"output": {"speed": 1.5}})
        await caller.hear(pause(0.6))
        await caller.until("response.done")
        assert len(asked.prompts) == 2
        said = [message.text for message in asked.prompts[-1].messages]
        assert ("Be brief." in said) == (change != "voice")


async def test_a_draft_that_fails_fails_the_turn_only_when_it_is_over(asked: Asked):
    broken: set[Stage] = {"stt"}
    with running_node(asked.engines(fail_at=broken)) as node:
        async with calling(node.url) as caller:
            await listening(caller)
            await caller.hear(speech(0.6) + pause(0.2) + speech(0.6) + pause(0.7))
            await caller.until("input_audio_buffer.committed")
            await caller.until("conversation.item.input_audio_transcription.failed")
            done = await caller.until("response.done")
            assert done["response"]["status"] == "failed"
            broken.clear()
            await caller.hear(speech(0.6) + pause(0.7))
            done = await caller.until("response.done")
            assert done["response"]["status"] == "completed"


async def test_whoever_answers_by_hand_gets_no_drafts_of_answers(node: RunningNode, asked: Asked):
    async with calling(node.url) as caller:
        await caller.update(audio={"input": {"turn_detection": {**STATED, "create_response": False}}})
        await caller.hear(speech(0.6) + pause(0.7))
        await caller.until("input_audio_buffer.committed")
        assert asked.prompts == []
        assert len(asked.utterances) == 1


async def test_hanging_up_on_a_draft_leaves_the_engines_free(asked: Asked):
    with running_node(asked.engines(), max_sessions=4) as node:
        asked.held.clear()
        async with calling(node.url) as caller:
            await listening(caller)
            await caller.hear(speech(0.6) + pause(0.2))
            await asked.until(lambda: len(asked.prompts) == 1)
        asked.held.set()
        await asked.until(lambda: node.node.engines.llm.free_slots == 4)  # type: ignore[attr-defined]


async def test_without_drafts_the_engines_wait_for_the_end_of_the_turn(asked: Asked):
    with running_node(asked.engines(), draft_after_ms=0) as node:
        async with calling(node.url) as caller:
            await listening(caller)
            await caller.hear_in_real_time(speech(0.6) + pause(0.3))
            assert asked.utterances == []
            await caller.hear(pause(0.4))
            turn = await caller.until("voiceedge.turn")
            assert "speculated" not in turn["facts"]


async def test_a_node_that_is_short_of_cpu_drafts_words_alone(
    node: RunningNode, asked: Asked, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Compute, "load", ANSWERS_BELOW)
    async with calling(node.url) as caller:
        await listening(caller)
        await caller.hear(speech(0.6) + pause(0.2))
        await asked.until(lambda: len(asked.utterances) == 1 and not node.node.compute.is_busy(before=inf))
        await asked.until(lambda: "draft" not in node.tasks())
        assert asked.prompts == []
        await caller.hear(pause(0.5))
        turn = await caller.until("voiceedge.turn")
        assert (len(asked.prompts), len(asked.utterances)) == (1, 1)
        assert turn["facts"]["speculated"] == 1


async def test_and_lets_short_silences_pass(node: RunningNode, asked: Asked, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Compute, "load", THRIFTY_FROM)
    async with calling(node.url) as caller:
        await listening(caller)
        await caller.hear(speech(0.6) + pause(0.1) + speech(0.6) + pause(0.7))
        await caller.until("voiceedge.turn")
        assert len(asked.utterances) == 1


@pytest.mark.parametrize(
    ("words", "load", "answers"),
    [
        ("I want to go to the", THRIFTY_FROM, 0),
        ("I want to go to the", THRIFTY_FROM - 0.01, 1),
        ("What time is it?", THRIFTY_FROM, 1),
        ("What time is it?", ANSWERS_BELOW, 0),
    ],
)
async def test_the_shorter_the_cpu_the_surer_must_the_end_be_for_an_answer(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, words: str, load: float, answers: int
):
    monkeypatch.setattr(Compute, "load", load)

    def heard(audio: PCM) -> str:
        asked.utterances.append(audio)
        return words

    with running_node(fake_engines(text=heard, answer=asked.answer)) as node:
        async with calling(node.url) as caller:
            await listening(caller)
            await caller.hear(speech(0.6) + pause(0.2))
            await asked.until(lambda: len(asked.utterances) == 1 and not node.tasks() & {"draft", "transcribe"})
            await asked.until(lambda: len(asked.prompts) == answers)
            await caller.hear(pause(0.5))
            await caller.until("voiceedge.turn")
            assert len(asked.prompts) == 1


class Sentences:
    """Says how likely a sentence ends, and remembers being asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def probability(self, text: str) -> float | None:
        self.asked.append(text)
        return 0.9


@pytest.mark.parametrize(
    ("detection", "words", "is_asked"),
    [
        ({"type": "semantic_vad"}, "What is the capital of France?", True),
        ({"type": "semantic_vad"}, "Yes.", False),
        ({"type": "semantic_vad"}, "I want the", False),
        (STATED, "What is the capital of France?", False),
    ],
)
async def test_a_language_model_is_asked_only_where_it_can_change_something(
    asked: Asked, detection: dict[str, object], words: str, is_asked: bool
):
    sentences = Sentences()

    def heard(audio: PCM) -> str:
        asked.utterances.append(audio)
        return words

    with running_node(replace(fake_engines(text=heard), sentence_end=sentences)) as node:
        async with calling(node.url) as caller:
            await caller.update(audio={"input": {"turn_detection": detection}})
            await caller.hear(speech(0.6) + pause(0.1))
            await asked.until(lambda: len(asked.utterances) == 1 and "draft" not in node.tasks())
            await caller.hear(pause(3.0))
            await caller.until("voiceedge.turn")
            assert sentences.asked == [words] * is_asked
