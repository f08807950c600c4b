"""The bench's loudspeaker: when the listener hears which sample.

Playing starts when the first delta arrives and runs on without a pause. A delta that comes while earlier
ones still play is queued behind them; one that comes after the speaker ran dry plays at once. A sample is
heard when it is played: silence in front of the first audible sample delays the answer like any other wait.
"""

from __future__ import annotations

import math

import numpy as np

from voiceedge.audio.pcm import PCM, WINDOW_S, first_audible
from voiceedge.bench.recording import WIRE_RATE_HZ
from voiceedge.bench.tape import Tape

_WINDOW_SAMPLES = round(WIRE_RATE_HZ * WINDOW_S)


class Playout:
    """What the speaker has been given and how far it has played.

    Args:
        tape: Records what is heard.
    """

    def __init__(self, tape: Tape | None = None) -> None:
        self._tape = tape
        self.ends = -math.inf
        """When the speaker runs dry."""

    def play(self, audio: PCM, arrived: float) -> float:
        """Queue `audio`; returns when its first sample is played."""
        follows = arrived < self.ends
        begins = self.ends if follows else arrived
        self.ends = begins + len(audio) / WIRE_RATE_HZ
        if self._tape is not None:
            self._tape.play(audio, begins, follows=follows)
        return begins

    def unplayed_s(self, at: float) -> float:
        """Seconds of audio that are still to be played."""
        return max(0.0, self.ends - at)

    def stop(self, at: float) -> None:
        """Throw away what has not been played."""
        self.ends = min(self.ends, at)
        if self._tape is not None:
            self._tape.stop(at)


class FirstAudible:
    """Finds the first audible sample of an answer (above -50 dBFS), however it is cut into deltas."""

    def __init__(self) -> None:
        self._samples = 0
        self._open = np.zeros(0, np.float32)
        """The window that is not full yet."""
        self._pieces: list[tuple[int, float, float]] = []
        """(first sample, when it arrived, when it is played) of every delta."""
        self.arrived: float | None = None
        """When the first audible sample arrived; None before it did."""
        self.heard: float | None = None
        """When it is played."""

    def add(self, audio: PCM, arrived: float, played: float) -> None:
        """Look through a delta that arrived and begins to play at the given moments."""
        if self.heard is not None:
            return
        self._pieces.append((self._samples, arrived, played))
        begin = self._samples - len(self._open)
        self._samples += len(audio)
        pending = np.concatenate([self._open, audio])
        whole = len(pending) - len(pending) % _WINDOW_SAMPLES
        self._open = pending[whole:]
        found = first_audible(pending[:whole], WIRE_RATE_HZ) if whole else None
        if found is not None:
            self._locate(begin + found)

    def _locate(self, sample: int) -> None:
        first, arrived, played = next(piece for piece in reversed(self._pieces) if piece[0] <= sample)
        self.arrived = arrived
        self.heard = played + (sample - first) / WIRE_RATE_HZ
