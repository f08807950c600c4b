"""From logits to an answer: tokens are chosen, text is set free, the end is found. Runs no model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from voiceedge.engines import Piece, Prompt, Sampling, Step
from voiceedge.engines.detokenise import Detokeniser, StopText
from voiceedge.engines.sampling import Sampler


class Writer:
    """Writes one answer.

    `write` takes the logits behind the last token; then `pending` are the tokens to run next. Where the end of the
    answer sets text free that was held back, it comes as the Piece of the end token; a Message may keep that id or not.
    """

    def __init__(
        self, tokenizer: Tokenizer, stop_tokens: frozenset[int], prompt: Prompt, sampling: Sampling, *, limit: int
    ) -> None:
        """Begin an answer to `prompt` of at most `limit` tokens, and of at most `sampling.max_tokens`."""
        del prompt
        self._stop_tokens = stop_tokens
        self._sampler = Sampler(sampling)
        self._words = Detokeniser(tokenizer)
        self._stop = StopText(sampling.stop)
        self._limit = min(sampling.max_tokens, limit)
        self.pending: list[int] = []
        """Tokens that were chosen and have to be run for the next logits; none when the answer is over."""
        self.tokens = 0
        """Length of the answer, without the end token."""
        self.reason: Literal["stop", "length"] = "length"
        """Why the answer is over."""
        self.is_over = self._limit <= 0

    def write(self, logits: NDArray[np.float32]) -> Iterator[Step]:
        """Choose the next token by `logits`, shape [vocabulary], and say what can be said."""
        token = self._sampler.choose(logits)
        self.pending = []
        if token in self._stop_tokens:
            self._end("stop")
            rest = self._stop.push(self._words.flush()) + self._stop.flush()
            if rest:
                yield Piece(token, rest)
            return
        self.tokens += 1
        text = self._stop.push(self._words.push(token))
        if self._stop.stopped:
            self._end("stop")
        elif self.tokens == self._limit:
            self._end("length")
            text += self._stop.push(self._words.flush()) + self._stop.flush()
        else:
            self.pending = [token]
        yield Piece(token, text)

    def _end(self, reason: Literal["stop", "length"]) -> None:
        self.is_over, self.reason = True, reason
