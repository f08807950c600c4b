"""What a response is shown in the place of the conversation."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from voiceedge.conversation.history import History, Item
from voiceedge.errors import EngineFailed, InvalidRequest
from voiceedge.protocol.items import ItemReference, parse_item
from voiceedge.session.question import Question, speech_in
from voiceedge.session.turn import Utterance
from voiceedge.trace import TurnTrace

SPOKEN = {"id": "s", "role": "user", "content": [{"type": "input_audio", "audio": "AAAA"}]}


class Ear:
    """Stands for `Transcribing`; its words come when the test says so."""

    def __init__(self) -> None:
        self.utterances: dict[str, Utterance] = {}
        self.listened_to: list[str] = []
        self.all_said = asyncio.Event()
        self.all_said.set()

    def decode(self, base64: str, wire_format: str) -> Any:
        assert (base64, wire_format) == ("AAAA", "audio/pcm")
        return np.zeros(160, np.float32)

    def hear(self, item_id: str, audio: Any, trace: TurnTrace) -> Utterance:
        words = asyncio.get_running_loop().create_future()
        self.utterances[item_id] = Utterance(item_id, audio, trace, words)
        return self.utterances[item_id]

    def listen(self, utterance: Utterance) -> None:
        self.listened_to.append(utterance.item_id)

    async def settled(self) -> None:
        await self.all_said.wait()


def written(text: str, item_id: str) -> Any:
    return parse_item({"id": item_id, "role": "user", "content": [{"type": "input_text", "text": text}]})


def ask(entries: Any, history: History, ear: Ear | None = None) -> Question:
    transcribing: Any = ear or Ear()
    return Question(entries, history, transcribing, wire_format="audio/pcm", clock=lambda: 0.0)


def texts(history: History) -> list[str]:
    return [line.text for line in history.lines()]


@pytest.fixture
def history() -> History:
    return History([Item("a", "message", "user", "one"), Item("b", "message", "assistant", "two")], {"a"})


async def test_nothing_in_its_place_is_the_conversation_as_far_as_it_is_remembered(history: History):
    shown = await ask(None, history).history()
    assert texts(shown) == ["two"]
    shown.forget(0, lambda _: 1)
    shown.items.clear()
    assert len(history.items) == 2


async def test_items_and_references_stand_in_their_order(history: History):
    question = ask((ItemReference("b"), written("three", "c"), ItemReference("a")), history)
    assert texts(await question.history()) == ["two", "three", "one"]
    assert [item.id for item in history.items] == ["a", "b"]


async def test_a_reference_to_nothing_is_refused(history: History):
    with pytest.raises(InvalidRequest) as refused:
        ask((written("three", "c"), ItemReference("z")), history)
    assert refused.value.param == "response.input[1].id"


async def test_what_is_refused_waits_for_no_words(history: History):
    ear = Ear()
    with pytest.raises(InvalidRequest):
        ask((parse_item(SPOKEN), ItemReference("z")), history, ear)
    assert ear.utterances == {}


def test_what_is_said_in_it_is_known_before_it_is_taken():
    assert speech_in((parse_item(SPOKEN), ItemReference("b"), written("three", "c"))) == ["AAAA"]
    assert speech_in(None) == []


async def test_what_is_deleted_meanwhile_is_left_out(history: History):
    question = ask((ItemReference("b"), ItemReference("a")), history)
    history.delete("b")
    assert texts(await question.history()) == ["one"]


async def test_it_waits_for_the_words_of_the_conversation(history: History):
    ear = Ear()
    ear.all_said.clear()
    waiting = asyncio.create_task(ask((ItemReference("a"),), history, ear).history())
    await asyncio.sleep(0)
    history.update(Item("a", "message", "user", "ONE"))
    ear.all_said.set()
    assert texts(await waiting) == ["ONE"]


async def test_speech_in_it_is_transcribed_and_its_failure_is_the_responses(history: History):
    ear = Ear()
    question = ask((parse_item(SPOKEN), written("three", "c")), history, ear)
    assert ear.listened_to == ["s"]
    waiting = asyncio.create_task(question.history())
    await asyncio.sleep(0)
    assert not waiting.done()
    ear.utterances["s"].words.set_result("spoken")
    assert texts(await waiting) == ["spoken", "three"]

    question = ask((parse_item(SPOKEN),), history, ear)
    ear.utterances["s"].words.set_exception(EngineFailed("no ear"))
    with pytest.raises(EngineFailed):
        await question.history()
