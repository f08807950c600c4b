"""Text-to-speech with hibari: an English voice at 24 kHz, weights and G2P inside its package."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import hibari
import numpy as np

from voiceedge.audio.pcm import PCM, first_audible, last_audible
from voiceedge.engines.onnx_session import open_session

SEED = 0
"""Of the noise in breathy sounds: the same text always sounds the same."""
LEAD_S = 0.015
"""Kept before the first audible window: the onset of a soft consonant is below what counts as audible."""
FADE_S = 0.005
"""Ramp at both ends, so that a cut is not heard as a click."""
PAUSES_S = {".": 0.3, "!": 0.3, "?": 0.3, "…": 0.3, ":": 0.2, ";": 0.2, ",": 0.15, "—": 0.15}
"""Silence kept behind a sentence, by the mark that it ends with; it is the pause before the next clause."""
SHORTEST_PAUSE_S = 0.08
"""Behind a text without such a mark."""

NUMERO = re.compile(r"\bNo\.\s*(?=\d)")
"""The abbreviation, which the package takes for the end of a sentence."""
FINAL_NO = re.compile(r"\bno\.", re.IGNORECASE)
"""The word at the end of a sentence, which the package reads as "number"; set apart, it does not."""

LONG_NUMBER = re.compile(r"(\d{15})(?=\d)")
"""Its names for powers of a thousand end somewhere; longer numbers are read in parts."""
LONGEST_PHONEMES = 400
"""A step of at most some 20 s of speech, 0.2 s of work. Longer sentences are cut at commas by the package and, where
there are none, between words here: they would hold up every other session."""


class HibariTts:
    """The weights and the dictionary; a text leaves nothing behind."""

    voices: tuple[str, ...] = ("heart",)  # the package knows more, but would download them

    def __init__(self, threads: int = 1) -> None:
        self._hibari = hibari.Hibari(threads=threads)
        if threads > 1:
            # the package opens its session with a pool that spins; with one thread there is no pool
            self._hibari.sess = open_session(Path(self._hibari.model_path), threads)
        # both are otherwise loaded by the first text: 0.5 s that a caller would hear
        _ = self._hibari.g2p.oov
        self.sample_rate_hz: int = self._hibari.sample_rate

    def speak(self, text: str, voice: str, speed: float) -> Iterator[PCM]:
        """Speak `text` at 24 kHz, a sentence at a time; yields nothing when it holds nothing to pronounce.

        `speed` is 0.25 to 1.5. The silence that the model puts in front of each sentence (0.16 to 0.33 s) is cut,
        the one behind it shortened.

        Raises:
            ValueError: an unknown voice.
        """
        if voice not in self.voices:
            raise ValueError(f"no voice {voice!r}; there is {', '.join(self.voices)}")
        noise = np.random.default_rng(SEED)
        for phonemes in self._phonemes(text):
            if not any(phoneme.isalpha() for phoneme in phonemes):
                continue  # lone punctuation comes out as a gasp
            audio = self._hibari.from_ids(self._hibari.ids(phonemes), speed, noise)
            pause_s = PAUSES_S.get(phonemes.rstrip(' "”’)')[-1], SHORTEST_PAUSE_S) / speed
            trimmed = _trim(audio, self.sample_rate_hz, pause_s)
            if trimmed.size:
                yield trimmed

    def _phonemes(self, text: str) -> Iterator[str]:
        """Phonemes of each sentence, in parts where it is long."""
        readable = FINAL_NO.sub("no .", NUMERO.sub("number ", LONG_NUMBER.sub(r"\1 ", text)))
        for sentence in self._hibari.phonemize(readable):
            yield from textwrap.wrap(sentence, LONGEST_PHONEMES, break_on_hyphens=False)


def _trim(audio: PCM, rate_hz: int, pause_s: float) -> PCM:
    """`audio` from just before its first audible window to `pause_s` behind its last one; empty if silent."""
    first, last = first_audible(audio, rate_hz), last_audible(audio, rate_hz)
    if first is None or last is None:
        return np.zeros(0, dtype=np.float32)
    begin = max(0, first - round(LEAD_S * rate_hz))
    trimmed = audio[begin : last + 1 + round(pause_s * rate_hz)].copy()
    ramp = np.linspace(0.0, 1.0, min(round(FADE_S * rate_hz), trimmed.size), dtype=np.float32)
    trimmed[: ramp.size] *= ramp
    trimmed[trimmed.size - ramp.size :] *= ramp[::-1]
    return trimmed
