"""What both ways to decode have in common, and the one that CTranslate2 brings along."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

import ctranslate2
import numpy as np
from numpy.typing import NDArray

Encoded = NDArray[np.float32]
"""What the encoder made of audio, shape [1, places, width]; a place is 20 ms."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Words as token ids, and how sure the decoder is of them."""

    tokens: tuple[int, ...]
    mean_log_probability: float
    """Over the tokens and the end."""
    no_speech_probability: float
    believed: int = 0
    """How many of the tokens were known before and did not have to be decoded."""
    marked: float | None = None
    """Probability of a final mark behind the last word; None: it is not looked at."""


class Decoder(Protocol):
    """Finds the words in what the encoder made of audio. Greedy: at every place the most probable token."""

    def decode(self, encoded: Encoded, places: int, known: Sequence[int], most: int) -> Generator[None, None, Decoded]:
        """Decode `encoded`, followed by silence up to `places` in all; may stop for a moment at each `yield`.

        Args:
            encoded: of the audio.
            places: at most those of 30 s.
            known: tokens that may well come out; they never change what does.
            most: tokens at which it stops.
        """
        ...


def followed_by_silence(encoded: Encoded, silence: Encoded, places: int) -> Encoded:
    """`encoded` up to `places` in all; silence has places in time as well: take what lies behind."""
    return np.concatenate([encoded, silence[:, encoded.shape[1] : places]], axis=1)


class CTranslate2Decoder:
    """Decodes with CTranslate2: a token at a time, so that nothing is gained by knowing some.

    (`align` passes over known tokens at once, but gives only their probabilities. They decide nothing: docs/words.md.)
    """

    def __init__(self, model: ctranslate2.models.Whisper, prompt: Sequence[int], silence: Encoded) -> None:
        self._model = model
        self._prompt = list(prompt)
        self._silence = silence

    def decode(self, encoded: Encoded, places: int, known: Sequence[int], most: int) -> Generator[None, None, Decoded]:
        """As `Decoder` says, without a stop; `known` is not used."""
        yield from ()
        del known
        features = followed_by_silence(encoded, self._silence, places)
        (result,) = self._model.generate(
            ctranslate2.StorageView.from_array(features),
            [self._prompt],
            beam_size=1,
            # CTranslate2 decodes half of `max_length` tokens, as openai/whisper does
            max_length=2 * most,
            return_scores=True,
            return_no_speech_prob=True,
        )
        tokens = tuple(result.sequences_ids[0])
        # the score is the mean over the tokens of a sum that also counts the end token
        mean = result.scores[0] * len(tokens) / (len(tokens) + 1)
        return Decoded(tokens, mean, result.no_speech_prob)
