"""Real work for every engine before anybody waits for one: the first call of a process is slower than later ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from voiceedge.audio.pcm import PCM
from voiceedge.audio.resample import resample
from voiceedge.engines import LISTENING_RATE_HZ, Engines, Message, Piece, Prompt, Sampling
from voiceedge.trace import now

PHRASE = "Hello, this is a test of the voice. Can you hear me well?"
TOKENS = 8


@dataclass(frozen=True, slots=True)
class Speeds:
    """How fast this machine is, measured once on one short phrase."""

    end_of_turn_ms: float
    """One judgement."""
    stt_ms: float
    """Transcribing the phrase."""
    llm_ms_a_token: float
    """One decoded token."""
    tts_ms: float
    """Speaking the phrase."""
    phrase_s: float
    """How long the phrase sounds."""
    heard: str
    """What speech-to-text made of the phrase."""


def warm_up(engines: Engines, instructions: str) -> Speeds:
    """Speak a phrase, hear it, think about it: once to warm up, once to measure.

    Blocking; a few hundred milliseconds.
    """
    speech = _speak(engines)
    _think(engines, instructions)
    begun = now()
    _speak(engines)
    spoken = now()
    list(engines.stt.transcribe(speech))
    warm = now()
    heard = " ".join(segment.text for segment in engines.stt.transcribe(speech))
    transcribed = now()
    engines.end_of_turn.probability(speech)
    judging = now()
    engines.end_of_turn.probability(speech)
    judged = now()
    stream = engines.vad.open()
    stream.probability(np.zeros(engines.vad.frame_samples, np.float32))
    return Speeds(
        end_of_turn_ms=(judged - judging) * 1000,
        stt_ms=(transcribed - warm) * 1000,
        llm_ms_a_token=_think(engines, instructions) * 1000,
        tts_ms=(spoken - begun) * 1000,
        phrase_s=len(speech) / LISTENING_RATE_HZ,
        heard=heard.strip(),
    )


def _speak(engines: Engines) -> PCM:
    parts = list(engines.tts.speak(PHRASE, engines.tts.voices[0], 1.0))
    return resample(np.concatenate(parts), engines.tts.sample_rate_hz, LISTENING_RATE_HZ)


def _think(engines: Engines, instructions: str) -> float:
    """Seconds a token, decoding a few."""
    stream = engines.llm.open()
    try:
        prompt = Prompt((Message("system", instructions), Message("user", PHRASE)))
        for _ in stream.warm(Prompt(prompt.messages[:1])):
            pass
        moments = [now() for step in stream.generate(prompt, Sampling(max_tokens=TOKENS)) if isinstance(step, Piece)]
    finally:
        stream.close()
    return (moments[-1] - moments[0]) / max(len(moments) - 1, 1)
