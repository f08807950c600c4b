"""Sounds that are no speech, and speech that hardly is."""

from __future__ import annotations

import numpy as np
import pytest

from tests.e2e.asking import ANSWER, QUESTION, is_answered
from tests.e2e.caller import Caller, calling
from tests.e2e.nodes import RunningNode, running_node
from tests.real import engines as real_engines
from tests.speech import RATE_HZ, say, silence, utterance
from voiceedge.audio.pcm import PCM, to_pcm16
from voiceedge.engines.fake import fake_engines


@pytest.fixture(scope="module")
def node():
    with running_node(fake_engines(text=QUESTION, answer=ANSWER, slots=8)) as node:
        yield node


async def test_minutes_of_silence_say_nothing(node: RunningNode):
    async with calling(node.url) as caller:
        caller.seen.clear()
        for _ in range(18):
            await caller.append(to_pcm16(silence(10.0)))
        await caller.send("input_audio_buffer.clear")
        await caller.until("input_audio_buffer.cleared")
    assert caller.types() == ["input_audio_buffer.cleared"]


async def test_noise_without_words_becomes_neither_an_item_nor_an_answer():
    def heard(audio: PCM) -> str:
        return "" if len(audio) > 5 * 16_000 else QUESTION

    noise = np.random.default_rng(0).normal(0, 0.1, 20 * RATE_HZ).astype(np.float32)
    with running_node(fake_engines(text=heard, slots=1)) as node:
        async with calling(node.url) as caller:
            for _ in range(3):
                await caller.append(to_pcm16(np.concatenate([noise, silence(2.0)])))
            await caller.hear(utterance(QUESTION))
            await is_answered(caller)
    assert len(caller.of("input_audio_buffer.speech_started")) == 4
    assert len(caller.of("input_audio_buffer.committed")) == 1
    assert len(caller.of("response.created")) == 1


async def test_clipped_speech_is_answered(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.hear(to_pcm16(np.concatenate([np.clip(30 * say(QUESTION), -1, 1), silence(2.0)])))
        await is_answered(caller)


@pytest.mark.models
async def test_noise_hum_and_an_offset_are_no_speech_to_the_real_models():
    random = np.random.default_rng(0)
    seconds = 8
    hum = np.sin(np.arange(seconds * RATE_HZ) * 2 * np.pi * 50 / RATE_HZ) * 0.3
    offset = np.full(seconds * RATE_HZ, 0.3) + random.normal(0, 0.001, seconds * RATE_HZ)
    full_scale = np.ones(seconds * RATE_HZ)
    noise = random.normal(0, 0.2, seconds * RATE_HZ)
    clipped = np.clip(random.normal(0, 5, seconds * RATE_HZ), -1, 1)
    with running_node(real_engines("nano")) as node:
        async with calling(node.url) as caller:
            for sound in (offset, full_scale, hum):
                await caller.append(to_pcm16(sound.astype(np.float32)))
                await caller.append(to_pcm16(silence(2.0)))
            assert await _quiet(caller)
            assert "input_audio_buffer.speech_started" not in caller.types()
            for sound in (noise, clipped):
                await caller.append(to_pcm16(sound.astype(np.float32)))
                await caller.append(to_pcm16(silence(2.0)))
            assert await _quiet(caller)
            speech = say(QUESTION)
            for heard in (speech + np.float32(0.2), np.clip(20 * speech, -1, 1)):
                await caller.append(to_pcm16(np.concatenate([heard, silence(2.0)])))
                await is_answered(caller)


async def _quiet(caller: Caller) -> bool:
    """Whether nothing that was heard so far became an item."""
    await caller.send("input_audio_buffer.clear")
    await caller.until("input_audio_buffer.cleared")
    return not caller.of("input_audio_buffer.committed") and not caller.of("response.created")
