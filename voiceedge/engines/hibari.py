"""Text-to-speech with hibari: an English voice at 24 kHz, weights and G2P inside its package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import hibari
import numpy as np
from hibari import dsp

from voiceedge.audio.pcm import PCM
from voiceedge.engines.durations import FRAME_S, open_with_durations
from voiceedge.engines.spoken import GOES_ON, JOINT_S, last_words, phonemes_of, worth_hearing

SEED = 0
"""Of the noise in breathy sounds: the same text always sounds the same."""
LONGEST_PHONEMES = 400
"""A step of at most some 20 s of speech, 0.2 s of work; a longer one would hold up every other session. Only where a
sentence is longer than this is it cut, for a whole one has the better melody."""
DURATIONS = "/Clip_output_0"
"""Tensor that holds them in the package's model."""
HOPS_A_FRAME = round(FRAME_S * dsp.SR / dsp.HOP)
"""Columns of the spectrum in one frame of a duration: 2."""
MARGIN_HOPS = 2
"""Half of what one inverse Fourier transform spans: columns that far beside a cut are still heard."""


class HibariTts:
    """The weights and the dictionary; a text leaves nothing behind."""

    voices: tuple[str, ...] = ("heart",)  # the package knows more, but would download them

    def __init__(self, threads: int = 1) -> None:
        self._hibari = hibari.Hibari(threads=1)
        # the package's own session keeps durations to itself, and its pool would spin
        self._hibari.sess = open_with_durations(Path(self._hibari.model_path), DURATIONS, threads)
        # both are otherwise loaded by the first text: 0.5 s that a caller would hear
        _ = self._hibari.g2p.oov
        self.sample_rate_hz: int = self._hibari.sample_rate

    def speak(self, text: str, voice: str, speed: float, *, before: str = "", goes_on: bool = False) -> Iterator[PCM]:
        """Speak `text` at 24 kHz, a sentence at a time; yields nothing when it holds nothing to pronounce.

        `speed` is 0.25 to 1.5. The silence that the model puts in front of each sentence (0.16 to 0.33 s) is cut,
        the one behind it shortened.

        Args:
            text: what is spoken now.
            voice: one of `voices`.
            speed: of speaking.
            before: what of its first sentence was spoken already. The melody goes on from there, and the audio begins
                `JOINT_S` before the joint.
            goes_on: whether the last sentence is unfinished. Its voice does not fall, and the audio ends `JOINT_S`
                behind the joint, without a fade: `audio.joint.Joints` joins it to the next.

        Raises:
            ValueError: an unknown voice.
        """
        if voice not in self.voices:
            raise ValueError(f"no voice {voice!r}; there is {', '.join(self.voices)}")
        noise = np.random.default_rng(SEED)
        begun = last_words(self._parts(before))
        parts = list(self._parts(text))
        for number, phonemes in enumerate(parts):
            left = begun if number == 0 else ""
            right = GOES_ON if goes_on and number == len(parts) - 1 else ""
            audio = self._audio(left, phonemes, right, speed, noise)
            heard = worth_hearing(audio, self.sample_rate_hz, phonemes, speed, is_begun=bool(left), goes_on=bool(right))
            if heard.size:
                yield heard

    def _parts(self, text: str) -> Iterator[str]:
        return phonemes_of(text, self._hibari.g2p, whole=LONGEST_PHONEMES, longest=LONGEST_PHONEMES)

    def _audio(self, left: str, phonemes: str, right: str, speed: float, noise: np.random.Generator) -> PCM:
        """`phonemes` as they sound between `left` and `right`, with `JOINT_S` of those."""
        asked = self._hibari.ids(left + phonemes + right)
        inputs = {"ids": np.asarray([asked], np.int64), "speed": np.asarray([speed], np.float32)}
        *spectrum, durations = self._hibari.sess.run(None, inputs)
        ends = HOPS_A_FRAME * np.cumsum(durations.reshape(-1)).astype(int)
        # the joint is in front of the space, which holds the onset of the next sound
        first = int(ends[self._count(left.rstrip())]) if left else 0
        last = int(ends[self._count(left + phonemes)]) if right else int(ends[-1])
        begin, end = max(0, first - MARGIN_HOPS), min(int(ends[-1]), last + MARGIN_HOPS)
        audio: PCM = dsp.synth(*(layer[0][..., begin:end] for layer in spectrum), noise)
        joint = round(JOINT_S * self.sample_rate_hz)
        start = (first - begin) * dsp.HOP - joint if left else 0
        stop = (last - begin) * dsp.HOP + joint if right else audio.size
        return audio[start:stop]

    def _count(self, phonemes: str) -> int:
        """How many the model takes of them, pads left out."""
        return len(self._hibari.ids(phonemes)) - 2
