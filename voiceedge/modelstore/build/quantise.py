"""Weights to 4 and 8 bits in blocks, the way onnxruntime's MatMulNBits stores them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 32
"""Weights that share one scale. GGUF's own blocks are 32 as well, so no block mixes two of the file's."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """A weight [out features, in features] as codes; weight = (code - zero point) * scale."""

    bits: int
    codes: NDArray[np.uint8]
    """[out, in / 32, 32 * bits / 8]; of 4 bits the even element is the low half of a byte."""
    scales: NDArray[np.float32]
    """[out, in / 32]."""
    zero_points: NDArray[np.uint8] | None = None
    """[out, ceil(in / 64)], two a byte; None means 2 ** (bits - 1)."""


def eight_bits(weight: NDArray[np.float32]) -> Blocks:
    """Symmetric 8-bit blocks. Weights that GGUF stores as Q8_0 come back exactly."""
    blocks = weight.reshape(weight.shape[0], -1, BLOCK)
    scales = np.abs(blocks).max(axis=2) / np.float32(127)
    codes = np.rint(blocks * _inverse(scales)[..., None]) + 128
    return Blocks(8, codes.astype(np.uint8), scales)


def four_bits(weight: NDArray[np.float32]) -> Blocks:
    """Asymmetric 4-bit blocks whose scale spans the block's range."""
    blocks = weight.reshape(weight.shape[0], -1, BLOCK)
    low = np.minimum(blocks.min(axis=2), 0)
    high = np.maximum(blocks.max(axis=2), 0)
    scales = (high - low) / np.float32(15)
    zero_points = np.clip(np.rint(-low * _inverse(scales)), 0, 15)
    codes = np.clip(np.rint(blocks * _inverse(scales)[..., None]) + zero_points[..., None], 0, 15)
    return Blocks(4, pairs(codes.astype(np.uint8)), scales, pairs(zero_points.astype(np.uint8)))


def pairs(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pack codes below 16 two a byte along the last axis, the first in the low half."""
    if codes.shape[-1] % 2:
        codes = np.concatenate([codes, np.zeros((*codes.shape[:-1], 1), np.uint8)], axis=-1)
    return np.ascontiguousarray(codes[..., 0::2] | (codes[..., 1::2] << 4))


def _inverse(scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / scale, and 0 for a block of zeros."""
    return np.divide(1, scales, out=np.zeros_like(scales), where=scales > 0)
