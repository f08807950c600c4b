"""Who says what and when: the order of the recordings and the pauses of every conversation. Pure and seeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from voiceedge.bench.interval import Interval
from voiceedge.bench.options import BenchOptions
from voiceedge.bench.recording import Recording


@dataclass(frozen=True, slots=True)
class Line:
    """One recording, and how long the user thinks behind its answer."""

    recording: Recording
    think_s: float
    interrupt_s: float | None = None
    """How much of the answer is heard before the next line interrupts it; None hears it out."""


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
    turns = options.turns or len(recordings)
    if options.sessions > 1:
        return tuple(plan_of(recordings, options, run, one, turns) for one in range(1, options.sessions + 1))
    chance = np.random.default_rng((options.seed, run, 1))
    chosen = [recordings[turn % len(recordings)] for turn in range(turns)]
    return (Plan(run, 1, options.think.low, _lines(chosen, options, chance)),)


def plan_of(recordings: Sequence[Recording], options: BenchOptions, run: int, session: int, turns: int) -> Plan:
    """One of several conversations: its part of the recordings, in its own order, from a moment of its own."""
    chance = np.random.default_rng((options.seed, run, session))
    opening_s = Interval(0.0, options.think.high).draw(chance)
    deck = np.random.default_rng((options.seed, run)).permutation(len(recordings)).tolist()
    dealt = [deck[((session - 1) * turns + turn) % len(deck)] for turn in range(turns)]
    chosen = [recordings[dealt[place]] for place in chance.permutation(turns)]
    return Plan(run, session, opening_s, _lines(chosen, options, chance))


def _lines(chosen: Sequence[Recording], options: BenchOptions, chance: np.random.Generator) -> tuple[Line, ...]:
    """Each with its pause; all but the last are interrupted, if that is asked for."""
    lines = [Line(one, options.think.draw(chance)) for one in chosen]
    if options.barge_in is not None:
        lines[:-1] = [replace(line, interrupt_s=options.barge_in.draw(chance)) for line in lines[:-1]]
    return tuple(lines)
