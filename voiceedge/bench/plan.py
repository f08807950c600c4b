"""Who says what and when: the order of the recordings and the pauses of every conversation. Pure and seeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from voiceedge.bench.interval import Interval
from voiceedge.bench.options import BenchOptions
from voiceedge.bench.recording import Recording


@dataclass(frozen=True, slots=True)
class Line:
    """One recording, and how long the user thinks behind its answer."""

    recording: Recording
    think_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """All that one conversation will say."""

    run: int
    """From 1."""
    session: int
    """From 1, within the run."""
    opening_s: float
    """Quiet before the first recording."""
    lines: tuple[Line, ...]


def plans(recordings: Sequence[Recording], options: BenchOptions, run: int) -> tuple[Plan, ...]:
    """The conversations of one run.

    A single conversation plays the recordings in the order they were given in. Of several, each has an order and
    begins at a moment of its own: they do not speak in chorus. Where they play a part of the recordings each, it
    is dealt out so that together they play every one equally often: more conversations are not other questions.
    """
    return tuple(_plan(recordings, options, run, session) for session in range(1, options.sessions + 1))


def _plan(recordings: Sequence[Recording], options: BenchOptions, run: int, session: int) -> Plan:
    chance = np.random.default_rng((options.seed, run, session))
    turns, opening_s = options.turns or len(recordings), options.think.low
    chosen = [recordings[turn % len(recordings)] for turn in range(turns)]
    if options.sessions > 1:
        opening_s = Interval(0.0, options.think.high).draw(chance)
        deck = np.random.default_rng((options.seed, run)).permutation(len(recordings)).tolist()
        dealt = [deck[((session - 1) * turns + turn) % len(deck)] for turn in range(turns)]
        chosen = [recordings[dealt[place]] for place in chance.permutation(turns)]
    return Plan(run, session, opening_s, tuple(Line(one, options.think.draw(chance)) for one in chosen))
