"""From logits to an answer: tokens are chosen, text is set free, calls are told from text. Runs no model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from voiceedge.engines import Piece, Prompt, Sampling, Step
from voiceedge.engines.constraint import Grammars
from voiceedge.engines.detokenise import Detokeniser, StopText
from voiceedge.engines.sampling import Sampler
from voiceedge.engines.tool_calls import Calling

TOKENS_TO_CLOSE = 64
"""A call that is still open when an answer has so many tokens left, or half of its own if that is less, is brought to
its end, in the middle of a string if need be: one that is cut off is worth nothing."""

SHORTEST_CALL = 32
"""Tokens that have to be left for a call to begin after words."""


class Writer:
    """Writes one answer.

    `write` takes the logits behind the last token; then `pending` are the tokens to run next. Where the end of the
    answer sets text free that was held back, it comes as the Piece of the end token; a Message may keep that id or not.

    Calls are chosen greedily and without the repetition penalty, which both are for style and not for facts.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop_tokens: frozenset[int],
        prompt: Prompt,
        sampling: Sampling,
        *,
        limit: int,
        grammars: Grammars,
    ) -> None:
        """Begin an answer to `prompt` of at most `limit` tokens, and of at most `sampling.max_tokens`.

        Raises:
            InvalidTool: calls cannot be held to the tools that must be called.
        """
        self._stop_tokens = stop_tokens
        self._sampler = Sampler(sampling)
        self._words = Detokeniser(tokenizer)
        self._stop = StopText(sampling.stop)
        self._calling = Calling(grammars, prompt) if prompt.tools else None
        self._limit = min(sampling.max_tokens, limit)
        self.pending: list[int] = []
        """Tokens that were chosen and have to be run for the next logits; none when the answer is over. Several
        where a call leaves no choice."""
        self.tokens = 0
        """Length of the answer, without the end token."""
        self.reason: Literal["stop", "length"] = "length"
        """Why the answer is over."""
        self.is_over = self._limit <= 0

    def write(self, logits: NDArray[np.float32]) -> Iterator[Step]:
        """Choose the next token by `logits`, shape [vocabulary], and say what can be said.

        Raises:
            InvalidTool: a call has begun and cannot be held to the tools, or not any further.
        """
        self.pending = []
        calling = self._calling
        if calling is None:
            yield from self._write_text(self._sampler.choose(logits))
            return
        if not calling.is_open:
            may_call = calling.may_call and self._limit - self.tokens >= SHORTEST_CALL
            token = self._sampler.choose(logits, refused=None if may_call else self._nears_call)
            if token in self._stop_tokens or not calling.watch.begins_call(self._words.peek(token)):
                yield from self._write_text(token)
                return
            calling.begin()
        yield from self._write_call(calling, logits)

    def _write_text(self, token: int) -> Iterator[Step]:
        calling = self._calling
        if token in self._stop_tokens:
            self._end("stop")
            rest = self._set_free(token)
            if rest:
                yield Piece(token, rest)
            return
        text = self._words.push(token)
        if calling is not None:
            text = calling.watch.push(token, text)
            if text and calling.has_called:
                self._end("stop")
                return
        self.tokens += 1
        text = self._stop.push(text)
        if self._stop.stopped:
            self._end("stop")
        elif self.tokens == self._limit:
            self._end("length")
            text += self._set_free(token)
        else:
            self.pending = [token]
        yield Piece(token, text)

    def _write_call(self, calling: Calling, logits: NDArray[np.float32]) -> Iterator[Step]:
        left = self._limit - self.tokens
        for token in calling.next(logits, hurry=left <= min(TOKENS_TO_CLOSE, self._limit // 2)):
            self.tokens += 1
            self.pending.append(token)
            yield from calling.read(token, self._words.push(token))
            if self.tokens == self._limit:
                self._end("length")
                break
        calling.end()
        if calling.is_over:
            self._end("stop")

    def _nears_call(self, token: int) -> bool:
        assert self._calling is not None
        return token not in self._stop_tokens and self._calling.watch.nears_call(self._words.peek(token))

    def _set_free(self, token: int) -> str:
        """What was held back when the answer ends with `token`."""
        text = self._words.flush()
        if self._calling is not None:
            text = self._calling.watch.push(token, text) + self._calling.watch.flush()
            text = "" if self._calling.has_called else text
        return self._stop.push(text) + self._stop.flush()

    def _end(self, reason: Literal["stop", "length"]) -> None:
        self.is_over, self.reason, self.pending = True, reason, []
