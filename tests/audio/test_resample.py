from itertools import pairwise
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from voiceedge.audio.pcm import level_dbfs
from voiceedge.audio.resample import KAISER_BETA, ROLLOFF, ZERO_CROSSINGS, Resampler, resample

PAIRS = [
    (24_000, 16_000),
    (16_000, 24_000),
    (8_000, 16_000),
    (8_000, 24_000),
    (16_000, 8_000),
    (24_000, 8_000),
    (22_050, 24_000),
    (44_100, 16_000),
    (48_000, 16_000),
]


def tone(hz, rate_hz, seconds=0.5):
    return np.sin(2 * np.pi * hz / rate_hz * np.arange(round(seconds * rate_hz))).astype(np.float32)


def middle(audio):
    """Without the edges, where a tone begins and ends abruptly."""
    return audio[audio.size // 10 : -audio.size // 10]


@pytest.mark.parametrize("pair", PAIRS)
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 4_000), max_size=6), samples=st.integers(0, 4_000))
def test_how_audio_is_chunked_does_not_change_it(pair, cuts, samples):
    audio = np.random.default_rng(samples).uniform(-1, 1, samples).astype(np.float32)
    resampler = Resampler(*pair)
    edges = [0, *sorted(min(cut, samples) for cut in cuts), samples]
    parts = [resampler.push(audio[a:b]) for a, b in pairwise(edges)]
    chunked = np.concatenate((*parts, resampler.flush()))
    whole = resample(audio, *pair)
    assert chunked.size == whole.size == ceil(samples * pair[1] / pair[0])
    assert np.allclose(chunked, whole, atol=1e-6)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.83])
def test_what_both_rates_can_hold_keeps_its_shape_and_its_place_in_time(pair, share):
    hz = share * min(pair) / 2
    assert np.abs(middle(resample(tone(hz, pair[0]), *pair)) - middle(tone(hz, pair[1]))).max() < 1e-3


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair[0] > pair[1]])
def test_what_the_lower_rate_cannot_hold_is_gone_and_does_not_fold_back(pair):
    for hz in np.linspace(pair[1] / 2, 0.99 * pair[0] / 2, 7):
        loud = tone(hz, pair[0])
        assert level_dbfs(middle(resample(loud, *pair))) < level_dbfs(loud) - 75


@pytest.mark.parametrize("pair", PAIRS)
def test_noise_comes_out_as_from_scipys_polyphase_resampler_with_a_like_filter(pair):
    audio = np.random.default_rng(1).normal(0, 0.1, pair[0] // 4).astype(np.float32)
    up, down = (rate // np.gcd(*pair) for rate in reversed(pair))
    widest = max(up, down)
    taps = signal.firwin(2 * ZERO_CROSSINGS * widest + 1, ROLLOFF / widest, window=("kaiser", KAISER_BETA))
    expected = signal.resample_poly(audio.astype(np.float64), up, down, window=taps)
    difference = middle(resample(audio, *pair)) - middle(expected).astype(np.float32)
    assert level_dbfs(difference) < level_dbfs(audio) - 60


def test_output_appears_as_soon_as_its_lookahead_has_arrived():
    resampler = Resampler(24_000, 16_000)
    assert resampler.push(np.zeros(resampler.lookahead_samples, dtype=np.float32)).size == 0
    assert resampler.push(np.zeros(1, dtype=np.float32)).size == 1
    assert resampler.lookahead_samples / 24_000 == pytest.approx(0.002)


@pytest.mark.parametrize("pair", [*PAIRS, (16_000, 16_000)])
@given(chunks=st.lists(st.integers(0, 700), max_size=6))
def test_it_is_known_beforehand_how_much_will_have_come_out(pair, chunks):
    resampler = Resampler(*pair)
    out = pushed = 0
    for size in chunks:
        pushed += size
        expected = resampler.ready(pushed)
        out += resampler.push(np.zeros(size, dtype=np.float32)).size
        assert out == expected


def test_equal_rates_pass_through_untouched():
    audio = tone(440, 16_000)
    resampler = Resampler(16_000, 16_000)
    assert resampler.push(audio) is audio
    assert resampler.flush().size == 0
    assert resampler.lookahead_samples == 0


def test_after_a_flush_it_stands_at_the_beginning():
    resampler = Resampler(24_000, 16_000)
    audio = tone(1_000, 24_000)
    runs = [np.concatenate((resampler.push(audio), resampler.flush())) for _ in range(2)]
    assert np.array_equal(*runs)


def test_rates_without_a_common_measure_are_refused():
    with pytest.raises(ValueError, match="15999"):
        Resampler(15_999, 24_000)
