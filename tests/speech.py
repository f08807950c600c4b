"""Speech for tests: what a microphone would deliver, and what is in an answer."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from voiceedge.audio.files import read_audio
from voiceedge.audio.pcm import PCM, to_pcm16
from voiceedge.engines.hibari import HibariTts

RATE_HZ = 24_000
SPEECH = Path(__file__).resolve().parents[2] / "shared" / "speech"
"""Human recordings beside the checkout; not part of the project."""


@cache
def voice() -> HibariTts:
    return HibariTts()


@cache
def say(text: str) -> PCM:
    """`text`, spoken by the default voice at 24 kHz."""
    return np.concatenate(list(voice().speak(text, "heart", 1.0)))


def silence(seconds: float) -> PCM:
    """A quiet room: noise at -70 dBFS, as a microphone would have."""
    return np.random.default_rng(0).normal(0, 10 ** (-70 / 20), round(seconds * RATE_HZ)).astype(np.float32)


def utterance(text: str, pause_s: float = 2.0) -> bytes:
    """Speech and the silence after it, as pcm16 at 24 kHz."""
    return to_pcm16(np.concatenate([silence(0.3), say(text), silence(pause_s)]))


def recording(name: str, pause_s: float = 2.0) -> bytes:
    """A human recording and the silence after it, as pcm16 at 24 kHz."""
    return to_pcm16(np.concatenate([read_audio(SPEECH / name, RATE_HZ), silence(pause_s)]))
