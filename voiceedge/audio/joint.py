"""Speech made in pieces, joined so that nobody hears where.

Two pieces of one sentence both hold the moment of the joint. The second is slid until its waves lie on those of the
first (SOLA: Roucos and Wilgus, ICASSP 1985), and one is faded into the other.
"""

from __future__ import annotations

import numpy as np

from voiceedge.audio.pcm import PCM

FADE_S = 0.01
"""Cross-fade: two periods of a voice."""
SLIDE_S = 0.008
"""How far the second piece may be slid: a period of the lowest voices (125 Hz), so a fitting place is always there."""


class Joints:
    """One answer's audio, at the voice's rate. Parts of a clause follow each other as they are; clauses are joined."""

    def __init__(self, rate_hz: int) -> None:
        self._fade = round(FADE_S * rate_hz)
        self._slide = round(SLIDE_S * rate_hz)
        rising = 0.5 - 0.5 * np.cos(np.pi * (np.arange(self._fade) + 0.5) / self._fade)
        self._rising = rising.astype(np.float32)
        self._held: PCM = np.zeros(0, dtype=np.float32)
        self._joins = False

    def push(self, part: PCM) -> PCM:
        """Take the next part of a clause; return what can be sent, 18 ms behind."""
        if part.size == 0:
            return part
        if self._joins and min(self._held.size, part.size) > self._fade:
            audio = self._joined(self._held, part)
        else:
            audio = np.concatenate([self._held, part])
        self._joins = False
        keep = audio.size - self._fade - self._slide
        if keep <= 0:
            self._held = audio
            return audio[:0]
        self._held = audio[keep:].copy()
        return audio[:keep]

    def next_clause(self, *, goes_on: bool) -> None:
        """Say that a clause is over; with `goes_on`, the next part is the rest of its sentence."""
        self._joins = goes_on

    def flush(self) -> PCM:
        """Return what is still held, when the answer is over."""
        held, self._held = self._held, np.zeros(0, dtype=np.float32)
        if self._joins:  # nothing came that it could be joined to
            fade = min(self._fade, held.size)
            held = held.copy()
            held[held.size - fade :] *= self._rising[::-1][self._fade - fade :]
        return held

    def _joined(self, first: PCM, second: PCM) -> PCM:
        head = second[: self._fade]
        places = np.lib.stride_tricks.sliding_window_view(first, self._fade)
        loudness = np.sqrt(np.square(places).sum(axis=1)) + 1e-6  # the summand: silence fits nowhere in particular
        at = int(np.argmax(places @ head / loudness))
        faded = places[at] * self._rising[::-1] + head * self._rising
        return np.concatenate([first[:at], faded, second[self._fade :]])
