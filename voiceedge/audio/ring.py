"""The latest seconds of a stream, found by the number of the sample."""

from __future__ import annotations

import numpy as np

from voiceedge.audio.pcm import PCM

FIRST_S = 15.0
"""Memory for so much is taken at once, for more when it comes. Untouched zeros are not free: what the allocator hands
out a second time it clears, every page of it."""


class Ring:
    """Keeps the newest audio of a session; when full, the oldest is overwritten.

    Samples are numbered from the beginning of the session, so a number stays valid for as long as its sample
    is kept, whatever has been pushed since.
    """

    def __init__(self, rate_hz: int, seconds: float) -> None:
        self.rate_hz = rate_hz
        self._capacity = max(1, round(rate_hz * seconds))
        self._samples = np.zeros(min(self._capacity, max(1, round(rate_hz * FIRST_S))), dtype=np.float32)
        self._end = 0

    @property
    def end(self) -> int:
        """Number of the sample that will come next."""
        return self._end

    @property
    def begin(self) -> int:
        """Number of the oldest sample kept."""
        return max(0, self._end - self._capacity)

    def push(self, audio: PCM) -> None:
        """Append `audio`."""
        self._grow(self._end + audio.size)
        capacity = self._samples.size
        newest = audio[-capacity:]
        at = (self._end + audio.size - newest.size) % capacity
        head = min(newest.size, capacity - at)
        self._samples[at : at + head] = newest[:head]
        self._samples[: newest.size - head] = newest[head:]
        self._end += audio.size

    def _grow(self, size: int) -> None:
        """Take memory for `size` samples, as far as they are to be kept. Until all is taken nothing has wrapped."""
        if self._samples.size < min(size, self._capacity):
            grown = np.zeros(min(self._capacity, max(size, 2 * self._samples.size)), dtype=np.float32)
            grown[: self._end] = self._samples[: self._end]
            self._samples = grown

    def read(self, start: int, stop: int) -> PCM:
        """A copy of samples `start`..`stop` (exclusive), cut to what is kept; empty when none is."""
        start, stop = max(start, self.begin), min(stop, self._end)
        if stop <= start:
            return np.zeros(0, dtype=np.float32)
        at = start % self._samples.size
        head = self._samples[at : at + stop - start]
        return np.concatenate((head, self._samples[: stop - start - head.size]))
