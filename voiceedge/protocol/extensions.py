"""VoiceEdge's own events. Only clients that ask get them (`?trace=1`); stock clients ignore unknown types."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from voiceedge.protocol.server_events import ServerEvent


class TracedSegment(Struct, frozen=True):
    """A stretch of the critical path."""

    segment: str
    ms: float


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
