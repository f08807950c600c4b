"""What is fuzzed: a parser, fed with bytes, and what may come out of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeVar

T = TypeVar("T")

MAX_BYTES = 4096
"""Of an input, where a target does not say: every parser's branches are reached with less."""


@dataclass(frozen=True, slots=True)
class Target:
    """One parser.

    `run` takes any bytes; it returns, or raises one of `refusals`: the errors that the parser's own documentation
    names. Anything else is a bug, and so is taking longer than `limit_s`.
    """

    name: str
    run: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...] = ()
    seeds: tuple[bytes, ...] = ()
    """Inputs that it takes, from which others are made."""
    words: tuple[str, ...] = ()
    """What stands in inputs and is not found by chance."""
    max_bytes: int = MAX_BYTES
    takes_seeds: bool = True
    """Whether it takes any of them: what nobody can forge it must not."""
    limit_s: float = 0.5
    """Processor time of one input, without instrumentation."""


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that has nothing to wait for: a loop would cost more than the parser."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise AssertionError("it waits for something")


class Page:
    """A file for parsers that take a path: in memory, written anew for each input."""

    def __init__(self, name: str) -> None:
        memory = Path("/dev/shm")
        self.path = Path(mkdtemp(prefix="voiceedge-fuzz-", dir=memory if memory.is_dir() else None)) / name

    def of(self, data: bytes) -> Path:
        """The file with this in it."""
        self.path.write_bytes(data)
        return self.path


# ── JSON that is nearly right ─────────────────────────────────────────────────────────────────────────────


class Bytes:
    """Decisions, taken from an input a byte at a time; 0 when it has come to its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to decide by."""
        return self._at >= len(self._data)

    def below(self, limit: int) -> int:
        """A number from 0 up to `limit`, which is 256 at most."""
        self._at += 1
        return 0 if self._at > len(self._data) else self._data[self._at - 1] % limit

    def one_of(self, choices: Sequence[T]) -> T:
        """One of them."""
        if len(choices) > 256:  # a byte more decides where among them
            begin = self.below(-(-len(choices) // 256)) * 256
            choices = choices[begin : begin + 256]
        return choices[self.below(len(choices))]

    def text(self) -> str:
        """Some of the input as text."""
        size = self.below(64)
        raw = self._data[self._at : self._at + size]
        self._at += size
        return raw.decode("utf-8", "replace")


ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 255, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, 0.5, -0.0, 1e308,
    -1e308, 1e-300, "", " ", "a", "\u0000", "é", "\U0001f600", "\ufeff", "null", "inf", "1", "x" * 600, [], {}, [[]],
    [{}], {"": None}, {"type": None}, [None], "\u2028", "-1", "..", "#", "%", "$ref", "\ud800", "\\", '"', "`$.x`",
)  # fmt: skip
"""Values that something once stumbled over."""
_DEEP = 120


def edited(examples: Sequence[Any], words: Sequence[str], data: bytes) -> Any:
    """One of `examples`, decoded JSON, with as many changes as `data` has bytes for.

    A change takes a path through what is there and, at its end, replaces a value, leaves out or adds one, or repeats
    one. So nearly all of the value stays well-formed, and what is wrong with it can be anywhere.
    """
    choices = Bytes(data)
    value = copy.deepcopy(choices.one_of(examples))
    while not choices.is_over:
        value = _changed(value, choices, words, 0)
    return value


def edited_json(examples: Sequence[Any], words: Sequence[str], data: bytes) -> bytes:
    """The same as a message."""
    return json.dumps(edited(examples, words, data)).encode()


def _changed(value: Any, choices: Bytes, words: Sequence[str], depth: int) -> Any:
    goes_on = choices.below(4) > 0
    if goes_on and isinstance(value, dict) and value and depth < _DEEP:
        key = choices.one_of(list(value))
        return {**value, key: _changed(value[key], choices, words, depth + 1)}
    if goes_on and isinstance(value, list) and value and depth < _DEEP:
        place = choices.below(min(len(value), 256))
        return [*value[:place], _changed(value[place], choices, words, depth + 1), *value[place + 1 :]]
    kind = choices.below(5)
    if isinstance(value, dict) and kind == 0:
        gone = choices.one_of(list(value)) if value else ""
        return {key: inner for key, inner in value.items() if key != gone}
    if isinstance(value, dict) and kind == 1:
        return {**value, choices.one_of(words) if words else choices.text(): _new(choices, words)}
    if isinstance(value, list) and kind <= 1:
        return [*value, *([value[-1]] if value and kind else [_new(choices, words)])]
    if kind == 2:
        return [value] if choices.below(2) else {choices.one_of(words) if words else choices.text(): value}
    return _new(choices, words)


def _new(choices: Bytes, words: Sequence[str]) -> Any:
    kind = choices.below(8)
    if kind < 3:
        return choices.one_of(ODD)
    if kind == 3 and words:
        return choices.one_of(words)
    if kind == 4:
        return choices.text()
    if kind == 5:
        return [_new(choices, words) for _ in range(choices.below(4))] if not choices.is_over else []
    if kind == 6 and words and not choices.is_over:
        return {choices.one_of(words): _new(choices, words) for _ in range(choices.below(4))}
    return choices.below(256) * choices.one_of((1, -1, 100, 0.01, 2**32, 2**60))
