"""Samples: their scale, their level, and where they can first be heard.

PCM is mono float32 in [-1, 1], shape [samples], at a rate that whoever passes it on knows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PCM = NDArray[np.float32]

PCM16_SCALE = 32768.0
"""int16 for 1.0. Whisper, Silero and soundfile use it; 32767 would change every sample on the way through."""

AUDIBLE_DBFS = -50.0
"""RMS level above which a stretch of audio counts as heard (dB relative to a full-scale square wave)."""

SILENCE_DBFS = -120.0
"""Level given to digital silence, which has none; below what 16 bits can hold."""

WINDOW_S = 0.01
"""Stretch that is judged audible or not: shorter than any speech sound, longer than a pitch period."""


def from_pcm16(data: bytes) -> PCM:
    """Read 16-bit little-endian samples; `data` holds a whole number of them."""
    return np.frombuffer(data, dtype="<i2").astype(np.float32) / np.float32(PCM16_SCALE)


def to_pcm16(audio: PCM) -> bytes:
    """Write 16-bit little-endian samples; what lies outside [-1, 1) is clipped."""
    return to_int16(audio).tobytes()


def to_int16(audio: PCM) -> NDArray[np.int16]:
    """Round to int16, little-endian, shape [samples]; what lies outside [-1, 1) is clipped."""
    scaled = np.rint(audio * np.float32(PCM16_SCALE))
    samples: NDArray[np.int16] = np.clip(scaled, -PCM16_SCALE, PCM16_SCALE - 1).astype("<i2")
    return samples


def level_dbfs(audio: PCM) -> float:
    """RMS level in dB, 0 for a full-scale square wave; `SILENCE_DBFS` for silence or no audio."""
    if audio.size == 0:
        return SILENCE_DBFS
    power = float(np.mean(np.square(audio), dtype=np.float64))
    return max(10.0 * float(np.log10(power)), SILENCE_DBFS) if power > 0.0 else SILENCE_DBFS


def first_audible(audio: PCM, rate_hz: int) -> int | None:
    """Index of the first sample of the first audible window, None when nothing can be heard.

    Windows of 10 ms lie side by side from sample 0 (the last may be shorter); one is audible when its RMS is
    above `AUDIBLE_DBFS`. The answer is therefore exact to 10 ms and never late.
    """
    window = _window_samples(rate_hz)
    audible = np.flatnonzero(_audible_windows(audio, window))
    return int(audible[0]) * window if audible.size else None


def last_audible(audio: PCM, rate_hz: int) -> int | None:
    """Index of the last sample of the last audible window (as in `first_audible`), None for silence."""
    window = _window_samples(rate_hz)
    audible = np.flatnonzero(_audible_windows(audio, window))
    return min((int(audible[-1]) + 1) * window, audio.size) - 1 if audible.size else None


def _window_samples(rate_hz: int) -> int:
    return max(1, round(rate_hz * WINDOW_S))


def _audible_windows(audio: PCM, window: int) -> NDArray[np.bool_]:
    starts = np.arange(0, audio.size, window)
    if starts.size == 0:
        return np.zeros(0, dtype=np.bool_)
    power = np.add.reduceat(np.square(audio, dtype=np.float64), starts)
    samples = np.minimum(window, audio.size - starts)
    return np.asarray(power / samples > 10.0 ** (AUDIBLE_DBFS / 10.0))
