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


def eight_bits_ranged(weight: NDArray[np.float32]) -> Blocks:
    """8-bit blocks with a zero point: 255 steps over the block's range.

    Where GGUF stored 16 steps (Q4_1, Q4_K), each is 17 of these: all that is lost is the rounding of the zero.
    """
    codes, scales, zero_points = _ranged(weight.reshape(weight.shape[0], -1, BLOCK), 255)
    return Blocks(8, codes, scales, zero_points)


def four_bits(weight: NDArray[np.float32]) -> Blocks:
    """4-bit blocks with a zero point; of several scales the one with the least squared error."""
    blocks = weight.reshape(weight.shape[0], -1, BLOCK)
    best = _ranged(blocks, 15)
    least = _squared_error(blocks, *best)
    for shrink in FOUR_BIT_SHRINKS:
        other = _ranged(blocks, 15, shrink)
        error = _squared_error(blocks, *other)
        better = error < least
        least = np.where(better, error, least)
        best = tuple(
            np.where(better[..., None] if a.ndim == 3 else better, b, a) for a, b in zip(best, other, strict=True)
        )
    codes, scales, zero_points = best
    return Blocks(4, pairs(codes), scales, pairs(zero_points))


FOUR_BIT_SHRINKS = (0.95, 0.9, 0.85, 0.8)


def _ranged(blocks, steps, shrink=1.0):
    low = np.minimum(blocks.min(axis=2), 0) * np.float32(shrink)
    high = np.maximum(blocks.max(axis=2), 0) * np.float32(shrink)
    scales = (high - low) / np.float32(steps)
    inverse = _inverse(scales)
    zero_points = np.clip(np.rint(-low * inverse), 0, steps)
    codes = np.clip(np.rint(blocks * inverse[..., None]) + zero_points[..., None], 0, steps)
    return codes.astype(np.uint8), scales, zero_points.astype(np.uint8)


def _squared_error(blocks, codes, scales, zero_points):
    restored = (codes.astype(np.float32) - zero_points[..., None]) * scales[..., None]
    return np.square(restored - blocks).sum(axis=2)


def pairs(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pack codes below 16 two a byte along the last axis, the first in the low half."""
    if codes.shape[-1] % 2:
        codes = np.concatenate([codes, np.zeros((*codes.shape[:-1], 1), np.uint8)], axis=-1)
    return np.ascontiguousarray(codes[..., 0::2] | (codes[..., 1::2] << 4))


def _inverse(scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / scale, and 0 for a block of zeros."""
    return np.divide(1, scales, out=np.zeros_like(scales), where=scales > 0)
