"""The decoder graph that modelstore/build writes, run on rows of the KV slab."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from voiceedge.engines.kv_slab import KvSlab
from voiceedge.errors import EngineFailed, ModelCorrupt


class DecoderSettings(msgspec.Struct, frozen=True):
    """`llm.json` of a built folder."""

    builder_version: int
    name: str
    family: str
    layers: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context_tokens: int
    """Longest context that the model was trained for."""
    begin_token: int | None
    stop_tokens: tuple[int, ...]
    chat_template: str
    template_words: dict[str, str]


def read_settings(folder: Path) -> DecoderSettings:
    """Settings of the built `folder`."""
    path = folder / "llm.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=DecoderSettings)
    except (OSError, msgspec.DecodeError) as error:
        raise ModelCorrupt(f"{path} cannot be read: {error}") from error


class Lanes:
    """The graph bound to the rows of neighbouring slots: past and present are the same memory, nothing is copied.

    `session.run_with_iobinding` may run for different slots at once; a slot is run by one thread at a time.
    """

    def __init__(self, session: onnxruntime.InferenceSession, slab: KvSlab, slots: range, vocabulary: int) -> None:
        self._session = session
        self._slab = slab  # what is bound is bound by address: keep it alive
        self._shape = (len(slots), vocabulary)
        self._binding = session.io_binding()
        for layer, (keys, values) in enumerate(slab.layers):
            self._bind_rows(f"key_{layer}", keys[slots.start : slots.stop])
            self._bind_rows(f"value_{layer}", values[slots.start : slots.stop])

    def run(self, tokens: list[list[int]], pasts: list[int]) -> NDArray[np.float32]:
        """Put the tokens of each slot into its cache behind so many others.

        Args:
            tokens: as many for every slot; one each unless there is only one slot (GroupQueryAttention's rule).
            pasts: tokens that stand before them, by slot.

        Returns:
            Logits of the token after the last, shape [slots, vocabulary]; the caller's own.

        Raises:
            EngineFailed: onnxruntime raised; rows behind `pasts` are undefined.
        """
        new = len(tokens[0])
        inputs: dict[str, NDArray[np.int32] | NDArray[np.int64]] = {
            "input_ids": np.array(tokens, np.int64),
            "seqlens_k": np.array([past + new - 1 for past in pasts], np.int32),
            "total_sequence_length": np.array(max(pasts) + new, np.int32),
        }
        # own memory, bound by address: the binding's own copies of the outputs would include the whole cache
        logits = np.empty(self._shape, np.float32)
        try:
            for name, array in inputs.items():
                self._binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
            self._binding.bind_output("logits", "cpu", 0, np.float32, logits.shape, logits.ctypes.data)
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise EngineFailed(f"the language model failed: {error}") from error
        return logits

    def _bind_rows(self, name: str, rows: NDArray[np.float32]) -> None:
        address = rows.ctypes.data
        self._binding.bind_input(f"past_{name}", "cpu", 0, np.float32, rows.shape, address)
        self._binding.bind_output(f"present_{name}", "cpu", 0, np.float32, rows.shape, address)


class Lane:
    """The graph bound to one slot."""

    def __init__(self, session: onnxruntime.InferenceSession, slab: KvSlab, slot: int, vocabulary: int) -> None:
        self._lanes = Lanes(session, slab, range(slot, slot + 1), vocabulary)

    def run(self, tokens: list[int], past: int) -> NDArray[np.float32]:
        """Put `tokens` into the cache behind `past` others; logits of the token after the last, shape [vocabulary].

        Raises:
            EngineFailed: onnxruntime raised; rows from `past` on are undefined.
        """
        logits: NDArray[np.float32] = self._lanes.run([tokens], [past])[0]
        return logits
