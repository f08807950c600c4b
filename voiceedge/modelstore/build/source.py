"""What a GGUF file says about a model: its shape, its numbers, its words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from voiceedge.errors import ConfigError
from voiceedge.modelstore.build.header import require_sound

FAMILIES = ("llama", "qwen2")
"""Values of `general.architecture` that the graph is known to be right for."""

RANGED_TYPES = ("Q4_1", "Q5_1", "Q2_K", "Q4_K", "Q5_K")
"""GGUF types whose blocks have a minimum beside their scale; the others lie evenly about zero."""

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Architecture:
    """The numbers that fix a decoder's graph."""

    family: str
    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context_tokens: int
    """Longest context that the model was trained for."""
    rope_base: float
    epsilon: float
    """Of RMSNorm."""


class Source:
    """An opened GGUF file."""

    def __init__(self, path: Path) -> None:
        try:
            require_sound(path)
            self._reader = gguf.GGUFReader(path)
            self.path = path
            self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}
            self.architecture = self._read_architecture()
        except (OSError, ValueError, IndexError) as error:  # also of text that is none
            raise ConfigError(f"{path} cannot be read as a GGUF file: {error}") from error

    def field(self, name: str, default: Any = None) -> Any:
        """Value of a metadata field, `default` where the file has none.

        Raises:
            ConfigError: it cannot be read.
        """
        found = self._reader.get_field(name)
        try:
            return default if found is None else found.contents()
        except ValueError as error:
            raise ConfigError(f"{self.path} has a field {name} that is no text: {error}") from error

    def has(self, tensor: str) -> bool:
        """Whether the file holds `tensor`."""
        return tensor in self._tensors

    def rows(self, name: str) -> int:
        """Output features of the weight `name`."""
        return int(self._tensor(name).shape[-1])

    def is_ranged(self, name: str) -> bool:
        """Whether the blocks of the weight `name` have a range of their own, not one about zero."""
        return self._tensor(name).tensor_type.name in RANGED_TYPES

    def vector(self, name: str) -> Float32:
        """A one-dimensional tensor, float32."""
        tensor = self._tensor(name)
        return np.asarray(gguf.dequantize(tensor.data, tensor.tensor_type), np.float32).reshape(-1)

    def matrix(self, name: str) -> Float32:
        """A weight, float32, shape [out features, in features], rows in the file's order."""
        return np.concatenate(list(self.blocks_of_rows(name)))

    def blocks_of_rows(self, name: str, rows: int = 16_384) -> Iterator[Float32]:
        """The weight `name` in runs of at most `rows` rows: an embedding alone can be 544 MB in float32."""
        tensor = self._tensor(name)
        total = int(tensor.shape[-1])
        for begin in range(0, total, rows):
            run = gguf.dequantize(tensor.data[begin : begin + rows], tensor.tensor_type)
            yield np.asarray(run, np.float32)

    def _tensor(self, name: str) -> gguf.ReaderTensor:
        if name not in self._tensors:
            raise ConfigError(f"{self.path} lacks the tensor {name}")
        return self._tensors[name]

    def _read_architecture(self) -> Architecture:
        family = self.field("general.architecture")
        if family not in FAMILIES:
            raise ConfigError(f"{self.path} is of the family {family!r}; only {', '.join(FAMILIES)} can be built")
        if self.field(f"{family}.rope.scaling.type", "none") != "none" or self.has("rope_freqs.weight"):
            raise ConfigError(f"{self.path} scales its rotary embedding, which cannot be built yet")
        heads = int(self.field(f"{family}.attention.head_count"))
        hidden = int(self.field(f"{family}.embedding_length"))
        return Architecture(
            family=family,
            layers=int(self.field(f"{family}.block_count")),
            hidden=hidden,
            feed_forward=int(self.field(f"{family}.feed_forward_length")),
            heads=heads,
            kv_heads=int(self.field(f"{family}.attention.head_count_kv", heads)),
            head_dim=int(self.field(f"{family}.attention.key_length", hidden // heads)),
            vocabulary=self.rows("token_embd.weight"),
            context_tokens=int(self.field(f"{family}.context_length")),
            rope_base=float(self.field(f"{family}.rope.freq_base", 10_000.0)),
            epsilon=float(self.field(f"{family}.attention.layer_norm_rms_epsilon")),
        )
