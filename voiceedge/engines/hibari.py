"""Text-to-speech with hibari: an English voice at 24 kHz, weights and G2P inside its package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hibari
import numpy as np

from voiceedge.audio.pcm import PCM
from voiceedge.engines.onnx_session import open_session
from voiceedge.engines.spoken import phonemes_of, worth_hearing

SEED = 0
"""Of the noise in breathy sounds: the same text always sounds the same."""
LONGEST_PHONEMES = 400
"""A step of at most some 20 s of speech, 0.2 s of work; a longer one would hold up every other session. Only where a
sentence is longer than this is it cut, for a whole one has the better melody."""


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
        parts = phonemes_of(text, self._hibari.g2p, whole=LONGEST_PHONEMES, longest=LONGEST_PHONEMES)
        for phonemes in parts:
            audio = self._hibari.from_ids(self._hibari.ids(phonemes), speed, noise)
            heard = worth_hearing(audio, self.sample_rate_hz, phonemes, speed)
            if heard.size:
                yield heard
