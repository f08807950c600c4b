"""Every message that the server may send, and the one encoder for them.

An event gets its `event_id` when it is encoded, so that events can be made, compared and kept without one.
Only `lifecycle.ResponseLifecycle` makes `response.*` events.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

import msgspec
from msgspec import UNSET, Struct, UnsetType

from voiceedge.errors import CallerError, VoiceEdgeError
from voiceedge.protocol import ids
from voiceedge.protocol.items import Item
from voiceedge.protocol.usage import TranscriptionUsage, Usage


class ServerEvent(Struct, frozen=True, kw_only=True, tag_field="type"):
    """What all server events have in common."""

    event_id: str = ""
    """Assigned by `encode`."""


class ErrorDetails(Struct, frozen=True, kw_only=True):
    """What went wrong. An object, also where only the message is known."""

    type: str
    code: str | None
    message: str
    param: str | None = None
    event_id: str | UnsetType | None = UNSET
    """Of the client's message that is answered; only in `error` events."""


class FailureDetails(Struct, frozen=True):
    """Why a response failed."""

    type: str
    code: str | None
    message: str


class StatusDetails(Struct, frozen=True):
    """How a response ended, if not well."""

    type: Literal["completed", "cancelled", "incomplete", "failed"]
    reason: Literal["turn_detected", "client_cancelled", "max_output_tokens"] | UnsetType = UNSET
    error: FailureDetails | UnsetType = UNSET


class ResponseAudioOutput(Struct, frozen=True):
    """How a response sounds."""

    format: dict[str, Any]
    voice: str


class ResponseAudio(Struct, frozen=True):
    """Audio settings of a response."""

    output: ResponseAudioOutput


class Response(Struct, frozen=True, kw_only=True):
    """A response as `response.created` and `response.done` show it."""

    id: str
    object: Literal["realtime.response"] = "realtime.response"
    status: Literal["in_progress", "completed", "cancelled", "failed", "incomplete"]
    status_details: StatusDetails | None = None
    output: tuple[Item, ...] = ()
    conversation_id: str | None
    output_modalities: tuple[Literal["audio", "text"], ...]
    audio: ResponseAudio
    max_output_tokens: int | Literal["inf"]
    metadata: dict[str, str] | None = None
    usage: Usage | None = None


class AudioPart(Struct, frozen=True, tag_field="type", tag="audio"):
    """Speech, as PART events name it; in an item it is `output_audio`."""

    transcript: str = ""


class TextPart(Struct, frozen=True, tag_field="type", tag="text"):
    """Text, as PART events name it; in an item it is `output_text`."""

    text: str = ""


class RateLimit(Struct, frozen=True, kw_only=True):
    """What may still be asked of the node."""

    name: Literal["requests", "tokens"]
    limit: int
    remaining: int
    reset_seconds: float


class SessionCreated(ServerEvent, frozen=True, tag="session.created"):
    """First message of every connection."""

    session: dict[str, Any]


class SessionUpdated(ServerEvent, frozen=True, tag="session.updated"):
    """A session.update was taken on."""

    session: dict[str, Any]


class SpeechStarted(ServerEvent, frozen=True, tag="input_audio_buffer.speech_started"):
    """The user has begun to speak: clients stop playing."""

    audio_start_ms: int
    """Milliseconds of audio received in this session, padding included."""
    item_id: str
    """The id that the item WILL have."""


class SpeechStopped(ServerEvent, frozen=True, tag="input_audio_buffer.speech_stopped"):
    """The user's turn is over."""

    audio_end_ms: int
    """Milliseconds of audio received in this session, silence window included."""
    item_id: str


class AudioCommitted(ServerEvent, frozen=True, tag="input_audio_buffer.committed"):
    """The buffered audio has become an item."""

    item_id: str
    previous_item_id: str | None = None


class AudioCleared(ServerEvent, frozen=True, tag="input_audio_buffer.cleared"):
    """The buffered audio was thrown away."""


class TimeoutTriggered(ServerEvent, frozen=True, tag="input_audio_buffer.timeout_triggered"):
    """The user has said nothing for `idle_timeout_ms`."""

    audio_start_ms: int
    audio_end_ms: int
    item_id: str


class ItemAdded(ServerEvent, frozen=True, tag="conversation.item.added"):
    """An item has its place."""

    item: Item
    previous_item_id: str | None = None


class ItemDone(ServerEvent, frozen=True, tag="conversation.item.done"):
    """An item will not change any more, but for its transcript."""

    item: Item
    previous_item_id: str | None = None


class ItemRetrieved(ServerEvent, frozen=True, tag="conversation.item.retrieved"):
    """Answer to retrieve."""

    item: Item


class ItemDeleted(ServerEvent, frozen=True, tag="conversation.item.deleted"):
    """Answer to delete."""

    item_id: str


class ItemTruncated(ServerEvent, frozen=True, tag="conversation.item.truncated"):
    """Answer to truncate."""

    item_id: str
    content_index: int
    audio_end_ms: int


class TranscriptionDelta(ServerEvent, frozen=True, tag="conversation.item.input_audio_transcription.delta"):
    """More of what the user said; append-only."""

    item_id: str
    delta: str
    content_index: int = 0


class TranscriptionCompleted(ServerEvent, frozen=True, tag="conversation.item.input_audio_transcription.completed"):
    """What the user said; replaces the deltas."""

    item_id: str
    transcript: str
    usage: TranscriptionUsage
    content_index: int = 0


class TranscriptionFailed(ServerEvent, frozen=True, tag="conversation.item.input_audio_transcription.failed"):
    """What the user said could not be made out."""

    item_id: str
    error: ErrorDetails
    content_index: int = 0


class TranscriptionSegment(ServerEvent, frozen=True, tag="conversation.item.input_audio_transcription.segment"):
    """A stretch of the transcript with its times."""

    item_id: str
    id: str
    text: str
    speaker: str
    start: float
    """Seconds."""
    end: float
    content_index: int = 0


class ResponseCreated(ServerEvent, frozen=True, tag="response.created"):
    """A response has begun."""

    response: Response


class ResponseDone(ServerEvent, frozen=True, tag="response.done"):
    """A response is over, however it ended."""

    response: Response


class OutputItemAdded(ServerEvent, frozen=True, tag="response.output_item.added"):
    """A response has begun an item."""

    response_id: str
    output_index: int
    item: Item


class OutputItemDone(ServerEvent, frozen=True, tag="response.output_item.done"):
    """A response has finished an item."""

    response_id: str
    output_index: int
    item: Item


class Place(TypedDict):
    """Where in a response something belongs, as arguments of the events below."""

    response_id: str
    item_id: str
    output_index: int


class PartEvent(ServerEvent, frozen=True, kw_only=True):
    """Where in a response something belongs."""

    response_id: str
    item_id: str
    output_index: int
    content_index: int = 0


class ContentPartAdded(PartEvent, frozen=True, tag="response.content_part.added"):
    """A message has begun a part."""

    part: AudioPart | TextPart


class ContentPartDone(PartEvent, frozen=True, tag="response.content_part.done"):
    """A message has finished a part."""

    part: AudioPart | TextPart


class OutputAudioDelta(PartEvent, frozen=True, tag="response.output_audio.delta"):
    """More speech."""

    delta: str
    """base64, in the response's output format."""


class OutputAudioDone(PartEvent, frozen=True, tag="response.output_audio.done"):
    """No more speech in this part."""


class OutputAudioTranscriptDelta(PartEvent, frozen=True, tag="response.output_audio_transcript.delta"):
    """More of what is being said."""

    delta: str
    start_time: float | UnsetType = UNSET
    """Seconds into the item's audio; LiveKit syncs captions by it."""


class OutputAudioTranscriptDone(PartEvent, frozen=True, tag="response.output_audio_transcript.done"):
    """All that was said in this part."""

    transcript: str


class OutputTextDelta(PartEvent, frozen=True, tag="response.output_text.delta"):
    """More text."""

    delta: str


class OutputTextDone(PartEvent, frozen=True, tag="response.output_text.done"):
    """All text of this part."""

    text: str


class FunctionCallArgumentsDelta(ServerEvent, frozen=True, tag="response.function_call_arguments.delta"):
    """More of a call's arguments."""

    response_id: str
    item_id: str
    output_index: int
    call_id: str
    delta: str


class FunctionCallArgumentsDone(ServerEvent, frozen=True, tag="response.function_call_arguments.done"):
    """A call is complete; clients run it."""

    response_id: str
    item_id: str
    output_index: int
    call_id: str
    name: str
    arguments: str


class RateLimitsUpdated(ServerEvent, frozen=True, tag="rate_limits.updated"):
    """What may still be asked of the node."""

    rate_limits: tuple[RateLimit, ...]


NO_LIMITS = RateLimitsUpdated(rate_limits=())
"""What follows `response.done`: what limits there are is not told in advance."""


class Error(ServerEvent, frozen=True, tag="error"):
    """A request could not be honoured. Expensive: some stock clients end at any of them."""

    error: ErrorDetails


LONGEST_MESSAGE, LONGEST_PARAM = 500, 200
"""Characters of an error."""
_ENCODER = msgspec.json.Encoder()


def encode(event: ServerEvent) -> str:
    """Make the text frame of an event, and give it its id."""
    return _ENCODER.encode(identified(event)).decode()


def identified(event: ServerEvent) -> ServerEvent:
    """The event with an `event_id`: its own, else a new one."""
    return event if event.event_id else msgspec.structs.replace(event, event_id=ids.event_id())


def error_event(error: VoiceEdgeError, *, event_id: str | None = None) -> Error:
    """Report an error; `event_id` is that of the client's message which is answered, if any."""
    return Error(error=msgspec.structs.replace(_details(error), event_id=event_id))


def transcription_failed(item_id: str, error: VoiceEdgeError) -> TranscriptionFailed:
    """Report that an item's speech could not be transcribed."""
    return TranscriptionFailed(item_id=item_id, error=_details(error))


def _details(error: VoiceEdgeError) -> ErrorDetails:
    param = error.param if isinstance(error, CallerError) else None
    return ErrorDetails(
        type=error.wire_type,
        code=error.wire_code,
        message=brief(str(error), LONGEST_MESSAGE),
        param=None if param is None else brief(param, LONGEST_PARAM),
    )


def brief(text: str, longest: int) -> str:
    """The text, or its beginning: complaints quote what a client has sent, which may be megabytes."""
    return text if len(text) <= longest else f"{text[:longest]}…"
