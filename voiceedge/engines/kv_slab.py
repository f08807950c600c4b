"""The KV cache: one slab a layer, a slot a session, prefixes shared by copying."""

from __future__ import annotations

import mmap
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import NDArray

from voiceedge.errors import Overloaded

RETRY_AFTER_S = 5
"""A conversation seldom ends sooner; asked for by whoever is told that every slot is taken."""

Rows = NDArray[np.float32]


@dataclass(slots=True, eq=False)
class Slot:
    """One session's rows. `tokens` always names exactly what the first len(tokens) rows hold."""

    index: int
    rows: threading.Lock
    """Held by whoever writes to the rows or changes `tokens`; the same one for all that have ever taken this index.
    A batch of neighbours also writes behind the tokens of those that only stand between."""
    tokens: list[int] = field(default_factory=list)


class KvSlab:
    """Keys and values of all slots, float32 [slots, kv heads, capacity, head dim], two arrays a layer.

    The pages of a slot become resident when it is first written to: untouched slots cost nothing. Slots stand
    side by side so that a run of neighbours is one batch to GroupQueryAttention.

    `take`, `give_back`, `hold` may be called from any thread; a slot's rows belong to whoever has taken it.
    """

    def __init__(self, *, layers: int, slots: int, kv_heads: int, capacity: int, head_dim: int) -> None:
        self.capacity = capacity
        """Tokens a slot can hold."""
        shape = (slots, kv_heads, capacity, head_dim)
        self.layers = [(untouched(shape), untouched(shape)) for _ in range(layers)]
        """(keys, values) by layer."""
        self._lock = threading.Lock()
        self._rows = [threading.Lock() for _ in range(slots)]
        self._taken: dict[int, Slot] = {}

    def take(self) -> Slot:
        """A free slot, the lowest one: taken slots stay neighbours.

        Raises:
            Overloaded: every slot is taken.
        """
        with self._lock:
            if len(self._taken) == len(self._rows):
                raise Overloaded("every slot of the language model is taken", retry_after_s=RETRY_AFTER_S)
            index = next(index for index in range(len(self._rows)) if index not in self._taken)
            slot = self._taken[index] = Slot(index, self._rows[index])
        return slot

    def give_back(self, slot: Slot) -> None:
        """Free `slot`; what it holds is forgotten. A batch may still be writing to the rows: the lock stays its own."""
        with self._lock:
            del self._taken[slot.index]

    def hold(self, index: int) -> int | None:
        """Lock the rows of a slot, whoever has it, if that can be done at once; `release` gives them back.

        Returns:
            How many tokens stand in it, where a row behind them is free to be written to; else None, and nothing
            is locked.
        """
        if not self._rows[index].acquire(blocking=False):
            return None
        with self._lock:
            slot = self._taken.get(index)
            tokens = len(slot.tokens) if slot is not None else 0
        if tokens < self.capacity:
            return tokens
        self.release(index)
        return None

    def release(self, index: int) -> None:
        """Give the rows of a slot back that `hold` has locked."""
        self._rows[index].release()

    def copy_out(self, slot: Slot, tokens: int) -> list[tuple[Rows, Rows]]:
        """Copies of the first `tokens` rows: [kv heads, tokens, head dim], keys and values by layer."""
        rows = np.s_[slot.index, :, :tokens]
        return [(keys[rows].copy(), values[rows].copy()) for keys, values in self.layers]

    def copy_in(self, slot: Slot, prefix: Prefix, tokens: int) -> None:
        """Begin `slot` with the first `tokens` rows of `prefix`."""
        slot.tokens.clear()
        for (keys, values), (new_keys, new_values) in zip(self.layers, prefix.layers, strict=True):
            keys[slot.index, :, :tokens] = new_keys[:, :tokens]
            values[slot.index, :, :tokens] = new_values[:, :tokens]
        slot.tokens.extend(prefix.tokens[:tokens])


@dataclass(frozen=True, slots=True)
class Prefix:
    """A prompt's beginning and what it left in the cache."""

    tokens: tuple[int, ...]
    layers: list[tuple[Rows, Rows]]
    """[kv heads, len(tokens), head dim], keys and values by layer."""


class PrefixCache:
    """The beginnings (instructions and tools) that sessions share; at most `limit`, the longest unused goes.

    May be called from any thread: a prefix is never changed once it is in.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._prefixes: OrderedDict[tuple[int, ...], Prefix] = OrderedDict()

    def __contains__(self, tokens: Sequence[int]) -> bool:
        with self._lock:
            return tuple(tokens) in self._prefixes

    def add(self, prefix: Prefix) -> None:
        """Keep `prefix`, in place of the one that was not used for longest when full."""
        with self._lock:
            self._prefixes[prefix.tokens] = prefix
            self._prefixes.move_to_end(prefix.tokens)
            while len(self._prefixes) > self._limit:
                self._prefixes.popitem(last=False)

    def clear(self) -> None:
        """Keep none."""
        with self._lock:
            self._prefixes.clear()

    def longest(self, tokens: Sequence[int]) -> tuple[Prefix | None, int]:
        """The prefix that shares the most tokens with `tokens`, and how many."""
        with self._lock:
            best, shared = None, 0
            for prefix in self._prefixes.values():
                if (common := common_length(prefix.tokens, tokens)) > shared:
                    best, shared = prefix, common
            if best is not None:
                self._prefixes.move_to_end(best.tokens)
            return best, shared


def untouched(shape: tuple[int, ...]) -> Rows:
    """Zeros, float32, of which memory is taken in small pages as they are written to.

    Zeros, for stale memory could hold NaN, which a masked row would let through as 0 * NaN. And not numpy's: it asks
    for huge pages, and the first tokens of a slot, which lie in as many places as there are layers and heads, then make
    nearly all of it resident: 120 MB instead of 4, and a first step of 400 ms instead of 45 (SmolLM2-135M, 2,048
    tokens).
    """
    size = prod(shape) * np.dtype(np.float32).itemsize
    if sys.platform == "win32":
        memory = mmap.mmap(-1, size)
    else:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if sys.platform == "linux":
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, np.float32).reshape(shape)


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
