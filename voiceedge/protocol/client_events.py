"""Every message that a client may send, and the one decoder for them.

Unknown keys are ignored. What a client may leave out or get wrong harmlessly is put right here or, for
sessions and items, where they are merged and parsed: an `error` event ends the receive loop of some stock
clients.
"""

from __future__ import annotations

from typing import Annotated, Any, get_args

import msgspec
import pybase64
from msgspec import Meta, Struct

from voiceedge.errors import InvalidRequest
from voiceedge.protocol import legacy
from voiceedge.protocol.validation import invalid

MAX_AUDIO_BYTES = 15 * 1024 * 1024
"""Decoded audio in one append, as in OpenAI's reference."""
MAX_AUDIO_CHARACTERS = -(-MAX_AUDIO_BYTES // 3) * 4
MAX_MESSAGE_CHARACTERS = 1024 * 1024
"""Of a message that holds no base64. Nothing that fits a context window comes near it."""
MAX_MESSAGE_VALUES = 65_536
"""In one message, before it is decoded: a value of two characters takes a hundred bytes of memory. Counted are the
marks that can stand before one, those in strings as well: prose has a comma in fifty characters, base64 has none."""

MAX_ID_CHARACTERS = 512
"""OpenAI's reference."""
Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARACTERS)]
OptionalId = Annotated[str, Meta(max_length=MAX_ID_CHARACTERS)] | None


class ClientMessage(Struct, frozen=True, kw_only=True, tag_field="type"):
    """What all client events have in common."""

    event_id: OptionalId = None
    """Comes back only as `error.error.event_id`."""


class SessionUpdate(ClientMessage, frozen=True, tag="session.update"):
    """Change the session; see `session_config.merge`."""

    session: dict[str, Any]


class _TranscriptionSessionUpdate(ClientMessage, frozen=True, tag="transcription_session.update"):
    """The beta's name for a session.update of type transcription; never leaves this module."""

    session: dict[str, Any]


class AppendAudio(ClientMessage, frozen=True, tag="input_audio_buffer.append"):
    """More audio in the session's input format; any length, also parts of a sample."""

    audio: str
    """base64; see `audio_of`."""


class CommitAudio(ClientMessage, frozen=True, tag="input_audio_buffer.commit"):
    """Make the buffered audio a user item. Does not ask for a response."""


class ClearAudio(ClientMessage, frozen=True, tag="input_audio_buffer.clear"):
    """Throw the buffered audio away."""


class ClearOutputAudio(ClientMessage, frozen=True, tag="output_audio_buffer.clear"):
    """Of use over WebRTC only; accepted and ignored."""


class CreateItem(ClientMessage, frozen=True, tag="conversation.item.create"):
    """Add an item; see `items.parse_item`."""

    item: dict[str, Any]
    previous_item_id: OptionalId = None
    """None puts it at the end, "root" at the front."""


class RetrieveItem(ClientMessage, frozen=True, tag="conversation.item.retrieve"):
    """Send an item back."""

    item_id: Id


class TruncateItem(ClientMessage, frozen=True, tag="conversation.item.truncate"):
    """The user heard only the first `audio_end_ms` of an assistant's item."""

    item_id: Id
    audio_end_ms: int | float
    content_index: Annotated[int, Meta(ge=-(2**31), lt=2**31)] = 0

    def __post_init__(self) -> None:
        """Clients compute it from a clock: fractions and small negative values happen."""
        msgspec.structs.force_setattr(self, "audio_end_ms", max(0, int(self.audio_end_ms)))


class DeleteItem(ClientMessage, frozen=True, tag="conversation.item.delete"):
    """Remove an item."""

    item_id: Id


class CreateResponse(ClientMessage, frozen=True, tag="response.create"):
    """Ask for a response; see `response_config.response_config`."""

    response: dict[str, Any] | None = None


class CancelResponse(ClientMessage, frozen=True, tag="response.cancel"):
    """Stop a response: the one named, else the one that is running."""

    response_id: OptionalId = None


ClientEvent = (
    SessionUpdate
    | AppendAudio
    | CommitAudio
    | ClearAudio
    | ClearOutputAudio
    | CreateItem
    | RetrieveItem
    | TruncateItem
    | DeleteItem
    | CreateResponse
    | CancelResponse
)


class _Envelope(Struct):
    """The little that is read of a message which did not decode."""

    type: Any = None
    event_id: Any = None


_DECODER: msgspec.json.Decoder[ClientEvent | _TranscriptionSessionUpdate] = msgspec.json.Decoder(
    ClientEvent | _TranscriptionSessionUpdate
)
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)
"""What the decoder raises. ValueError: no UTF-8, or an integer of more digits than Python reads."""
_MAY_BE_LARGE = (AppendAudio, CreateItem, CreateResponse)
"""Hold audio or pictures in base64."""
_TYPES = frozenset(kind.__struct_config__.tag for kind in (*get_args(ClientEvent), _TranscriptionSessionUpdate))


def decode_client_event(text: str | bytes) -> ClientEvent:
    """Decode one message.

    Raises:
        InvalidRequest: not JSON, no such type, too large, or a field that does not fit. `event_id_of` tells whom to
            answer.
    """
    _require_few_values(text)
    try:
        event = _DECODER.decode(text)
    except msgspec.ValidationError as error:
        raise _unfit(error, text) from error
    except _UNREADABLE as error:
        raise InvalidRequest("The message is not valid JSON.", code="invalid_json") from error
    if len(text) > MAX_MESSAGE_CHARACTERS and not isinstance(event, _MAY_BE_LARGE):
        raise _too_large(f"a message of this type may have {MAX_MESSAGE_CHARACTERS}", text)
    if isinstance(event, _TranscriptionSessionUpdate):
        session = {**legacy.session_from_beta(event.session), "type": "transcription"}
        return SessionUpdate(session=session, event_id=event.event_id)
    return event


def event_id_of(text: str | bytes) -> str | None:
    """`event_id` of a message that `decode_client_event` refused, None where it cannot be read.

    For the error path only: it decodes the message a second time.
    """
    envelope = _envelope(text)
    is_id = envelope is not None and isinstance(envelope.event_id, str) and len(envelope.event_id) <= MAX_ID_CHARACTERS
    return envelope.event_id if envelope is not None and is_id else None


def audio_of(event: AppendAudio) -> bytes:
    """Decode the audio of an append, at most `MAX_AUDIO_BYTES`.

    Raises:
        InvalidRequest: too long, or not base64.
    """
    if len(event.audio) > MAX_AUDIO_CHARACTERS:
        raise InvalidRequest("Invalid 'audio': more than 15 MiB in one message.", param="audio")
    try:
        return pybase64.b64decode(event.audio, validate=True)
    except ValueError as error:
        raise InvalidRequest("Invalid 'audio': not valid base64.", param="audio") from error


def _envelope(text: str | bytes) -> _Envelope | None:
    try:
        return _ENVELOPE.decode(text)
    except _UNREADABLE:
        return None


def _require_few_values(text: str | bytes) -> None:
    """Refuse what would take far more memory than it has characters.

    Raises:
        InvalidRequest: too many values, or characters other than ASCII where only base64 makes a message so large: in
            memory each of its characters would take four bytes.
    """
    if len(text) <= MAX_MESSAGE_VALUES:  # cannot hold more
        return
    if len(text) > MAX_MESSAGE_CHARACTERS and not text.isascii():
        raise _too_large(f"with others than ASCII among them there may be {MAX_MESSAGE_CHARACTERS}", text)
    if isinstance(text, str):
        marks = text.count(",") + text.count("[") + text.count("{")
    else:
        marks = text.count(b",") + text.count(b"[") + text.count(b"{")
    if marks > MAX_MESSAGE_VALUES:
        raise InvalidRequest(f"The message holds more than {MAX_MESSAGE_VALUES} values.", code="message_too_large")


def _too_large(but: str, text: str | bytes) -> InvalidRequest:
    return InvalidRequest(f"The message has {len(text)} characters; {but}.", code="message_too_large")


def _unfit(error: msgspec.ValidationError, text: str | bytes) -> InvalidRequest:
    """Tell an unknown type from a wrong field: clients' authors look for the two in different places."""
    envelope = _envelope(text)
    if envelope is None:
        return invalid(error)
    if envelope.type is None:
        return InvalidRequest("Missing required parameter: 'type'.", code="missing_required_parameter", param="type")
    if not isinstance(envelope.type, str):
        return InvalidRequest("Invalid 'type': expected a string.", param="type")
    if envelope.type not in _TYPES:
        return InvalidRequest(f"Unknown event type '{envelope.type[:100]}'.", param="type")
    return invalid(error)
