"""When a turn begins and ends, in media time: frames are counted, no clock is read.

A turn begins on evidence of speech, because `speech_started` cannot be taken back: clients stop playing on it. It ends
after a silence that is as long as the turn seems unfinished, by what the end-of-turn model hears and what the words
say (`conversation/waiting.py`). Soon after the voice has stopped, long before that, an answer may be drafted: `Paused`.
"""

from __future__ import annotations

from dataclasses import dataclass

from voiceedge.conversation.backchannel import is_backchannel
from voiceedge.conversation.ending import ending
from voiceedge.conversation.waiting import OwnPauses, Words, wait_ms

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
    draft_after_ms: int | None = 64
    """Silence after which an answer may be drafted, two frames; None: no drafts, and no words are awaited."""
    backchannels: bool = False
    """Whether "uh-huh" and its like, while the agent is audible, make no turn."""


@dataclass(frozen=True, slots=True)
class Started:
    """The user speaks."""

    start: int
    """First sample of the turn, prefix padding included (as far as the turn before leaves room for it)."""


@dataclass(frozen=True, slots=True)
class Paused:
    """The user has just stopped, for good or not: transcribe what was said, tell `Endpoint.read`, draft an answer."""

    pause: int
    """Number of this pause; what is said about an earlier one is ignored."""
    start: int
    """First sample of the turn so far."""
    end: int
    """Sample up to which to listen."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """The words have not decided, or are not known: ask the end-of-turn model, tell `Endpoint.judge`."""

    pause: int
    start: int
    """First sample of the turn so far."""
    end: int
    """Sample up to which the model should listen."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The user goes on: what was drafted in this pause is void."""

    pause: int


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


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The user made a sound that means "go on", and no turn: nothing was announced, nothing is to be answered."""

    start: int
    end: int


Decision = Started | Paused | Undecided | Resumed | Ended | Acknowledged

HYSTERESIS = 0.15
"""Speech goes on down to `threshold` minus this (Silero's own default)."""
GAP_FRAMES = 3
"""Unvoiced frames in a row that void the evidence gathered so far."""
ASK_AFTER_MS = 128
"""Silence after which the end-of-turn model is asked: shorter ones are plosives and breaths, and its answer takes less
time than the words'. It is as good from 64 to 256 ms (docs/endpointing.md)."""
CLOSURE_MS = 160
"""A final plosive is released so long after the voice has stopped: up to here a single frame belongs to the word."""
RETURN_FRAMES = 2
"""Voiced frames that prove, after more silence than that, that the user goes on: one may be a breath or a click."""
RETURN_GAP_FRAMES = 2
"""Unvoiced frames in a row after which it was one. Until then no turn ends: it could be a word that begins."""
UNJUDGED_WAIT_MS = 1500
"""Silence that ends a turn of which neither the model nor the words are known."""
WORDLESS_WAIT_MS = 350
"""Silence that is waited for at least while the words are awaited. It costs nothing: there is nothing to answer yet."""
BACKCHANNEL_MS = 700
"""Voiced time that a backchannel does not have: "uh-huh" and "okay" take 300 to 600 ms (Ward & Tsukahara 2000)."""
TOO_EARLY_MS = 1000
"""Who goes on so soon after the end of a turn had not finished it: it counts as a pause of this speaker."""


@dataclass(slots=True)
class _Pause:
    """What is known of the pause that the user is in."""

    drafted: bool = False
    asked: bool = False
    probability: float | None = None
    words: Words | None = None

    @property
    def is_announced(self) -> bool:
        return self.drafted or self.asked


class Endpoint:
    """Turns voice-activity probabilities into decisions, frame by frame."""

    def __init__(self, frame_samples: int, rate_hz: int, settings: EndpointSettings) -> None:
        self.settings = settings
        self.is_thrifty = False
        """Whether drafts wait until the end-of-turn model is asked, because the CPU is needed elsewhere."""
        self._frame = frame_samples
        self._rate_hz = rate_hz
        self._now = 0
        self._spoken_until = 0  # the last turn's speech belongs to that turn alone
        self._ended_at: int | None = None  # where the last turn's speech ended, if silence ended it
        self._pauses = 0
        self._own = OwnPauses()
        self.reset()

    def reset(self) -> None:
        """Forget the turn that is being heard, if any. Media time goes on, and what the speaker is like is kept."""
        self._speaking = False
        self._held = False  # there is evidence of speech, but it may be a backchannel
        self._first_voiced = self._last_voiced = self._now
        self._voiced = 0
        self._gap = GAP_FRAMES
        self._returning = 0
        self._pause = _Pause()

    def skip_to(self, sample: int) -> None:
        """Begin to count at `sample`: audio before it was not looked at."""
        self._now = sample
        self._ended_at = None
        self.reset()

    @property
    def is_speaking(self) -> bool:
        """Whether a turn has begun and not ended."""
        return self._speaking

    @property
    def is_hearing(self) -> bool:
        """Whether there is a turn, or a sound that may become one: `expire` would end it."""
        return self._speaking or self._held

    @property
    def now(self) -> int:
        """Samples seen."""
        return self._now

    @property
    def first_voiced(self) -> int:
        """First sample of the first voiced frame of the turn that is being heard."""
        return self._first_voiced

    @property
    def turn_start(self) -> int:
        """First sample of the turn that is being heard, prefix padding included."""
        return max(self._spoken_until, self._first_voiced - self._samples(self.settings.prefix_padding_ms))

    def push(self, probability: float, *, agent_audible: bool = False) -> list[Decision]:
        """Take the next frame's voice-activity probability."""
        self._now += self._frame
        # a backchannel is said to somebody who speaks; to somebody who does not, the same words are an answer
        decisions = self._start() if self._held and not agent_audible else []
        is_long_silent = self._now - self._frame - self._last_voiced >= self._samples(CLOSURE_MS)
        goes_on = self.is_hearing and not is_long_silent
        if probability < self.settings.threshold - (HYSTERESIS if goes_on else 0.0):
            return decisions + self._unvoiced_frame()
        if self.is_hearing:
            return decisions + self._voice_again(is_long_silent=is_long_silent)
        return decisions + self._evidence(agent_audible=agent_audible)

    def judge(self, pause: int, probability: float) -> list[Decision]:
        """Take the end-of-turn model's answer to `pause`; the turn may end at once."""
        if not self._is_current(pause) or self.settings.silence_ms is not None:
            return []
        self._pause.probability = probability
        return self._silence(is_told=True)

    def read(self, pause: int, text: str, whole: float | None = None, marked: float | None = None) -> list[Decision]:
        """Take the transcript of the turn up to `pause`; the turn may end, or begin, at once.

        `whole` is a language model's probability that a sentence ends where the text does, if one was asked; `marked`
        is speech-to-text's of a final mark there, if it tells. The transcript may come again, with them or in a better
        version.
        """
        if not self._is_current(pause):
            return []
        decisions: list[Decision] = []
        if self._held and text.strip() and not is_backchannel(text):
            decisions = self._start()
        if self._held or self.settings.silence_ms is None:
            self._pause.words = Words(ending(text), whole, marked)
            decisions += self._silence(is_told=True)
        return decisions

    def wants_language(self, pause: int, text: str) -> bool:
        """Whether `read` could decide otherwise if it were told how likely a sentence ends where `text` does."""
        is_open = self._is_current(pause) and self.settings.silence_ms is None
        return is_open and bool(text.strip()) and Words(ending(text)).depend_on_language

    def expire(self) -> list[Decision]:
        """End the turn now: the client has stopped sending audio."""
        return self._end(wait_over=self._now) if self.is_hearing else []

    def _is_current(self, pause: int) -> bool:
        return self.is_hearing and self._pause.is_announced and pause == self._pauses

    def _evidence(self, *, agent_audible: bool) -> list[Decision]:
        """A voiced frame, while nobody is known to speak."""
        if self._gap >= GAP_FRAMES:
            self._first_voiced, self._voiced = self._now - self._frame, 0
        self._gap = 0
        self._voiced += self._frame
        self._last_voiced = self._now
        needed = self.settings.evidence_speaking_ms if agent_audible else self.settings.evidence_ms
        if self._voiced < self._samples(needed):
            return []
        if agent_audible and self.settings.backchannels:
            self._held = True
            return []
        return self._start()

    def _start(self) -> list[Decision]:
        self._speaking, self._held = True, False
        if self._ended_at is not None:
            silence_ms = self._milliseconds(self._first_voiced - self._ended_at)
            if silence_ms <= TOO_EARLY_MS:
                self._own.note(silence_ms)
        return [Started(self.turn_start)]

    def _voice_again(self, *, is_long_silent: bool) -> list[Decision]:
        """A voiced frame of the turn; after a silence it takes two to be sure."""
        self._gap = 0
        self._returning += 1
        if is_long_silent and self._returning < RETURN_FRAMES:
            return []
        silence = self._now - self._returning * self._frame - self._last_voiced
        self._own.note(self._milliseconds(silence))
        self._voiced += self._returning * self._frame
        self._last_voiced, self._returning = self._now, 0
        decisions: list[Decision] = [Resumed(self._pauses)] if self._pause.is_announced else []
        self._pause = _Pause()
        if self._held and self._voiced > self._samples(BACKCHANNEL_MS):
            decisions += self._start()
        return decisions

    def _unvoiced_frame(self) -> list[Decision]:
        self._gap += 1
        if self._gap >= RETURN_GAP_FRAMES:
            self._returning = 0
        return self._silence() if self.is_hearing else []

    def _silence(self, *, is_told: bool = False) -> list[Decision]:
        """What the silence so far decides; `is_told`: because something became known, not because time has passed."""
        silence = self._now - self._last_voiced
        needed = self._samples(self._wait_ms())
        if silence >= needed and not self._returning:
            # where a witness came last, the rest of the wait was for the witness
            return self._end(wait_over=self._last_voiced + needed if is_told else self._now)
        decisions: list[Decision] = []
        if self._drafts_after is not None and not self._pause.drafted and silence >= self._samples(self._drafts_after):
            decisions.append(Paused(self._number(), self.turn_start, self._now))
            self._pause.drafted = True
        if self._wants_judgement and silence >= self._samples(ASK_AFTER_MS):
            decisions.append(Undecided(self._number(), self.turn_start, self._now))
            self._pause.asked = True
        return decisions

    @property
    def _drafts_after(self) -> int | None:
        after = self.settings.draft_after_ms
        if after is None:
            return ASK_AFTER_MS if self._held else None  # only words tell a backchannel from a turn
        return max(after, ASK_AFTER_MS) if self.is_thrifty else after

    @property
    def _wants_judgement(self) -> bool:
        pause = self._pause
        decided = pause.probability is not None or (pause.words is not None and pause.words.decide)
        return self.settings.silence_ms is None and not (self._held or pause.asked or decided)

    def _number(self) -> int:
        """This pause's number; a new one where nothing has been said about it."""
        self._pauses += not self._pause.is_announced
        return self._pauses

    def _wait_ms(self) -> float:
        words = self._pause.words
        if self._held and words is not None:
            return 0.0  # a backchannel: nobody waits for anything
        if self.settings.silence_ms is not None:
            return self.settings.silence_ms
        probability, patience = self._pause.probability, self.settings.patience
        if probability is None and words is None:
            return UNJUDGED_WAIT_MS * max(patience, 1.0)
        needed = wait_ms(probability, words, patience, self._own.stretch)
        return max(needed, WORDLESS_WAIT_MS) if self._pause.drafted and words is None else needed

    def _end(self, wait_over: int) -> list[Decision]:
        decisions: list[Decision] = []
        if self._held and self._pause.words is not None:
            decisions = [Acknowledged(self.turn_start, self._now)]
        else:
            decisions = [] if self._speaking else self._start()
            decisions.append(Ended(self.turn_start, self._last_voiced, min(wait_over, self._now), self._now))
            self._ended_at = self._last_voiced
        self._spoken_until = self._last_voiced
        self.reset()
        return decisions

    def _samples(self, ms: float) -> int:
        return round(ms * self._rate_hz / MS)

    def _milliseconds(self, samples: int) -> float:
        return samples * MS / self._rate_hz
