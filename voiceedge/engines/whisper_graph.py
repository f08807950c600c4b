"""Decodes with the graphs that modelstore/build makes of Whisper's decoder.

What they bring over CTranslate2: known tokens are checked all at once and decoding goes on behind the last right one,
with the same words as if nothing had been known; and the keys and values of silence, which are behind every
utterance, are worked out once.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voiceedge.engines.onnx_session import open_session
from voiceedge.engines.whisper_decoding import Decoded, Encoded
from voiceedge.errors import ModelCorrupt

TOKENS_A_STEP = 12
"""Decoded without a stop: 31 (tiny.en) and 66 ms (base) on one core of a Zen 5, what a chunk of the language model's
prefill takes. An utterance of 29 s has some fifty."""

Cache = list[NDArray[np.float32]]
"""Keys and values of the tokens so far, [1, heads, tokens, head], layer by layer."""
Audio = dict[str, NDArray[np.float32]]
"""Keys and values of the audio by the name of the decoder's input."""


@dataclass(frozen=True, slots=True)
class Words:
    """What a decoder must know of its vocabulary."""

    prompt: tuple[int, ...]
    """Tokens that every text begins with, the start first."""
    end: int
    no_speech: int
    suppressed: tuple[int, ...]
    """Tokens that are never said: brackets, notes and the like."""
    suppressed_first: tuple[int, ...]
    """Tokens that are not said first: the end, a space."""
    marks: frozenset[int] = frozenset()
    """Tokens without a letter or a digit."""
    final_marks: tuple[int, ...] = ()
    """Those of them that end a sentence."""


class GraphDecoder:
    """Both graphs, the vocabulary, and silence; an utterance leaves nothing behind."""

    def __init__(self, folder: Path, words: Words, silence: Encoded, threads: int = 1) -> None:
        """Load what was built into `folder`; `silence` is what the encoder makes of 30 s of it.

        Raises:
            ModelMissing: a graph is missing.
            ModelCorrupt: one cannot be loaded, or does not belong to the vocabulary.
        """
        self._decoder = open_session(folder / "decoder.onnx", threads)
        self._audio = open_session(folder / "audio.onnx", threads)
        self._words = words
        self._outputs = [output.name for output in self._decoder.get_outputs()]
        shapes = {put.name: put.shape for put in (*self._decoder.get_inputs(), *self._decoder.get_outputs())}
        vocabulary, width = shapes["logits"][2], self._audio.get_inputs()[0].shape[2]
        if width != silence.shape[2] or vocabulary <= max(words.end, words.no_speech, *words.suppressed):
            raise ModelCorrupt(f"{folder} was built from another model: of width {width}, with {vocabulary} tokens")
        heads, head = shapes["past_key_0"][1], shapes["past_key_0"][3]
        self._nothing = [np.zeros((1, heads, 0, head), np.float32) for _ in self._outputs[1:]]
        self._later = np.zeros(vocabulary, np.float32)
        # what lies behind the end are marks of time and the like: without timestamps they are no words
        self._later[[*words.suppressed, *range(words.end + 1, vocabulary)]] = -np.inf
        self._first = self._later.copy()
        self._first[list(words.suppressed_first)] = -np.inf
        self._silence = self._keys_and_values(silence)

    def decode(self, encoded: Encoded, places: int, known: Sequence[int], most: int) -> Generator[None, None, Decoded]:
        """As `Decoder` says: right ones of `known` cost next to nothing."""
        words = self._words
        known = known[:most]
        audio = self._followed_by_silence(encoded, places)
        logits, cache = self._step([*words.prompt, *known], self._nothing, audio)
        no_speech = float(np.exp(_log_probability(logits[0], words.no_speech)))
        rows = logits[len(words.prompt) - 1 :]
        rows[0] += self._first
        rows[1:] += self._later
        choices = rows.argmax(axis=1)
        # up to the first wrong one; its row says what is right there
        believed = next((i for i, token in enumerate(known) if choices[i] != token), len(known))
        tokens, choice = list(known[:believed]), int(choices[believed])
        total = sum(_log_probability(rows[i], int(choices[i])) for i in range(believed + 1))
        last_word = next((i for i in reversed(range(believed)) if known[i] not in words.marks), -1)
        behind = rows[last_word + 1]  # what may come behind the last word
        cache = [kept[:, :, : len(words.prompt) + believed] for kept in cache]
        while choice != words.end and len(tokens) < most:
            tokens.append(choice)
            if (len(tokens) - believed) % TOKENS_A_STEP == 0:
                yield
            logits, cache = self._step([choice], cache, audio)
            row = logits[0]
            row += self._later
            if tokens[-1] not in words.marks:
                behind = row
            choice = int(row.argmax())
            total += _log_probability(row, choice)
        marked = _probability(behind, words.final_marks)
        return Decoded(tuple(tokens), total / (len(tokens) + 1), no_speech, believed, marked)

    def _step(self, tokens: list[int], cache: Cache, audio: Audio) -> tuple[NDArray[np.float32], Cache]:
        """Logits of `tokens` behind those in the cache, shape [tokens, vocabulary], and the cache with them."""
        new, past = len(tokens), cache[0].shape[2]
        mask = np.zeros((new, past + new), np.float32)
        if new > 1:
            mask[:, past:][np.triu_indices(new, 1)] = -np.inf
        inputs = {
            "tokens": np.array([tokens], np.int64),
            "positions": np.arange(past, past + new),
            "mask": mask,
            **{f"past_{name}": kept for name, kept in zip(self._outputs[1:], cache, strict=True)},
            **audio,
        }
        logits, *cache = self._decoder.run(self._outputs, inputs)
        return logits[0], cache

    def _followed_by_silence(self, encoded: Encoded, places: int) -> Audio:
        """Keys and values of `encoded`, then those of silence up to `places` in all."""
        begin = encoded.shape[1]
        joined = {}
        for name, own in self._keys_and_values(encoded).items():
            # keys have their places last, values one before
            axis = 3 if "key" in name else 2
            behind = (
                self._silence[name][:, :, :, begin:places] if axis == 3 else self._silence[name][:, :, begin:places]
            )
            joined[name] = np.concatenate([own, behind], axis=axis)
        return joined

    def _keys_and_values(self, encoded: Encoded) -> Audio:
        names = [output.name for output in self._audio.get_outputs()]
        return dict(zip(names, self._audio.run(names, {"encoded": encoded}), strict=True))


def _log_probability(logits: NDArray[np.float32], token: int) -> float:
    """Of one token, given the logits of all, shape [vocabulary]."""
    highest = logits.max()
    return float(logits[token] - highest - np.log(np.exp(logits - highest).sum()))


def _probability(logits: NDArray[np.float32], tokens: Sequence[int]) -> float:
    """Of any of some tokens, given the logits of all, shape [vocabulary]."""
    odds = np.exp(logits - logits.max())
    return float(odds[list(tokens)].sum() / odds.sum())
