"""Where a turn's time went. The only reader of the clock.

Time zero is the end of the user's speech: the last voiced sample in media time, mapped to the wall clock at
its arrival. The critical path partitions zero..first_audio_out exactly: its segments add up to the total.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

Clock = Callable[[], float]
"""Seconds, monotonic."""

Mark = Literal[
    "wait_over",  # the silence that the endpoint needed has passed
    "endpoint",  # the server decided that the turn is over
    "stt_started",
    "stt_final",  # the text that the LLM will answer is known
    "llm_started",  # the LLM was asked
    "llm_first_token",
    "llm_first_clause",  # first speakable clause
    "llm_done",  # the LLM has nothing more to say
    "tts_first_audio",  # first sample of speech exists
    "first_audio_out",  # first audible audio handed to the socket
]
ANSWER_MARKS: tuple[Mark, ...] = (
    "llm_started",
    "llm_first_token",
    "llm_first_clause",
    "llm_done",
    "tts_first_audio",
    "first_audio_out",
)
"""What belongs to the answer and not to the words that are answered."""
SegmentName = Literal["wait", "end_of_turn", "stt", "llm", "tts", "queue", "send"]
SEGMENTS: tuple[SegmentName, ...] = get_args(SegmentName)
MILLISECONDS_A_SECOND = 1000.0


def now() -> float:
    """Seconds on the monotonic clock that every mark is taken from."""
    return time.perf_counter()


def cpu_now() -> float:
    """CPU seconds that this process has used, in all its threads."""
    return time.process_time()


def epoch_s() -> int:
    """Seconds since 1970, for `expires_at` and log lines."""
    return int(time.time())


def wall_s() -> float:
    """Seconds since 1970 with their fractions, for what is laid beside the times of other machines."""
    return time.time()


class MediaClock:
    """Maps a sample of the input to the moment it arrived.

    A message of n samples that arrives at t ends at t; its first sample arrived n/rate earlier, but never
    before the previous message: media time never runs backwards on the wall.
    """

    def __init__(self, rate_hz: int, clock: Clock = now) -> None:
        self.rate_hz = rate_hz
        self._clock = clock
        self._samples = 0
        # (first sample, its moment, samples, moment of the end); 4,096 messages of 20 ms are 80 s: older
        # samples are mapped by the oldest one kept
        self._arrivals: deque[tuple[int, float, int, float]] = deque(maxlen=4096)

    @property
    def samples(self) -> int:
        """Samples that have arrived."""
        return self._samples

    def arrived(self, samples: int) -> None:
        """Note that `samples` more have arrived, now."""
        if samples <= 0:
            return
        end = self._clock()
        begin = end - samples / self.rate_hz
        if self._arrivals:
            begin = min(max(begin, self._arrivals[-1][3]), end)
        self._arrivals.append((self._samples, begin, samples, end))
        self._samples += samples

    def moment(self, sample: int) -> float:
        """When `sample` (index since the session began) arrived, in seconds of the clock."""
        for first, begin, samples, end in reversed(self._arrivals):
            if sample >= first:
                share = min((sample - first) / samples, 1.0)
                return begin + share * (end - begin)
        return self._arrivals[0][1] if self._arrivals else self._clock()


@dataclass(frozen=True, slots=True)
class PathSegment:
    """A stretch of the critical path."""

    segment: SegmentName
    ms: float


@dataclass(slots=True)
class TurnTrace:
    """The marks of one turn, in the order they were first reached."""

    turn: int
    zero: float
    """Moment of the last voiced sample; of the request, where a turn was asked for without speech."""
    clock: Clock = now
    marks: dict[Mark, float] = field(default_factory=dict)
    waits: list[tuple[float, float]] = field(default_factory=list)
    """(asked, started) of every engine step that stood in the queue for the CPU, and of the answer where it stood
    behind another."""
    work_s: float = 0.0
    """Engine time spent for this turn: wasted, if nobody hears it."""
    facts: dict[str, int | float | str] = field(default_factory=dict)
    """Counts that explain the times: prefill_tokens, cached_tokens, completion_tokens, audio_s, …"""

    def mark(self, name: Mark, at: float | None = None) -> None:
        """Note that `name` was reached; only the first time counts."""
        self.marks.setdefault(name, self.clock() if at is None else at)

    def begin_anew(self) -> None:
        """Forget an answer that was begun and is of no use: another one is made to the same words."""
        for mark in ANSWER_MARKS:
            self.marks.pop(mark, None)
        self.facts.pop("prefill_tokens", None)

    def waited(self, asked: float, started: float) -> None:
        """Note that an engine step, or the answer, stood in a queue from `asked` to `started`; never two at a time."""
        self.waits.append((asked, started))

    def worked(self, seconds: float) -> None:
        """Note that an engine has worked for this turn."""
        self.work_s += seconds

    def zero_at(self) -> float:
        """Zero in seconds since 1970: the one place where the monotonic clock meets that of the wall."""
        return wall_s() - (self.clock() - self.zero)

    def since_zero_ms(self, name: Mark) -> float | None:
        """Milliseconds from zero to a mark, None when it was never reached."""
        at = self.marks.get(name)
        return None if at is None else (at - self.zero) * MILLISECONDS_A_SECOND

    def critical_path(self) -> tuple[PathSegment, ...]:
        """Partition zero..first_audio_out into the segments that made the listener wait.

        Empty when no audio came out. Walks the chain of causes: the audio left when both it and the
        endpoint were there, so a stage that was done before the endpoint is hidden behind the wait.
        """
        out = self.marks.get("first_audio_out")
        if out is None:
            return ()
        totals = dict.fromkeys(SEGMENTS, 0.0)
        cursor = self.zero
        for segment, mark in self._chain():
            end = min(max(self.marks.get(mark, cursor), cursor), out)
            queued = self._queued(cursor, end) if segment != "wait" else 0.0
            totals["queue"] += queued
            totals[segment] += end - cursor - queued
            cursor = end
        totals["send"] += out - cursor
        return tuple(PathSegment(name, totals[name] * MILLISECONDS_A_SECOND) for name in SEGMENTS)

    def _chain(self) -> tuple[tuple[SegmentName, Mark], ...]:
        endpoint: tuple[tuple[SegmentName, Mark], ...] = (("wait", "wait_over"), ("end_of_turn", "endpoint"))
        if self.marks.get("tts_first_audio", 0.0) <= self.marks.get("endpoint", self.zero):
            return endpoint
        ahead = self.marks.get("stt_started", 0.0) < self.marks.get("endpoint", self.zero)
        before: tuple[tuple[SegmentName, Mark], ...] = (("wait", "stt_started"),) if ahead else endpoint
        return (
            *before,
            ("stt", "stt_final"),
            ("llm", "llm_first_clause"),
            ("tts", "tts_first_audio"),
        )

    def _queued(self, begin: float, end: float) -> float:
        """Seconds of [begin, end] in which the turn stood in the queue."""
        return sum(max(0.0, min(end, started) - max(begin, asked)) for asked, started in self.waits)
