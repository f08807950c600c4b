"""The KV cache: one slab a layer, a slot a session, prefixes shared by copying."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from voiceedge.errors import Overloaded

RETRY_AFTER_S = 5
"""A conversation seldom ends sooner; asked for by whoever is told that every slot is taken."""

Rows = NDArray[np.float32]


@dataclass(slots=True)
class Slot:
    """One session's rows. `tokens` always names exactly what the first len(tokens) rows hold."""

    index: int
    tokens: list[int] = field(default_factory=list)


class KvSlab:
    """Keys and values of all slots, float32 [slots, kv heads, capacity, head dim], two arrays a layer.

    The pages of a slot become resident when it is first written to: untouched slots cost nothing. Slots stand
    side by side so that a run of neighbours is one batch to GroupQueryAttention.

    `take`, `give_back` may be called from any thread; a slot's rows belong to whoever has taken it.
    """

    def __init__(self, *, layers: int, slots: int, kv_heads: int, capacity: int, head_dim: int) -> None:
        self.capacity = capacity
        """Tokens a slot can hold."""
        shape = (slots, kv_heads, capacity, head_dim)
        # zeros, not empty: numpy takes both from the same untouched pages, and stale memory could hold NaN,
        # which a masked row would let through as 0 * NaN
        self.layers = [(np.zeros(shape, np.float32), np.zeros(shape, np.float32)) for _ in range(layers)]
        """(keys, values) by layer."""
        self._lock = threading.Lock()
        self._free = list(range(slots))

    def take(self) -> Slot:
        """A free slot, the lowest one: taken slots stay neighbours.

        Raises:
            Overloaded: every slot is taken.
        """
        with self._lock:
            if not self._free:
                raise Overloaded("every slot of the language model is taken", retry_after_s=RETRY_AFTER_S)
            index = min(self._free)
            self._free.remove(index)
        return Slot(index)

    def give_back(self, slot: Slot) -> None:
        """Free `slot`; what it holds is forgotten."""
        slot.tokens.clear()
        with self._lock:
            self._free.append(slot.index)

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


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
