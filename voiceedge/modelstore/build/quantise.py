"""Weights to 8 bits in blocks, the way onnxruntime's MatMulNBits stores them.

Why not 4 bits: both models arrive quantised to 4 or 5 bits on their makers' grids, and a second rounding to
another 4-bit grid costs more than the first. Measured on the fixed text and 50 questions of
tests/modelstore/build/quality.py: perplexity +27 % (SmolLM2) and +5 % (Qwen2.5) with 4 bits and a zero point,
about +1 % with 8 bits, which nearly hold the file's own steps. The price, measured once on a busy machine: about
a quarter of the decoding speed, at most a tenth of the prefill speed, 50 MB (SmolLM2) and 165 MB (Qwen2.5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BITS = 8
BLOCK = 32
"""Weights that share one scale. GGUF's own blocks are 32 or 16, so no block mixes the scales of many."""
MIDDLE = 2 ** (BITS - 1)
"""The zero point that MatMulNBits takes where none is given."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """A weight [out features, in features] as codes; weight = (code - zero point) * scale."""

    codes: NDArray[np.uint8]
    """[out, in / 32, 32]."""
    scales: NDArray[np.float32]
    """[out, in / 32]."""
    zero_points: NDArray[np.uint8] | None = None
    """[out, in / 32]; None means 128 everywhere."""


def symmetric(weight: NDArray[np.float32]) -> Blocks:
    """Blocks of 127 steps to either side. Weights that GGUF stores as Q8_0 come back exactly."""
    blocks = weight.reshape(weight.shape[0], -1, BLOCK)
    scales = np.abs(blocks).max(axis=2) / np.float32(MIDDLE - 1)
    codes = np.rint(blocks * _inverse(scales)[..., None]) + MIDDLE
    return Blocks(codes.astype(np.uint8), scales)


def ranged(weight: NDArray[np.float32]) -> Blocks:
    """Blocks of 255 steps from the lowest weight to the highest.

    Where GGUF spread 16 steps over the same range (Q4_1, Q4_K), each is 17 of these: all that is lost is the
    rounding of the zero point.
    """
    blocks = weight.reshape(weight.shape[0], -1, BLOCK)
    low = np.minimum(blocks.min(axis=2), 0)  # zero has to be one of the steps
    high = np.maximum(blocks.max(axis=2), 0)
    scales = (high - low) / np.float32(2**BITS - 1)
    inverse = _inverse(scales)
    zero_points = np.rint(-low * inverse)
    codes = np.clip(np.rint(blocks * inverse[..., None]) + zero_points[..., None], 0, 2**BITS - 1)
    return Blocks(codes.astype(np.uint8), scales, zero_points.astype(np.uint8))


def _inverse(scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / scale, and 0 for a block of zeros."""
    return np.divide(1, scales, out=np.zeros_like(scales), where=scales > 0)
