"""A user who stops in the middle of a sentence to think: one recording cut in two, with a pause put in.

Whoever answers in that pause interrupts. The place is found by sound alone: the quietest stretch near the
middle, which is mostly a gap between words and sometimes the closure of a consonant; a person breaks off in
both. Recordings that are quiet nowhere near their middle are left out rather than cut through a vowel.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from voiceedge.audio.pcm import PCM
from voiceedge.bench.interval import Interval
from voiceedge.bench.microphone import noise_floor
from voiceedge.bench.recording import WIRE_RATE_HZ, Recording, frame_levels

_FRAME_SAMPLES = WIRE_RATE_HZ // 100
_QUIET_FRAMES = 5
"""50 ms: longer than the valley between two pitch periods, as long as the shortest gap between words."""
_MIDDLE = (0.25, 0.75)
"""Of what is spoken, where the cut may lie."""
_SHORTEST_FRAMES = 80
"""A sentence of less than 0.8 s is one word: nobody pauses in it."""
_BELOW_LOUD_DB = 12.0
"""How much quieter than the loud frames (their 90th percentile) a place between words is at least."""
_OFF_MIDDLE_DB = 12.0
"""What a place at the edge of the middle must be quieter by to be preferred to one in its centre."""
_FADE_SAMPLES = WIRE_RATE_HZ // 200
"""5 ms on either side: no click."""


def hesitating(recordings: Iterable[Recording], pauses: Interval, seed: int = 0) -> list[Recording]:
    """Every recording that can be cut, with a pause drawn from `pauses` in it.

    The pause is as faint as the room of the bench's microphone. The user's speech ends where its second part
    ends. The same recordings and seed give the same pauses.
    """
    chance = np.random.default_rng(seed)
    drawn = [(recording, pauses.draw(chance)) for recording in recordings]
    cuts = [(recording, pause_s, quiet_place(recording)) for recording, pause_s in drawn]
    return [_with_pause(recording, place, pause_s) for recording, pause_s, place in cuts if place is not None]


def quiet_place(recording: Recording) -> int | None:
    """The sample at which a pause fits best, None when there is no place for one."""
    levels = frame_levels(recording.audio)[: recording.last_voiced // _FRAME_SAMPLES]
    if len(levels) == 0:
        return None
    loud = float(np.percentile(levels, 90.0))
    spoken = np.flatnonzero(levels > loud - _BELOW_LOUD_DB)
    first, frames = int(spoken[0]), len(levels) - int(spoken[0])
    if frames < _SHORTEST_FRAMES:
        return None
    begin, end = (first + round(share * frames) for share in _MIDDLE)
    stretches = np.convolve(levels, np.full(_QUIET_FRAMES, 1.0 / _QUIET_FRAMES), mode="same")[begin:end]
    off_middle = np.abs(np.linspace(-1.0, 1.0, len(stretches)))
    best = int(np.argmin(stretches + _OFF_MIDDLE_DB * off_middle))
    if stretches[best] > loud - _BELOW_LOUD_DB:
        return None
    return (begin + best) * _FRAME_SAMPLES + _FRAME_SAMPLES // 2


def _with_pause(recording: Recording, place: int, pause_s: float) -> Recording:
    pause = noise_floor(round(pause_s * WIRE_RATE_HZ), seed=place)
    return replace(
        recording,
        audio=np.concatenate([_faded_out(recording.audio[:place]), pause, _faded_in(recording.audio[place:])]),
        last_voiced=recording.last_voiced + len(pause),
        hesitates_s=pause_s,
    )


def _faded_out(audio: PCM) -> PCM:
    return _faded_in(audio[::-1])[::-1]


def _faded_in(audio: PCM) -> PCM:
    faded = audio.copy()
    faded[:_FADE_SAMPLES] *= np.linspace(0.0, 1.0, _FADE_SAMPLES, dtype=np.float32)[: len(faded)]
    return faded
