"""Text-to-speech with Kokoro-82M: many English voices at 24 kHz, fifty times the work of hibari.

Phonemes come from hibari's G2P. Its alphabet and the numbers of its phonemes are Kokoro's own (`vocab` in the
config.json of hexgrad/Kokoro-82M, 114 entries): hibari is distilled from this model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import hibari
import numpy as np
from hibari.g2p import G2P
from numpy.typing import NDArray

from voiceedge.audio.pcm import PCM
from voiceedge.engines.durations import FRAME_S, open_with_durations
from voiceedge.engines.spoken import GOES_ON, JOINT_S, last_words, phonemes_of, worth_hearing
from voiceedge.errors import ModelCorrupt, ModelMissing

VOCABULARY = Path(hibari.__file__).parent / "assets" / "vocab.json"
DURATIONS = "/encoder/Clip_output_0"
"""Tensor of the graph that holds how long each phoneme is spoken."""
PAD = 0
"""Stands at both ends of the tokens."""
STYLE_SHAPE = (510, 1, 256)
"""A voice: how it sounds when it speaks n phonemes, for every n that the model takes."""
BRITISH = ("bf_", "bm_")
"""Names of British voices begin so; the others speak American English."""

WHOLE_PHONEMES = 60
"""Some 4 s of speech. A longer sentence is cut at its clauses: making a second of speech takes half a second, so the
listener would wait for the end of a long sentence, and so would every other session."""
LONGEST_PHONEMES = 150
"""A step of at most some 10 s of speech, where no clause ends before."""


class KokoroTts:
    """The weights and the voices; a text leaves nothing behind."""

    sample_rate_hz = 24_000

    def __init__(self, model: Path, voices: Mapping[str, Path], threads: int = 1) -> None:
        """Load `model` and `voices`, by the names that clients ask for; the first is the default.

        Raises:
            ModelMissing: a file is missing, or there are no voices.
            ModelCorrupt: a file is not what it should be.
        """
        if not voices:
            raise ModelMissing(f"{model} has no voices")
        self.voices: tuple[str, ...] = tuple(voices)
        self._styles = {name: read_voice(path) for name, path in voices.items()}
        self._session = open_with_durations(model, DURATIONS, threads)
        self._ids: dict[str, int] = json.loads(VOCABULARY.read_text(encoding="utf-8"))
        self._g2p = _g2p_by_accent(self.voices)

    def speak(self, text: str, voice: str, speed: float, *, before: str = "", goes_on: bool = False) -> Iterator[PCM]:
        """Speak `text` at 24 kHz, a clause or a short sentence at a time; nothing comes of unpronounceable text.

        `speed` is 0.25 to 1.5. The silence that the model puts in front (0.3 to 0.4 s) is cut, the one behind
        shortened. `before` and `goes_on` are as in `HibariTts.speak`.

        Raises:
            ValueError: an unknown voice.
        """
        if voice not in self._styles:
            raise ValueError(f"no voice {voice!r}; there is {', '.join(self.voices)}")
        style = self._styles[voice]
        g2p = self._g2p[voice.startswith(BRITISH)]
        begun = last_words(phonemes_of(before, g2p, whole=WHOLE_PHONEMES, longest=LONGEST_PHONEMES))
        parts = list(phonemes_of(text, g2p, whole=WHOLE_PHONEMES, longest=LONGEST_PHONEMES))
        for number, phonemes in enumerate(parts):
            left = begun if number == 0 else ""
            right = GOES_ON if goes_on and number == len(parts) - 1 else ""
            if not self._tokens(phonemes):
                continue
            audio = self._audio(left, phonemes, right, style, speed)
            heard = worth_hearing(audio, self.sample_rate_hz, phonemes, speed, is_begun=bool(left), goes_on=bool(right))
            if heard.size:
                yield heard

    def _audio(self, left: str, phonemes: str, right: str, style: NDArray[np.float32], speed: float) -> PCM:
        """`phonemes` as they sound between `left` and `right`, with `JOINT_S` of those."""
        tokens = self._tokens(left + phonemes + right)
        inputs = {
            "tokens": np.asarray([[PAD, *tokens, PAD]], np.int64),
            "style": style[len(tokens)],
            "speed": np.asarray([speed], np.float32),
        }
        spoken, durations = self._session.run(["audio", DURATIONS], inputs)
        audio: PCM = np.clip(np.asarray(spoken, np.float32).reshape(-1), -1.0, 1.0)
        ends = round(FRAME_S * self.sample_rate_hz) * np.cumsum(durations.reshape(-1)).astype(int)
        joint = round(JOINT_S * self.sample_rate_hz)
        start = int(ends[len(self._tokens(left.rstrip()))]) - joint if left else 0
        stop = int(ends[len(self._tokens(left + phonemes))]) + joint if right else audio.size
        return audio[start:stop]

    def _tokens(self, phonemes: str) -> list[int]:
        return [self._ids[phoneme] for phoneme in phonemes if phoneme in self._ids]


def read_voice(path: Path) -> NDArray[np.float32]:
    """A voice's styles, shape [510, 1, 256].

    Raises:
        ModelMissing: no such file.
        ModelCorrupt: it is not float32 of that shape, or not finite.
    """
    if not path.is_file():
        raise ModelMissing(f"{path} is missing")
    size = path.stat().st_size
    expected = 4 * int(np.prod(STYLE_SHAPE))
    if size != expected:
        raise ModelCorrupt(f"{path} has {size} bytes; a Kokoro voice, float32 {list(STYLE_SHAPE)}, has {expected}")
    style = np.fromfile(path, dtype="<f4").reshape(STYLE_SHAPE)
    if not np.isfinite(style).all():
        raise ModelCorrupt(f"{path} is no Kokoro voice: some of its numbers are not finite")
    return style


def _g2p_by_accent(voices: Sequence[str]) -> dict[bool, G2P]:
    """The G2P of each accent that `voices` have, by whether it is British."""
    g2p = {british: G2P(british=british) for british in {voice.startswith(BRITISH) for voice in voices}}
    for each in g2p.values():
        _ = each.oov  # otherwise loaded by the first unknown word, while a caller waits
    return g2p
