"""Cuts an utterance into windows that Whisper can hold, raised to a level that it can hear."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import numpy as np

from voiceedge.audio.pcm import PCM, level_dbfs
from voiceedge.engines import LISTENING_RATE_HZ

WINDOW_S = 30
"""What the model's position embeddings can hold."""
TAIL_S = 1.0
"""Silence behind the audio, which tells the decoder that nothing follows."""
LONGEST_AUDIO_S = WINDOW_S - TAIL_S
EARLIEST_CUT_S = 19.0
"""Long audio is cut at the quietest place between here and `LONGEST_AUDIO_S`."""
QUIET_S = 0.2
"""Length of the place that is looked for: a short pause."""

LEVEL_SAMPLES = LISTENING_RATE_HZ // 10
"""Stretch over which the level of a voice is taken: a syllable."""
FAINT_DBFS = -40.0
"""Speech whose loudest syllable is below is raised, to `RAISED_TO_DBFS`: else what is quietest in it would pass for
silence (`audio.pcm.AUDIBLE_DBFS`)."""
RAISED_TO_DBFS = -20.0
FAINTEST_DBFS = -80.0
"""Below, 16 bits hold nothing that could be understood."""


def windows(audio: PCM) -> Iterator[PCM]:
    """Pieces of `audio` (16 kHz) that a window can hold, cut where it is quietest.

    A cut depends on nothing that comes later: of an utterance that goes on, all pieces but the last stay as they are.
    """
    longest = round(LONGEST_AUDIO_S * LISTENING_RATE_HZ)
    earliest = round(EARLIEST_CUT_S * LISTENING_RATE_HZ)
    quiet = round(QUIET_S * LISTENING_RATE_HZ)
    while audio.size > longest:
        energy = np.cumsum(np.square(audio[earliest:longest], dtype=np.float64))
        cut = earliest + int(np.argmin(energy[quiet:] - energy[:-quiet])) + quiet // 2
        yield audio[:cut]
        audio = audio[cut:]
    if audio.size:
        yield audio


def pad(audio: PCM, shortest_s: float) -> PCM:
    """`audio` followed by silence up to the length of its window."""
    seconds = max(audio.size / LISTENING_RATE_HZ + TAIL_S, shortest_s)
    # whole tenths of a second, so that memory is allocated in few different sizes
    samples = min(ceil(seconds * 10) * LISTENING_RATE_HZ // 10, WINDOW_S * LISTENING_RATE_HZ)
    padded = np.zeros(samples, dtype=np.float32)
    padded[: audio.size] = audio
    return padded


def raised(audio: PCM) -> PCM:
    """`audio`, louder if it comes from a microphone that is turned down."""
    stretches = audio[: audio.size // LEVEL_SAMPLES * LEVEL_SAMPLES].reshape(-1, LEVEL_SAMPLES)
    if not stretches.size:
        return audio
    loudest_dbfs = level_dbfs(stretches[np.square(stretches).sum(axis=1).argmax()])
    if not FAINTEST_DBFS < loudest_dbfs < FAINT_DBFS:
        return audio
    return audio * np.float32(10.0 ** ((RAISED_TO_DBFS - loudest_dbfs) / 20.0))
