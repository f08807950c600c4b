"""One recording and everything that came back for it. Pure: every moment is handed in."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import Literal, get_args

from voiceedge.audio.pcm import PCM
from voiceedge.bench.microphone import Utterance
from voiceedge.bench.playout import FirstAudible, Playout
from voiceedge.bench.recording import WIRE_RATE_HZ, Recording
from voiceedge.bench.wire import ServerEvent
from voiceedge.trace import MILLISECONDS_A_SECOND

Problem = Literal[
    "no_answer",  # nothing audible came
    "failed_response",  # the node said so itself
    "talked_over",  # an answer was audible before the user had finished
    "double_answer",  # more than one was audible after the user had finished
    "split",  # more than one response for one utterance, heard or not
    "disconnected",
]
PROBLEMS: tuple[Problem, ...] = get_args(Problem)

LONGEST_ANSWER_S = 120.0
"""However lively the node still is, an exchange is over so long after its recording."""

# What a cancel gets that crosses the end of the answer on the wire: nobody's mistake
_BENIGN = frozenset({"response_cancel_not_active"})


@dataclass(slots=True)
class Answer:
    """One response of the node."""

    response_id: str
    item_id: str | None = None
    received_samples: int = 0
    text: str = ""
    status: str | None = None
    """None while it runs."""
    done: float = math.inf
    begins: float | None = None
    """When its first sample is played, audible or not."""
    audible: FirstAudible = field(default_factory=FirstAudible)
    stopped_by_us: bool = False
    trace: ServerEvent | None = None
    """The node's own account of the turn (`voiceedge.turn`)."""

    def receive(self, event: ServerEvent, at: float) -> None:
        """Take one of the response's own events."""
        match event.type:
            case "response.output_audio_transcript.delta" | "response.output_text.delta":
                self.text += event.delta
            case "response.output_audio_transcript.done":
                self.text = event.transcript or self.text
            case "response.done":
                self.status = event.response.status or "completed"
                self.done = at
            case "voiceedge.turn":
                self.trace = event
            case _:
                pass


@dataclass(slots=True)
class BargeIn:
    """A recording that begins while an earlier answer sounds, and how the node takes it."""

    answer: Answer
    """What is interrupted."""
    begins: float
    """First voiced sample of the recording."""
    sounds_until: float
    """When the interrupted answer ends if nobody stops it."""
    noticed: float | None = None
    """When the node said that it hears the user."""
    last_audio: float | None = None
    """When the last audio of the interrupted answer arrived."""

    @property
    def is_one(self) -> bool:
        """Whether there was still something to interrupt when the user began to speak."""
        return self.sounds_until > self.begins

    @property
    def stop_s(self) -> float | None:
        """From the first voiced sample until the speaker was told to stop; None where nobody noticed in time."""
        if self.noticed is None or not self.begins <= self.noticed <= self.sounds_until:
            return None
        return self.noticed - self.begins

    @property
    def dead_audio_s(self) -> float:
        """From the first voiced sample until the node had sent the last of what it interrupts; 0 if it had before."""
        return max(0.0, (self.last_audio or self.begins) - self.begins)


class Exchange:
    """Collects what happens from the beginning of a recording to the quiet after its answer.

    Without a recording it is the quiet before the first turn, in which a node may greet.

    Args:
        recording: What is said.
        utterance: When it is heard.
        playout: The listener's speaker, which outlives the exchange.
        barge_in: What is interrupted, if anything sounds when the recording begins.
    """

    def __init__(
        self,
        recording: Recording | None,
        utterance: Utterance,
        playout: Playout,
        barge_in: BargeIn | None = None,
    ) -> None:
        self.barge_in = barge_in
        self.recording = recording
        self.utterance = utterance
        self.answers: list[Answer] = []
        self.user_text = ""
        self.errors: list[str] = []
        self.disconnected = False
        self.lags_s: list[float] = []
        self.trips_s: list[float] = []
        """Round trips to the node, measured while nobody spoke to it."""
        self._playout = playout
        self.restarts = 0
        """How often the node took the user's speech for over and then heard it go on. Nobody hears that."""
        self._stopped = False
        self._speech_unanswered = False
        self._last_event = utterance.begins

    def receive(self, event: ServerEvent, at: float) -> None:
        """Take an event other than an audio delta that arrived at `at`."""
        self._last_event = at
        match event.type:
            case "input_audio_buffer.speech_started":
                self._user_is_heard(at)
            case "input_audio_buffer.speech_stopped":
                self._stopped = True
            case "conversation.item.input_audio_transcription.completed":
                self.user_text = f"{self.user_text} {(event.transcript or '').strip()}".strip()
            case "response.created":
                self._speech_unanswered = False
                self.answers.append(Answer(event.of_response))
            case "error" if event.error.code not in _BENIGN:
                self.errors.append(event.error.message or event.error.code or "error")
            case _:
                # of a response that this exchange has not seen begin: a late word about an earlier one
                if answer := self.find(event):
                    answer.receive(event, at)

    def receive_audio(self, event: ServerEvent, audio: PCM, at: float) -> None:
        """Take an audio delta, decoded to `audio` at `WIRE_RATE_HZ`."""
        self._last_event = at
        answer, barge_in = self.find(event), self.barge_in
        if barge_in is not None and barge_in.answer is answer:
            barge_in.last_audio = at
        if answer is None or answer.stopped_by_us:
            return
        begins = self._playout.play(audio, at)
        answer.item_id = event.item_id
        answer.received_samples += len(audio)
        answer.audible.add(audio, at, begins)
        if answer.begins is None:
            answer.begins = begins
        if barge_in is not None and barge_in.answer is answer:
            barge_in.sounds_until = self._playout.ends

    def find(self, event: ServerEvent) -> Answer | None:
        """The answer that an event belongs to."""
        known = [*self.answers, self.barge_in.answer] if self.barge_in is not None else self.answers
        return next((answer for answer in known if answer.response_id == event.of_response), None)

    @property
    def sounding(self) -> Answer | None:
        """The answer that sounds, if any does."""
        if self.answers or self.barge_in is None:
            return self.answers[-1] if self.answers else None
        return self.barge_in.answer

    @property
    def zero_shift_ms(self) -> float | None:
        """How much later in media time the node takes the last voiced sample to be; None where it does not say."""
        trace = self.answer.trace if self.answer is not None else None
        stated = None if trace is None else trace.facts.get("last_voiced_ms")
        if self.recording is None or not isinstance(stated, float | int):
            return None
        sample = self.utterance.first_sample + self.recording.last_voiced
        return stated - sample * MILLISECONDS_A_SECOND / WIRE_RATE_HZ

    @property
    def network_ms(self) -> float | None:
        """Median round trip to the node in or around the turn; None when it does not answer pings."""
        return statistics.median(self.trips_s) * MILLISECONDS_A_SECOND if self.trips_s else None

    @property
    def answer(self) -> Answer | None:
        """The answer that counts: the first that was audible after the user had finished, else the last."""
        in_time = (answer for answer in self.answers if self._heard_after_zero(answer))
        return next(in_time, self.answers[-1] if self.answers else None)

    @property
    def voice_to_voice_s(self) -> float | None:
        """Last voiced sample to first audible sample; None when no answer can be measured so."""
        answer = self.answer
        if answer is None or answer.audible.heard is None or not self._heard_after_zero(answer):
            return None
        return answer.audible.heard - self.utterance.zero

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What went wrong, in the order of `PROBLEMS`."""
        heard = [answer.audible.heard for answer in self.answers if answer.audible.heard is not None]
        failed = any(answer.status == "failed" for answer in self.answers)
        found: dict[Problem, bool] = {
            "no_answer": not heard and not failed and not self.disconnected,
            "failed_response": failed,
            "talked_over": any(moment < self.utterance.zero for moment in heard),
            "double_answer": sum(moment >= self.utterance.zero for moment in heard) > 1,
            "split": len(self.answers) > 1,
            "disconnected": self.disconnected,
        }
        return tuple(problem for problem in PROBLEMS if found[problem])

    @property
    def settled(self) -> float | None:
        """When all was said, played and finished (maybe still to come); None while something is open."""
        if self._speech_unanswered or any(answer.status is None for answer in self.answers):
            return None
        if self.recording is not None:
            last = self.answers[-1] if self.answers else None
            if last is None or (last.status == "cancelled" and not last.stopped_by_us):
                return None  # what was cancelled by the node will be answered anew
        done = max((answer.done for answer in self.answers), default=self.utterance.ends)
        return max(self.utterance.ends, done, self._playout.ends)

    def gives_up(self, timeout_s: float) -> float:
        """When waiting ends for lack of any sign of life."""
        lively = max(self.utterance.ends, self._last_event, self._playout.ends)
        return min(lively + timeout_s, self.utterance.ends + LONGEST_ANSWER_S)

    def to_interrupt(self, heard_s: float) -> float:
        """When so much of the answer will have been heard; infinity if it has ended by then, or none sounds yet."""
        answer = self.answer
        if answer is None or answer.audible.heard is None or not self._heard_after_zero(answer):
            return math.inf
        at = answer.audible.heard + heard_s
        return at if at < self._playout.ends else math.inf

    def to_stop(self, at: float) -> Answer | None:
        """The answer of which enough was heard at `at` to measure it, and that still sounds or runs."""
        return next((answer for answer in self._stoppable() if self._measured(answer) <= at), None)

    @property
    def next_to_stop(self) -> float:
        """When `to_stop` will find something; infinity while nothing audible has come."""
        return min((self._measured(answer) for answer in self._stoppable()), default=math.inf)

    def heard_ms(self, answer: Answer, at: float) -> int:
        """How much of `answer` has been played: what a client reports when it truncates."""
        heard_s = answer.received_samples / WIRE_RATE_HZ - self._playout.unplayed_s(at)
        return max(0, int(heard_s * MILLISECONDS_A_SECOND))

    def _user_is_heard(self, at: float) -> None:
        """The node takes what it hears for speech: a client stops playing at once."""
        if self.barge_in is not None and self.barge_in.noticed is None:
            self.barge_in.noticed = at
        self._speech_unanswered = True
        self.restarts += self._stopped
        self._stopped = False
        for answer in self.answers:
            if answer.audible.heard is not None and answer.audible.heard > at:
                answer.audible.heard = None  # never got out of the speaker

    def _stoppable(self) -> list[Answer]:
        return [
            answer
            for answer in self.answers
            if answer.audible.heard is not None and answer.status != "cancelled" and not answer.stopped_by_us
        ]

    def _measured(self, answer: Answer) -> float:
        return max(answer.audible.heard or 0.0, self.utterance.zero)

    def _heard_after_zero(self, answer: Answer) -> bool:
        return answer.audible.heard is not None and answer.audible.heard >= self.utterance.zero
