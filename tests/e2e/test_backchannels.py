"""What a client gets that lets its user say "uh-huh" (docs/endpointing.md), and one that does not ask for it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.caller import Caller, calling
from tests.e2e.nodes import RunningNode, running_node
from tests.real import engines
from tests.speech import utterance
from voiceedge.audio.pcm import PCM
from voiceedge.engines.fake import fake_engines

QUESTION, OKAY, OBJECTION = "Tell me a story.", "Okay.", "Stop. What about London?"
LONG_ANSWER = " ".join(f"This is sentence number {n} of a long answer." for n in range(40))
ASKED = {"type": "server_vad", "voiceedge_backchannels": True}
NOT_ASKED = {"type": "server_vad"}


class Ears:
    """What the fake speech-to-text hears: the words that are set."""

    words = QUESTION

    def __call__(self, _: PCM) -> str:
        return self.words


@pytest.fixture(scope="module")
def ears():
    return Ears()


@pytest.fixture(scope="module")
def node(ears: Ears):
    with running_node(fake_engines(text=ears, answer=LONG_ANSWER, slots=8)) as node:
        yield node


async def talk_over(caller: Caller, words: str, detection: dict[str, Any], ears: Ears | None = None) -> None:
    """Let a long answer begin, and say `words` over it."""
    await caller.update(instructions="Answer at length.", audio={"input": {"turn_detection": detection}})
    if ears is not None:
        ears.words = QUESTION
    await caller.hear(utterance(QUESTION))
    await caller.until("response.output_audio.delta")
    if ears is not None:
        ears.words = words
    caller.seen.clear()
    await caller.hear_in_real_time(utterance(words, pause_s=1.0))


async def goes_on(caller: Caller) -> None:
    """Read up to the end of an answer that nobody has stopped."""
    await caller.send("response.cancel")
    done = (await caller.until("response.done"))["response"]
    assert done["status_details"]["reason"] == "client_cancelled"
    assert caller.of("input_audio_buffer.speech_started") == caller.of("conversation.item.added") == []


async def stops(caller: Caller) -> None:
    """Read up to the end of an answer that the user has stopped."""
    await caller.until("input_audio_buffer.speech_started")
    done = (await caller.until("response.done"))["response"]
    assert done["status_details"]["reason"] == "turn_detected"


async def test_a_backchannel_does_not_stop_the_answer_of_a_client_that_asks_for_it(node: RunningNode, ears: Ears):
    async with calling(node.url) as caller:
        await talk_over(caller, OKAY, ASKED, ears)
        await goes_on(caller)


async def test_other_words_do(node: RunningNode, ears: Ears):
    async with calling(node.url) as caller:
        await talk_over(caller, OBJECTION, ASKED, ears)
        await stops(caller)


async def test_a_backchannel_stops_the_answer_of_any_other_client(node: RunningNode, ears: Ears):
    async with calling(node.url) as caller:
        await talk_over(caller, OKAY, NOT_ASKED, ears)
        await stops(caller)


async def test_after_the_answer_the_same_word_is_a_turn(node: RunningNode, ears: Ears):
    async with calling(node.url) as caller:
        await talk_over(caller, OKAY, ASKED, ears)
        await goes_on(caller)
        await caller.hear(utterance(OKAY))
        await caller.until("input_audio_buffer.speech_started")
        await caller.until("response.created")


@pytest.mark.models
@pytest.mark.parametrize(("words", "outcome"), [(OKAY, goes_on), (OBJECTION, stops)])
async def test_with_real_models(words: str, outcome: Any):
    with running_node(engines("nano"), max_answer_tokens=200) as node:
        async with calling(node.url) as caller:
            await talk_over(caller, words, ASKED)
            await outcome(caller)
