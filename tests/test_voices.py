"""Several voices through the real socket: a client asks for one by name, and hears it."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from tests import real
from tests.e2e.caller import calling
from tests.e2e.nodes import running_node
from voiceedge.audio.pcm import PCM, from_pcm16
from voiceedge.audio.resample import resample
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.loading import ThreadPlan, load_engine


class Choir:
    """Notes who was asked to speak, and lets `tts` do it."""

    def __init__(self, tts, voices):
        self.tts = tts
        self.voices = voices
        self.sample_rate_hz = tts.sample_rate_hz
        self.asked: list[tuple[str, float]] = []

    def speak(self, text, voice, speed, **context):
        self.asked.append((voice, speed))
        return self.tts.speak(text, voice if voice in self.tts.voices else self.tts.voices[0], speed, **context)


async def answer(node, **output) -> tuple[str, PCM, str]:
    """One answer: the voice that the session has, the audio at 16 kHz and the words."""
    async with calling(node.url) as caller:
        updated = await caller.update(audio={"output": output})
        question = {"type": "input_text", "text": "What is the capital of France?"}
        await caller.send("conversation.item.create", item={"type": "message", "role": "user", "content": [question]})
        await caller.send("response.create")
        await caller.until("response.done")
        (done,) = caller.of("response.output_audio_transcript.done")
        audio = resample(from_pcm16(caller.audio()), 24_000, 16_000)
        return updated["session"]["audio"]["output"]["voice"], audio, done["transcript"]


@pytest.mark.parametrize(
    ("output", "spoken"),
    [
        ({}, ("ann", 1.0)),
        ({"voice": "bob"}, ("bob", 1.0)),
        ({"voice": "bob", "speed": 1.5}, ("bob", 1.5)),
        ({"voice": "marin"}, ("ann", 1.0)),  # one of OpenAI's: stock clients must not break
    ],
)
async def test_the_voice_and_speed_that_a_client_asks_for_speak(output, spoken):
    engines = fake_engines()
    choir = Choir(engines.tts, ("ann", "bob"))
    with running_node(replace(engines, tts=choir)) as node:
        await answer(node, **output)
    assert set(choir.asked) == {spoken}


@pytest.fixture(scope="module")
def kokoro():
    """A node with the models of `nano` and Kokoro's voices."""
    tts = load_engine("tts", real.local_model("kokoro-82m-v1.0"), slots=1, context_tokens=256, threads=ThreadPlan())
    choir = Choir(tts, tts.voices)
    with running_node(replace(real.engines("nano"), tts=choir)) as node:
        yield node, choir


@pytest.mark.models
@pytest.mark.parametrize(("voice", "speed"), [("af_heart", 1.0), ("bf_emma", 1.0), ("bm_george", 1.25)])
async def test_a_kokoro_voice_answers_and_what_it_says_is_what_is_written(kokoro, voice, speed):
    node, choir = kokoro
    choir.asked.clear()
    echoed, audio, written = await answer(node, voice=voice, speed=speed)
    assert echoed == voice
    assert set(choir.asked) == {(voice, speed)}
    heard = " ".join(segment.text for segment in node.node.engines.stt.transcribe(audio))
    assert np.abs(audio).max() > 0.1
    assert re.findall(r"[a-z]+", heard.lower()) == re.findall(r"[a-z]+", written.lower())
