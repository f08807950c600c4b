"""The events of a node that the bench reads, and the few messages that it sends besides audio.

One lenient struct for all events: a bench judges a node by its answers, not by fields that it does not use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import pybase64


@dataclass(frozen=True, slots=True)
class PathSegment:
    """A stretch of the node's critical path. Any name: nodes of another version have others."""

    segment: str
    ms: float


class ResponseState(msgspec.Struct, frozen=True):
    """`response` of `response.created` and `response.done`."""

    id: str = ""
    status: str = ""


class ErrorDetail(msgspec.Struct, frozen=True):
    """`error` of an `error` event."""

    message: str = ""
    code: str | None = None


class ServerEvent(msgspec.Struct, frozen=True):
    """Any event of a node."""

    type: str
    response_id: str | None = None
    item_id: str | None = None
    delta: str = ""
    transcript: str | None = ""
    response: ResponseState = ResponseState()
    error: ErrorDetail = ErrorDetail()
    # voiceedge.turn
    marks_ms: dict[str, float | None] = {}
    critical_path: tuple[PathSegment, ...] = ()
    total_ms: float | None = None
    facts: dict[str, Any] = {}

    @property
    def of_response(self) -> str:
        """Id of the response that the event belongs to; empty for all others."""
        return self.response_id or self.response.id


_decode = msgspec.json.Decoder(ServerEvent).decode


def read(message: str | bytes) -> ServerEvent:
    """Decode one message.

    Raises:
        msgspec.DecodeError: it is no JSON, or a field that the bench needs has another type.
    """
    try:
        return _decode(message)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error


def session_update(turn_detection: dict[str, Any], instructions: str | None, rate_hz: int) -> str:
    """The session that the bench asks for: speech both ways, with both captions."""
    pcm = {"type": "audio/pcm", "rate": rate_hz}
    session: dict[str, Any] = {
        "type": "realtime",
        "output_modalities": ["audio"],
        "audio": {
            "input": {
                "format": pcm,
                "transcription": {"model": "whisper-1"},  # a name that every implementation maps to its own
                "turn_detection": turn_detection,
            },
            "output": {"format": pcm},
        },
    }
    if instructions is not None:
        session["instructions"] = instructions
    return _write({"type": "session.update", "session": session})


def cancel(response_id: str) -> str:
    """Stop a response."""
    return _write({"type": "response.cancel", "response_id": response_id})


def truncate(item_id: str, heard_ms: int) -> str:
    """Tell the node how much of an answer was heard."""
    return _write(
        {
            "type": "conversation.item.truncate",
            "item_id": item_id,
            "content_index": 0,
            "audio_end_ms": heard_ms,
        }
    )


def append(pcm16: bytes) -> str:
    """Carry 16-bit audio of the user."""
    return _write({"type": "input_audio_buffer.append", "audio": pybase64.b64encode_as_string(pcm16)})


def _write(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()
