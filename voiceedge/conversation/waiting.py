"""How long a silence has to be before it ends a turn: a weighing of witnesses.

Every witness says how much likelier an end is than a pause, in log odds (natural logarithm, 0 = undecided), and what
they say is added up. A speaker who goes on does so sooner or later: the surer the end, the less there is to wait for.
docs/endpointing.md tells where the constants come from.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log

from voiceedge.conversation.ending import Ending

MODEL_WEIGHT = 0.7
"""Of the end-of-turn model's log odds: it exaggerates both ways."""
SURE = 0.02
"""The end-of-turn model is believed to be as sure as this of either answer, and no surer."""
LANGUAGE_WEIGHT = 1.5
"""Of the language model's log odds, counted from `LANGUAGE_NEUTRAL`: it never expects an end as much as it expects
that a sentence goes on."""
LANGUAGE_NEUTRAL = 0.35
LANGUAGE_ODDS = (-5.0, 2.5)
"""Bounds of what the language model can add."""
MARK_WEIGHT = 0.8
"""Of the log odds that speech-to-text gives a final mark behind the last word, counted from `MARK_NEUTRAL`: it hears
how it was said and reads what was said, and writes a full stop behind most beginnings all the same."""
MARK_NEUTRAL = 0.85
MARK_ODDS = (-4.0, 1.5)
"""Bounds of what that can add."""
ENDING_ODDS = {
    Ending.OPEN: -5.0,
    Ending.DICTATED: -3.5,
    Ending.SELDOM: -4.0,
    Ending.UNMARKED: -3.0,
    Ending.UNCLEAR: -1.5,
    Ending.WHOLE: -0.7,
    Ending.BRIEF: 1.5,
}
"""What the last words say where no language model was asked. A whole sentence says little: half of all beginnings
of sentences are sentences ("Play some quiet music | in the kitchen")."""
UNHEARD_ODDS = -1.0
"""In place of the end-of-turn model's, where it has not answered."""

WAIT_MS = ((-5.0, 2000.0), (-2.5, 1300.0), (-1.0, 1100.0), (-1.0, 600.0), (1.5, 200.0))
"""Silence in ms by the log odds of an end, interpolated. 200 ms is what people leave between turns (Stivers et al.
2009); most pauses inside a turn take more than half a second (Campione & Véronis 2002). Hence the step: who is waited
for longer than 600 ms is thinking, and thinks for a second. Where the last points lie decides who suffers: callers who
have finished or callers who think; docs/endpointing.md has what each place costs."""
SHORTEST_MS = WAIT_MS[-1][1]
LONGEST_MS = 2500.0
"""The most that a hesitant speaker is waited for."""


@dataclass(frozen=True, slots=True)
class Words:
    """What is known of a turn's words."""

    ending: Ending
    whole: float | None = None
    """The language model's probability that a sentence ends where they do; None: it was not asked."""
    marked: float | None = None
    """Speech-to-text's probability of a final mark behind them; None: it does not tell."""

    @property
    def odds(self) -> float:
        """Log odds of an end."""
        if self.decide:
            return ENDING_ODDS[self.ending]
        return max(self._read_odds + self._mark_odds, ENDING_ODDS[Ending.OPEN])

    @property
    def _read_odds(self) -> float:
        """By syntax, and by the language model where it was asked and could know better."""
        # how likely a mark was says more than that there is none
        ending = Ending.UNCLEAR if self.ending is Ending.UNMARKED and self.marked is not None else self.ending
        said = ENDING_ODDS[ending]
        if self.whole is None or not self.depend_on_language:
            return said
        expected = _weighed(self.whole, LANGUAGE_WEIGHT, LANGUAGE_NEUTRAL, LANGUAGE_ODDS)
        if ending is Ending.DICTATED:
            return min(said, expected)
        return expected + (said if ending is Ending.UNMARKED else 0.0)

    @property
    def _mark_odds(self) -> float:
        if self.marked is None:
            return 0.0
        odds = _weighed(self.marked, MARK_WEIGHT, MARK_NEUTRAL, MARK_ODDS)
        # each piece of a number is said, and written, like an end
        return min(odds, 0.0) if self.ending is Ending.DICTATED else odds

    @property
    def depend_on_language(self) -> bool:
        """Whether it matters what the language model says."""
        return self.ending not in {Ending.OPEN, Ending.BRIEF}

    @property
    def decide(self) -> bool:
        """Whether no other witness could change anything."""
        return self.ending is Ending.OPEN


def wait_ms(probability: float | None, words: Words | None, patience: float = 1.0, stretch: float = 1.0) -> float:
    """Silence in ms to wait for.

    Args:
        probability: that the turn is complete, by the end-of-turn model; None: not known.
        words: what was said; None: not known.
        patience: factor on the wait.
        stretch: of what goes beyond the shortest wait, for this speaker (`OwnPauses.stretch`).
    """
    if words is not None and words.decide:
        odds = words.odds
    else:
        heard = UNHEARD_ODDS if probability is None else MODEL_WEIGHT * _log_odds(min(max(probability, SURE), 1 - SURE))
        odds = heard + (words.odds if words is not None else 0.0)
    wait = SHORTEST_MS + stretch * (_wait_by_odds(odds) - SHORTEST_MS)
    return patience * min(wait, LONGEST_MS)


def _wait_by_odds(odds: float) -> float:
    if odds <= WAIT_MS[0][0]:
        return WAIT_MS[0][1]
    for (low, wait_low), (high, wait_high) in pairwise(WAIT_MS):
        if odds <= high:
            return wait_low + (odds - low) / (high - low) * (wait_high - wait_low)
    return SHORTEST_MS


def _weighed(probability: float, weight: float, neutral: float, bounds: tuple[float, float]) -> float:
    low, high = bounds
    return min(max(weight * (_log_odds(probability) - _log_odds(neutral)), low), high)


def _log_odds(probability: float) -> float:
    floor = 1e-4  # keeps a probability of 0 or 1 finite
    probability = min(max(probability, floor), 1 - floor)
    return log(probability / (1 - probability))


class OwnPauses:
    """The pauses that this speaker has made inside turns: who hesitates is given more time."""

    KEPT = 20
    """The latest ones; a speaker warms up."""
    NEEDED = 3
    """Fewer say nothing about a speaker."""
    SHORTEST_MS = 250.0
    """What is shorter is articulation, not hesitation (Goldman-Eisler 1968)."""
    USUAL_MS = 600.0
    """An 80 % quantile up to here is nothing unusual."""
    LONGEST_STRETCH = 1.5

    def __init__(self) -> None:
        self._pauses: deque[float] = deque(maxlen=self.KEPT)

    def note(self, pause_ms: float) -> None:
        """A pause after which the speaker went on."""
        if pause_ms >= self.SHORTEST_MS:
            self._pauses.append(pause_ms)

    @property
    def stretch(self) -> float:
        """Factor on what is waited beyond the shortest wait, 1 to `LONGEST_STRETCH`."""
        if len(self._pauses) < self.NEEDED:
            return 1.0
        high = sorted(self._pauses)[ceil(0.8 * len(self._pauses)) - 1]
        return min(max(high / self.USUAL_MS, 1.0), self.LONGEST_STRETCH)
