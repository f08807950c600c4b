"""Weights in blocks come back as near as their steps allow."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.modelstore.build import quantise


def restored(blocks):
    zero = 128 if blocks.zero_points is None else blocks.zero_points[..., None].astype(np.float32)
    values = (blocks.codes.astype(np.float32) - zero) * blocks.scales[..., None]
    return values.reshape(values.shape[0], -1)


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.floats(-3, 3))
def test_no_weight_moves_by_more_than_a_step(seed, size, shift):
    weight = (size * (np.random.default_rng(seed).normal(size=(3, 64)) + shift)).astype(np.float32)
    for blocks in (quantise.symmetric(weight), quantise.ranged(weight)):
        step = np.repeat(blocks.scales, quantise.BLOCK, axis=1)
        assert np.all(np.abs(restored(blocks) - weight) <= step * 1.001)


def test_steps_of_q8_0_come_back_exactly():
    random = np.random.default_rng(0)
    codes = random.integers(-127, 128, (4, 64))
    codes[:, ::32] = 127  # every block reaches its scale, as llama.cpp's do
    weight = (codes * np.float32(2**-9)).astype(np.float32)
    assert np.array_equal(restored(quantise.symmetric(weight)), weight)


def test_sixteen_steps_over_a_range_lose_only_the_rounding_of_the_zero_point():
    random = np.random.default_rng(0)
    codes = random.integers(0, 16, (4, 64))
    codes[:, ::32], codes[:, 1::32] = 0, 15
    step, lowest = 0.125, -0.9
    weight = (codes * step + lowest).astype(np.float32)
    assert np.abs(restored(quantise.ranged(weight)) - weight).max() <= step / 17 / 2 + 1e-6


@pytest.mark.parametrize("how", [quantise.symmetric, quantise.ranged])
def test_a_block_of_zeros_stays_zero(how):
    assert not restored(how(np.zeros((2, 32), np.float32))).any()
