"""One turn in figures: what the client measured, what the node says, and what neither explains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from voiceedge.bench.exchange import Exchange, Problem
from voiceedge.bench.wire import PathSegment
from voiceedge.bench.words import is_wrong
from voiceedge.trace import MILLISECONDS_A_SECOND, SegmentName

ZERO_SHIFT, NETWORK, LEADING_SILENCE, UNEXPLAINED = "zero_shift", "network", "leading_silence", "unexplained"
"""What lies between the node's figure and the client's, as legs of a turn."""

WAIT, QUEUE = "wait", "queue"
_COMPUTE = frozenset(get_args(SegmentName)) - {WAIT, QUEUE}


@dataclass(frozen=True, slots=True)
class TurnRow:
    """One recording and its answer. Times in milliseconds, from the last voiced sample unless said."""

    audio: str
    expected_text: str | None
    user_text: str
    agent_text: str
    client_v2v_ms: float | None
    """To the first audible sample at the client; None for a failed turn."""
    server_v2v_ms: float | None
    """The node's own figure; None when it sent none."""
    critical_path: tuple[PathSegment, ...]
    marks_ms: dict[str, float | None]
    facts: dict[str, Any]
    leading_silence_ms: float | None
    """From the arrival of the first audible sample to when it is played; part of `client_v2v_ms`."""
    problems: tuple[Problem, ...]
    errors: tuple[str, ...]
    """What the node complained about."""
    responses: int
    send_lag_ms: float
    """How late the latest append of the recording was sent; counted against the node all the same."""
    run: int = 1
    session: int = 1
    """Which of the conversations held at once, from 1."""
    connection: int = 1
    """Which of the conversation's WebSocket sessions, from 1; its first answered turn is a cold one."""
    hesitates_ms: float | None = None
    """How long a pause was put into the recording; None for a recording as it is."""
    restarts: int = 0
    """How often the node took the user's speech for over and then heard it go on. Unless an answer was audible,
    nobody notices."""
    network_ms: float | None = None
    """The WebSocket's round trip, measured during the turn; None where the node did not answer a ping."""
    zero_s: float | None = None
    """The moment of the last voiced sample, in seconds of the bench's clock."""
    zero_shift_ms: float | None = None
    """How much later in media time, so whatever the network did, the node takes the last voiced sample to be than the
    recording says; its own figure is smaller by so much. None where it does not tell (`last_voiced_ms`)."""
    interrupts: bool = False
    """Whether the recording interrupts an answer."""
    barge_in_ms: float | None = None
    """From the recording's first voiced sample to the moment the client is told to stop playing; None where nothing was
    interrupted, or nobody noticed before the answer had ended by itself."""
    dead_audio_ms: float | None = None
    """From there to the last audio of the interrupted answer that arrived; 0 when all of it had come before."""

    @property
    def remainder_ms(self) -> float | None:
        """What the client measured beyond the node's figure."""
        if self.client_v2v_ms is None or self.server_v2v_ms is None:
            return None
        return self.client_v2v_ms - self.server_v2v_ms

    @property
    def unexplained_ms(self) -> float | None:
        """What is left of the remainder without the shift of zero, the network and the leading silence.

        This client's own time, and whatever of the three was not measured.
        """
        if self.remainder_ms is None:
            return None
        return self.remainder_ms - sum(
            ms or 0.0 for ms in (self.zero_shift_ms, self.network_ms, self.leading_silence_ms)
        )

    @property
    def wrong_transcript(self) -> bool:
        """Whether so much was heard wrongly that the answer is one to another question."""
        return is_wrong(self.expected_text, self.user_text)

    @property
    def wait_ms(self) -> float | None:
        """Silence that the node needed to be sure that the user had finished; None without a critical path."""
        return self._of(frozenset({WAIT}))

    @property
    def queue_ms(self) -> float | None:
        """Time in which a step of the turn waited for a processor; None without a critical path."""
        return self._of(frozenset({QUEUE}))

    @property
    def compute_ms(self) -> float | None:
        """Time in which the node worked and nothing else went on; None without a critical path."""
        return self._of(_COMPUTE)

    @property
    def legs(self) -> tuple[PathSegment, ...]:
        """The shift of zero, the critical path, the network, the leading silence and what is unexplained.

        They add up to the client's figure. Empty where a turn failed or the node tells no path.
        """
        if self.unexplained_ms is None or not self.critical_path:
            return ()
        return (
            *_leg(ZERO_SHIFT, self.zero_shift_ms),
            *self.critical_path,
            *_leg(NETWORK, self.network_ms),
            *_leg(LEADING_SILENCE, self.leading_silence_ms),
            PathSegment(UNEXPLAINED, self.unexplained_ms),
        )

    def _of(self, segments: frozenset[str]) -> float | None:
        return sum(part.ms for part in self.critical_path if part.segment in segments) if self.critical_path else None


def _leg(name: str, ms: float | None) -> tuple[PathSegment, ...]:
    return () if ms is None else (PathSegment(name, ms),)


def turn_row(exchange: Exchange, run: int = 1, session: int = 1, connection: int = 1) -> TurnRow:
    """Put an exchange into figures."""
    answer = exchange.answer
    trace = answer.trace if answer else None
    measured = exchange.voice_to_voice_s
    audible = answer.audible if answer else None
    silence_s = None
    if measured is not None and audible and audible.heard is not None and audible.arrived is not None:
        silence_s = audible.heard - audible.arrived
    recording = exchange.recording
    barge_in = exchange.barge_in if exchange.barge_in is not None and exchange.barge_in.is_one else None
    return TurnRow(
        audio=recording.name if recording else "",
        expected_text=recording.expected_text if recording else None,
        user_text=exchange.user_text,
        agent_text=answer.text.strip() if answer else "",
        client_v2v_ms=_ms(measured),
        server_v2v_ms=trace.total_ms if trace else None,
        critical_path=trace.critical_path if trace else (),
        marks_ms=trace.marks_ms if trace else {},
        facts=trace.facts if trace else {},
        leading_silence_ms=_ms(silence_s),
        problems=exchange.problems,
        errors=tuple(exchange.errors),
        responses=len(exchange.answers),
        send_lag_ms=max(exchange.lags_s, default=0.0) * MILLISECONDS_A_SECOND,
        run=run,
        session=session,
        connection=connection,
        hesitates_ms=_ms(recording.hesitates_s) if recording else None,
        restarts=exchange.restarts,
        network_ms=exchange.network_ms,
        zero_s=exchange.utterance.zero,
        zero_shift_ms=exchange.zero_shift_ms,
        interrupts=barge_in is not None,
        barge_in_ms=_ms(barge_in.stop_s) if barge_in else None,
        dead_audio_ms=_ms(barge_in.dead_audio_s) if barge_in else None,
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * MILLISECONDS_A_SECOND
