"""VoiceEdge's own events. Only clients that ask get them (`?trace=1`); stock clients ignore unknown types."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from voiceedge.protocol.server_events import ServerEvent


class TracedSegment(Struct, frozen=True):
    """A stretch of the critical path."""

    segment: str
    ms: float


class TurnWords(Struct, frozen=True):
    """What was said in a turn; only where the operator wants it kept."""

    heard: str | None
    """The user's words; None where no speech was, or none of it was understood."""
    said: str | None
    """The answer, as far as it was made; None when it held no words."""


class TurnTraced(ServerEvent, frozen=True, tag="voiceedge.turn"):
    """Where a turn's time went; follows its `response.done`."""

    turn: int
    """Number of the turn in its session, from 1."""
    response_id: str
    item_id: str | None
    """The user's item that was answered; None where no speech was."""
    status: Literal["completed", "incomplete", "cancelled", "failed"]
    total_ms: float | None
    """Server voice-to-voice: last voiced sample to first audible audio out; None when no audio came out."""
    marks_ms: dict[str, float]
    """Milliseconds from the last voiced sample to each mark that was reached."""
    critical_path: tuple[TracedSegment, ...]
    """Adds up to `total_ms`."""
    facts: dict[str, int | float | str]
    """Counts that explain the times: prefill_tokens, cached_tokens, completion_tokens, audio_ms."""
    zero_at: float = 0.0
    """Seconds since 1970 at the last voiced sample, by the node's clock."""
    words: TurnWords | UnsetType = UNSET
    """For the trace file and the spans of a node whose operator has set `trace_words`; for nobody else."""
