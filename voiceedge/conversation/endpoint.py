"""When a turn begins and ends, in media time: frames are counted, no clock is read.

A turn begins on evidence of speech, because `speech_started` cannot be taken back: clients stop playing on it. It ends
after a silence that is as long as the turn seems unfinished. The end-of-turn model shortens or lengthens
the wait; it never decides alone, for it is sure and wrong about some short complete sentences.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

MS = 1000


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """How patient the node is. Fields without a comment of their own are what the client asked for."""

    threshold: float = 0.5
    """Voice-activity probability from which a frame counts as voiced."""
    prefix_padding_ms: int = 300
    """Audio before the first voiced frame that belongs to the turn."""
    silence_ms: int | None = None
    """Silence that ends a turn, when the client states one; None lets the node choose."""
    patience: float = 1.0
    """Factor on the wait that the node chooses: `eagerness` low 1.5, medium and auto 1.0, high 0.7."""
    evidence_ms: int = 90
    """Voiced time that makes a turn: three frames, as a click or a cough is shorter."""
    evidence_speaking_ms: int = 190
    """The same while the agent is audible: its own voice may come back through the microphone."""


@dataclass(frozen=True, slots=True)
class Started:
    """The user speaks."""

    start: int
    """First sample of the turn, prefix padding included (as far as the turn before leaves room for it)."""


@dataclass(frozen=True, slots=True)
class Paused:
    """The user has been silent for a moment: ask the end-of-turn model now, once a pause."""

    pause: int
    """Number of this pause; `Endpoint.judge` ignores an answer to an earlier one."""
    end: int
    """Sample up to which the model should listen."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The turn is over."""

    start: int
    """First sample of the turn, prefix padding included."""
    last_voiced: int
    """Sample after the last voiced frame: the turn's time zero."""
    wait_over: int
    """Sample at which the silence that was needed had passed."""
    end: int
    """Sample at which it was decided."""


Decision = Started | Paused | Ended

HYSTERESIS = 0.15
"""Speech goes on down to `threshold` minus this (Silero's own default)."""
GAP_FRAMES = 3
"""Unvoiced frames in a row that void the evidence gathered so far."""
ASK_AFTER_MS = 120
"""Silence after which the end-of-turn model is asked: shorter ones are plosives and breaths."""
WAIT_MS = ((0.0, 1100.0), (0.2, 900.0), (0.5, 600.0), (0.9, 240.0), (1.0, 200.0))
"""Wait by the model's probability that the turn is complete, interpolated. 200 ms is what people leave between
turns (Stivers et al. 2009); 1,100 ms bounds the cost of a finished sentence that the model takes for unfinished."""
UNJUDGED_WAIT_MS = 1500
"""Silence that ends a turn even when the model has not answered."""


def adaptive_wait_ms(probability: float, patience: float = 1.0) -> float:
    """Silence in ms to wait for, given the probability that the turn is complete."""
    for (low, wait_low), (high, wait_high) in pairwise(WAIT_MS):
        if probability <= high:
            share = (probability - low) / (high - low)
            return patience * (wait_low + share * (wait_high - wait_low))
    return patience * WAIT_MS[-1][1]


class Endpoint:
    """Turns voice-activity probabilities into decisions, frame by frame."""

    def __init__(self, frame_samples: int, rate_hz: int, settings: EndpointSettings) -> None:
        self.settings = settings
        self._frame = frame_samples
        self._rate_hz = rate_hz
        self._now = 0
        self._spoken_until = 0  # the last turn's speech belongs to that turn alone
        self._pauses = 0
        self.reset()

    def reset(self) -> None:
        """Forget the turn that is being heard, if any. Media time goes on."""
        self._speaking = False
        self._first_voiced = self._last_voiced = self._now
        self._voiced = 0
        self._gap = GAP_FRAMES
        self._asked = False
        self._complete: float | None = None

    def skip_to(self, sample: int) -> None:
        """Begin to count at `sample`: audio before it was not looked at."""
        self._now = sample
        self.reset()

    @property
    def is_speaking(self) -> bool:
        """Whether a turn has begun and not ended."""
        return self._speaking

    @property
    def now(self) -> int:
        """Samples seen."""
        return self._now

    def push(self, probability: float, *, agent_audible: bool = False) -> list[Decision]:
        """Take the next frame's voice-activity probability."""
        self._now += self._frame
        floor = self.settings.threshold - (HYSTERESIS if self._speaking else 0.0)
        if probability >= floor:
            return self._voiced_frame(agent_audible=agent_audible)
        self._gap += 1
        if not self._speaking:
            return []
        return self._silence()

    def judge(self, pause: int, probability: float) -> list[Decision]:
        """Take the end-of-turn model's answer to `pause`; the turn may end at once."""
        if not self._speaking or pause != self._pauses or not self._asked:
            return []
        self._complete = probability
        return self._silence(judged=True)

    def expire(self) -> list[Decision]:
        """End the turn now: the client has stopped sending audio."""
        return self._end(wait_over=self._now) if self._speaking else []

    def _voiced_frame(self, *, agent_audible: bool) -> list[Decision]:
        if not self._speaking and self._gap >= GAP_FRAMES:
            self._first_voiced, self._voiced = self._now - self._frame, 0
        self._gap = 0
        self._voiced += self._frame
        self._last_voiced = self._now
        self._asked, self._complete = False, None
        needed = self.settings.evidence_speaking_ms if agent_audible else self.settings.evidence_ms
        if self._speaking or self._voiced < self._samples(needed):
            return []
        self._speaking = True
        return [Started(self.turn_start)]

    def _silence(self, *, judged: bool = False) -> list[Decision]:
        silence = self._now - self._last_voiced
        decisions: list[Decision] = []
        adaptive = self.settings.silence_ms is None
        if adaptive and not self._asked and silence >= self._samples(ASK_AFTER_MS):
            self._asked = True
            self._pauses += 1
            decisions.append(Paused(self._pauses, self._now))
        needed = self._samples(self._wait_ms())
        if silence >= needed:
            # where the model's answer came last, the rest of the wait was for the model
            decisions += self._end(wait_over=self._last_voiced + needed if judged else self._now)
        return decisions

    def _wait_ms(self) -> float:
        if self.settings.silence_ms is not None:
            return self.settings.silence_ms
        if self._complete is None:
            return UNJUDGED_WAIT_MS * max(self.settings.patience, 1.0)
        return adaptive_wait_ms(self._complete, self.settings.patience)

    def _end(self, wait_over: int) -> list[Decision]:
        ended = Ended(self.turn_start, self._last_voiced, min(wait_over, self._now), self._now)
        self._spoken_until = self._last_voiced
        self.reset()
        return [ended]

    @property
    def turn_start(self) -> int:
        """First sample of the turn that is being heard, prefix padding included."""
        return max(self._spoken_until, self._first_voiced - self._samples(self.settings.prefix_padding_ms))

    def _samples(self, ms: float) -> int:
        return round(ms * self._rate_hz / MS)
