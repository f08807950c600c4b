"""Whisper's log-mel spectrogram, in numpy. Whisper and Smart Turn both hear with it.

Follows openai/whisper `audio.py` (log_mel_spectrogram) and librosa's Slaney mel scale, which made the filters that
Whisper was trained with; the filters are computed here, not downloaded.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import fft, sparse

from voiceedge.audio.pcm import PCM
from voiceedge.engines import LISTENING_RATE_HZ

N_FFT = 400
"""25 ms at 16 kHz."""
HOP_SAMPLES = 160
"""10 ms at 16 kHz."""
N_MELS = 80
FRAMES_A_SECOND = LISTENING_RATE_HZ // HOP_SAMPLES

POWER_FLOOR = 1e-10
DYNAMIC_RANGE = 8.0
"""Factors of ten below the loudest point at which the spectrogram is cut off."""


def log_mel(audio: PCM) -> PCM:
    """Log-mel spectrogram of `audio` (16 kHz, at least 25 ms), shape [80, samples // 160], about [-1, 1]."""
    padded = np.pad(audio, N_FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP_SAMPLES]
    # scipy transforms float32 as float32; numpy would make it float64 and take twice as long
    spectrum = fft.rfft(frames[: audio.size // HOP_SAMPLES] * _window(), axis=1)
    power: PCM = np.square(spectrum.real) + np.square(spectrum.imag)
    log_power: PCM = np.log10(np.maximum(_sparse_filters() @ power.T, POWER_FLOOR))
    floor = log_power.max() - DYNAMIC_RANGE
    mel: PCM = (np.maximum(log_power, floor) + 4.0) / 4.0
    return mel


@cache
def _window() -> PCM:
    """Periodic Hann window, shape [400]."""
    window: PCM = np.hanning(N_FFT + 1)[:-1].astype(np.float32)
    return window


@cache
def _sparse_filters() -> sparse.csr_array:
    """The filters without their zeros (98 %), shape [80, 201].

    A dense product would go to numpy's BLAS, whose own threads spin: with the other core busy that made 5 s of
    audio take 17 ms instead of 2.
    """
    return sparse.csr_array(_filters())


@cache
def _filters() -> PCM:
    """Triangular filters, shape [80, 201], each scaled to unit area (Slaney)."""
    edges_hz = _mel_to_hz(np.linspace(0.0, _hz_to_mel(LISTENING_RATE_HZ / 2), N_MELS + 2))
    bins_hz = np.linspace(0.0, LISTENING_RATE_HZ / 2, N_FFT // 2 + 1)
    widths_hz = np.diff(edges_hz)
    distance_hz = edges_hz[:, None] - bins_hz
    rising = -distance_hz[:-2] / widths_hz[:-1, None]
    falling = distance_hz[2:] / widths_hz[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    filters: PCM = (triangles * (2.0 / (edges_hz[2:] - edges_hz[:-2]))[:, None]).astype(np.float32)
    return filters


# Slaney's mel scale (Auditory Toolbox, 1998): linear up to 1 kHz = 15 mel, then 27 mel for each factor of 6.4
LINEAR_HZ_A_MEL = 200.0 / 3.0
LOG_FROM_HZ = 1_000.0
LOG_FROM_MEL = LOG_FROM_HZ / LINEAR_HZ_A_MEL
LOG_STEP = np.log(6.4) / 27.0


def _hz_to_mel(hz: float) -> float:
    """For frequencies above 1 kHz, which is all that is asked."""
    return float(LOG_FROM_MEL + np.log(hz / LOG_FROM_HZ) / LOG_STEP)


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    logarithmic = LOG_FROM_HZ * np.exp(LOG_STEP * (mel - LOG_FROM_MEL))
    return np.where(mel < LOG_FROM_MEL, mel * LINEAR_HZ_A_MEL, logarithmic)
