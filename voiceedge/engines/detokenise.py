"""Tokens back to text, one at a time: characters and stop strings may be spread over several tokens."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping

from tokenizers import AddedToken, Tokenizer


def _byte_of_character() -> dict[str, int]:
    """GPT-2's alphabet, in which a byte-level vocabulary is written (openai/gpt-2, encoder.py)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    shifted = (byte for byte in range(256) if byte not in set(plain))
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(shifted)}


BYTE_OF_CHARACTER = _byte_of_character()


def bytes_of(tokenizer: Tokenizer, added: Mapping[int, AddedToken], token: int) -> bytes:
    """UTF-8 that `token` stands for: part of a character, or several; none for padding rows of the output layer.

    `added` is `tokenizer.get_added_tokens_decoder()`, which is too slow to be asked for every token.
    """
    if token in added:
        return added[token].content.encode()
    word = tokenizer.id_to_token(token)
    return b"" if word is None else bytes(BYTE_OF_CHARACTER[character] for character in word)


class Detokeniser:
    """Text of one answer as it grows."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._added = tokenizer.get_added_tokens_decoder()
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """Characters that `token` completes; none while one is unfinished, none for markup."""
        added = self._added.get(token)
        if added is not None:
            return "" if added.special else self._utf8.decode(b"", final=True) + added.content
        return self._utf8.decode(bytes_of(self._tokenizer, self._added, token))

    def peek(self, token: int) -> str:
        """What `push` would give."""
        state = self._utf8.getstate()
        text = self.push(token)
        self._utf8.setstate(state)
        return text

    def flush(self) -> str:
        """What an unfinished character leaves: U+FFFD or nothing."""
        return self._utf8.decode(b"", final=True)


class StopText:
    """Holds text back while it may be the beginning of a stop string."""

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.stopped = False
        """Whether a stop string has come; nothing is let through from then on."""

    def push(self, text: str) -> str:
        """What of the text so far can be said."""
        if self.stopped:
            return ""
        text = self._held + text
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)]
        held = max((overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def flush(self) -> str:
        """What was held back and did not become a stop string after all."""
        held, self._held = self._held, ""
        return held


def overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that `stop` begins with."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
