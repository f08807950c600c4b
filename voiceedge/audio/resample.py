"""Changes the sampling rate of a stream, one chunk after another.

A windowed-sinc low-pass filter in polyphase form. The filter is symmetric and centred, so output sample k IS
input time k / rate_out: nothing has to be subtracted from media times. What streaming costs is look-ahead:
an output sample appears once the `lookahead_samples` input samples behind its place have arrived.
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, gcd

import numpy as np

from voiceedge.audio.pcm import PCM

ZERO_CROSSINGS = 32
"""Half length of the filter in samples of the lower rate: 2 ms at 16 kHz."""
STOPBAND_DB = 80.0
ROLLOFF = 0.92
"""Middle of the transition as a share of the lower Nyquist frequency. With the two figures above the
transition is 0.16 wide: flat to 0.84, and down by 80 dB at Nyquist, so that nothing folds back."""
KAISER_BETA = 0.1102 * (STOPBAND_DB - 8.7)
"""Kaiser's formula for the window that reaches `STOPBAND_DB` (Oppenheim & Schafer, 7.6)."""
MAX_PHASES = 2_000
"""Largest rate in units of the common divisor (44.1 kHz to 16 kHz needs 441); bounds the filter to 16 MB."""
SMALL_PRODUCT = 200_000
"""Multiplications that numpy's BLAS (OpenBLAS: up to 262,144) still does without waking threads of its own, which
spin and take the core that another engine is working on."""


class Resampler:
    """The state of one stream. How the audio is cut into chunks does not change the result.

    Raises:
        ValueError: the rates have (almost) no common divisor, so that the filter would be enormous.
    """

    def __init__(self, rate_in_hz: int, rate_out_hz: int) -> None:
        common = gcd(rate_in_hz, rate_out_hz)
        if max(rate_in_hz, rate_out_hz) > MAX_PHASES * common:
            raise ValueError(f"cannot resample {rate_in_hz} Hz to {rate_out_hz} Hz")
        self.rate_in_hz = rate_in_hz
        self.rate_out_hz = rate_out_hz
        self._up = rate_out_hz // common
        self._down = rate_in_hz // common
        self._passes_through = self._up == self._down
        self._half = 0 if self._passes_through else _half_taps(self._up, self._down)
        # blocks of at least one filter length: the frames of a chunk then overlap by half at most
        self._repeats = max(1, ceil(2 * self._half / self._down))
        if not self._passes_through:
            # shared by all streams of these rates; made here and not while somebody is talking
            self._weights = _block_weights(self._up, self._down, self._repeats)
            self._rows = max(1, SMALL_PRODUCT // self._weights.size)
        self._received = 0
        self._emitted = 0
        self._kept = self._silence_before()

    @property
    def lookahead_samples(self) -> int:
        """Input samples behind an output sample that must have arrived before it appears."""
        return self._half

    def push(self, audio: PCM) -> PCM:
        """Take the next chunk at `rate_in_hz`; returns what can be said at `rate_out_hz`, maybe nothing."""
        if self._passes_through:
            return audio
        self._received += audio.size
        self._kept = np.concatenate((self._kept, audio), dtype=np.float32)
        return self._emit(self.ready(self._received))

    def ready(self, received: int) -> int:
        """How many samples have come out once `received` have been pushed, since the beginning."""
        return max(0, -((self._half - received) * self._up // self._down))  # rounded up

    def flush(self) -> PCM:
        """The rest, as if silence followed; the resampler then stands at the beginning again.

        Altogether ceil(samples * rate_out / rate_in) samples have come out.
        """
        if self._passes_through:
            return np.zeros(0, dtype=np.float32)
        rest = self._emit(ceil(self._received * self._up / self._down))
        self._received = 0
        self._emitted = 0
        self._kept = self._silence_before()
        return rest

    def _silence_before(self) -> PCM:
        # what is kept begins `half - 1` samples before the input of the block that holds output `emitted`
        return np.zeros(max(0, self._half - 1), dtype=np.float32)

    def _emit(self, until: int) -> PCM:
        """Output samples `emitted`..`until`, all of whose input is there (or silence, at the end)."""
        if until <= self._emitted:
            return np.zeros(0, dtype=np.float32)
        step_in, step_out = self._repeats * self._down, self._repeats * self._up
        first = self._emitted // step_out
        blocks = ceil(until / step_out) - first
        width = self._weights.shape[0]

        # the last block may be incomplete: its missing input only weighs on samples that are not taken yet
        audio = np.zeros((blocks + 1) * step_in, dtype=np.float32)
        there = min(audio.size, self._kept.size)
        audio[:there] = self._kept[:there]
        steps = audio.reshape(blocks + 1, step_in)
        frames = np.concatenate((steps[:-1], steps[1:, : width - step_in]), axis=1)
        products = [frames[row : row + self._rows] @ self._weights for row in range(0, blocks, self._rows)]
        out = np.concatenate(products).reshape(-1)
        out = out[self._emitted - first * step_out : until - first * step_out]

        self._emitted = until
        done = until // step_out - first
        self._kept = self._kept[done * step_in :]
        return out


def resample(audio: PCM, rate_in_hz: int, rate_out_hz: int) -> PCM:
    """Resample a whole recording; the result has ceil(samples * rate_out / rate_in) samples."""
    resampler = Resampler(rate_in_hz, rate_out_hz)
    return np.concatenate((resampler.push(audio), resampler.flush()))


def _half_taps(up: int, down: int) -> int:
    """Input samples on each side of an output sample that the filter reaches."""
    return ceil(ZERO_CROSSINGS * max(1.0, down / up))


@lru_cache(maxsize=32)
def _block_weights(up: int, down: int, repeats: int) -> PCM:
    """The filter as a matrix, shape [repeats * down + 2 * half - 1, repeats * up].

    Maps a frame of input, which begins `half - 1` samples before the block, to the block's output. One matrix
    product a chunk is many times faster in numpy than gathering the taps of each sample.
    """
    half = _half_taps(up, down)
    cutoff = ROLLOFF * min(1.0, up / down)  # as a share of the input's Nyquist frequency
    outputs = np.arange(repeats * up)
    place = np.arange(repeats * down + 2 * half - 1)[:, None] - (half - 1)
    distance = place - outputs * down / up  # in input samples, shape [inputs, outputs]
    inside = np.maximum(0.0, 1.0 - np.square(distance / half))
    window = np.where(np.abs(distance) < half, np.i0(KAISER_BETA * np.sqrt(inside)), 0.0)
    weights = window * np.sinc(cutoff * distance)
    # every phase passes a constant unchanged
    return np.asarray(weights / weights.sum(axis=0), dtype=np.float32)
