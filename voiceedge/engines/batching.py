"""Decoding of several answers in one run of the model: neighbouring slots are a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from voiceedge.engines.decoder import Lanes
from voiceedge.engines.kv_slab import KvSlab, Slot

LARGEST_BATCH = 8
"""Rows of one run. So many take no longer than a chunk of prefill: 22 (SmolLM2-135M) and 38 ms (Qwen2.5-0.5B) with two
threads, on a Zen 5. That is what a more urgent session may have to wait."""
WIDEST_GAP = 3
"""Slots between two members that may be run for nothing. Each costs a quarter of what a row alone costs, so that more
of them would be dearer than a run for the next member alone."""
IDLE_TOKEN = 0
"""What is run for a slot that only stands between; the row it leaves lies behind the slot's tokens."""
BINDINGS = 64
"""Runs of slots whose bindings are kept; making one takes 2 ms."""


@dataclass(slots=True, eq=False)
class TokenRow:
    """The run of one token that an answer needs to go on."""

    model: Batching
    slot: Slot
    token: int
    logits: NDArray[np.float32] | None = None
    """Shape [vocabulary], once a batch has run it."""

    def batch(self, others: Sequence[TokenRow]) -> SlotBatch | None:
        """Reserve one run for this row and those of `others`, the most urgent first, that can go with it."""
        return self.model.reserve(self, others)


class SlotBatch:
    """One run for the rows of several answers. Their slots are locked from its making to the end of `run`."""

    def __init__(self, rows: Sequence[TokenRow], pasts: dict[int, int], model: Batching) -> None:
        self.rows = rows
        """The members."""
        self._pasts = pasts  # by slot, of all from the first to the last
        self._model = model

    def run(self) -> None:
        """Run the model; each row then has its logits.

        Raises:
            EngineFailed: onnxruntime raised; every slot is as it was.
        """
        slots = sorted(self._pasts)
        tokens = dict.fromkeys(slots, IDLE_TOKEN) | {row.slot.index: row.token for row in self.rows}
        try:
            lanes = self._model.lanes(slots[0], len(slots))
            logits = lanes.run([[tokens[slot]] for slot in slots], [self._pasts[slot] for slot in slots])
            for row in self.rows:
                row.slot.tokens.append(row.token)
                row.logits = logits[row.slot.index - slots[0]]
        finally:
            for slot in slots:
                self._model.slab.release(slot)


class Batching:
    """Which rows of one model can share a run.

    GroupQueryAttention takes a run of neighbouring slots. One that stands between two members is run as well, one row
    behind its tokens, where nothing is kept; it is locked like theirs, so that nobody writes there meanwhile.
    """

    def __init__(self, session: onnxruntime.InferenceSession, slab: KvSlab, vocabulary: int) -> None:
        self.slab = slab
        self.lanes: Callable[[int, int], Lanes] = lru_cache(BINDINGS)(
            lambda first, count: Lanes(session, slab, range(first, first + count), vocabulary)
        )
        """The graph bound to so many slots from a first one on; used by whoever has locked them."""

    def reserve(self, first: TokenRow, others: Sequence[TokenRow]) -> SlotBatch | None:
        """Lock the slots of a batch with `first` and as many of `others` as fit; None when nobody can join it.

        Never blocks. Whoever's slot is locked by another run is left out, and what lies behind it.
        """
        waiting = {row.slot.index: row for row in (first, *others)}
        pasts: dict[int, int] = {}
        if not self._extend(pasts, range(first.slot.index, first.slot.index + 1)):
            return None
        above = [index for index in sorted(waiting) if index > first.slot.index]
        below = [index for index in sorted(waiting, reverse=True) if index < first.slot.index]
        for index in above:
            if not self._extend(pasts, range(max(pasts) + 1, index + 1)):
                break
        for index in below:
            if not self._extend(pasts, range(index, min(pasts))):
                break
        if len(pasts) == 1:
            self.slab.release(first.slot.index)
            return None
        return SlotBatch([row for index, row in waiting.items() if index in pasts], pasts, self)

    def _extend(self, pasts: dict[int, int], slots: range) -> bool:
        """Lock `slots` as well, all or none of them."""
        if len(slots) > WIDEST_GAP + 1 or len(pasts) + len(slots) > LARGEST_BATCH:
            return False
        held: dict[int, int] = {}
        for slot in slots:
            past = self.slab.hold(slot)
            if past is None:
                for each in held:
                    self.slab.release(each)
                return False
            held[slot] = past
        pasts.update(held)
        return True
