"""What clients send: messages, settings, items, responses, audio, functions."""

from __future__ import annotations

import inspect
import json
from functools import cache
from types import ModuleType
from typing import Any, get_args

import msgspec

from tests.fuzz.target import Target, edited_json
from tests.protocol.samples import NAMES
from voiceedge.audio.codec import CODECS, codec
from voiceedge.conversation.history import DuplicateItem, History, UnknownItem
from voiceedge.engines import LISTENING_RATE_HZ
from voiceedge.engines.schema import Unfit, narrowed, written
from voiceedge.errors import CallerError
from voiceedge.protocol import client_events, items, normalise, session_object
from voiceedge.protocol.client_events import (
    AppendAudio,
    CreateItem,
    CreateResponse,
    DeleteItem,
    SessionUpdate,
    TruncateItem,
    audio_of,
    decode_client_event,
    event_id_of,
)
from voiceedge.protocol.items import Item as WireItem
from voiceedge.protocol.items import parse_item
from voiceedge.protocol.legacy import encode_legacy
from voiceedge.protocol.response_config import ResponseConfig, response_config
from voiceedge.protocol.server_events import ItemAdded, SessionUpdated, encode, error_event
from voiceedge.protocol.session_config import SessionConfig, default_session, merge
from voiceedge.session.items import audio_in, from_wire, to_wire
from voiceedge.session.prompting import cost_of, cost_of_opening


def vocabulary(*modules: ModuleType) -> tuple[str, ...]:
    """Names of fields, tags and set values in the Structs of these modules."""
    words: set[str] = set()
    for module in modules:
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, msgspec.Struct):
                fields = msgspec.structs.fields(kind)
                words |= {field.encode_name for field in fields}
                words |= {word for field in fields for word in _set_values(field.type)}
                words |= {str(kind.__struct_config__.tag)} if kind.__struct_config__.tag else set()
    return tuple(sorted(words - {""}))


def _set_values(kind: Any) -> set[str]:
    inner = get_args(kind)
    return {value for value in inner if isinstance(value, str)}.union(*(_set_values(each) for each in inner))


BETA = (
    "modalities", "max_response_output_tokens", "input_audio_format", "input_audio_transcription", "turn_detection",
    "input_audio_noise_reduction", "output_audio_format", "voice", "speed", "pcm16", "g711_ulaw", "g711_alaw", "none",
)  # fmt: skip
WORDS = (*vocabulary(client_events, items, session_object), *normalise.KNOWN_INCLUDES, *BETA, "item_reference")
TOOL = {
    "type": "function",
    "name": "weather",
    "description": "Says how it is outside.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
FULL_SESSION: dict[str, Any] = {
    "type": "realtime",
    "output_modalities": ["audio"],
    "instructions": "Be short.",
    "tools": [TOOL],
    "tool_choice": {"type": "function", "name": "weather"},
    "max_output_tokens": 100,
    "temperature": 0.8,
    "truncation": {"type": "retention_ratio", "retention_ratio": 0.5, "token_limits": {"post_instructions": 100}},
    "tracing": "auto",
    "prompt": {"id": "p", "version": "1", "variables": {"a": "b"}},
    "include": ["item.input_audio_transcription.logprobs"],
    "reasoning": {"effort": "low"},
    "audio": {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24000},
            "transcription": {"model": "whisper-1", "language": "en", "prompt": "names"},
            "noise_reduction": {"type": "near_field"},
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.5,
                "silence_duration_ms": 300,
                "idle_timeout_ms": 6000,
            },
        },
        "output": {"format": {"type": "audio/pcmu"}, "voice": "marin", "speed": 1.1},
    },
}
BETA_SESSION = {
    "modalities": ["text", "audio"],
    "voice": "alloy",
    "input_audio_format": "pcm16",
    "output_audio_format": "g711_ulaw",
    "input_audio_transcription": {"model": "whisper-1"},
    "turn_detection": {"type": "server_vad", "threshold": 0.5, "create_response": True},
    "max_response_output_tokens": "inf",
}
SEMANTIC = {"audio": {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "high"}}}}
ITEMS: tuple[dict[str, Any], ...] = (
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello."}]},
    {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "AAAA", "transcript": None}]},
    {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "Hi."}], "status": "incomplete"},
    {"type": "message", "role": "developer", "content": "Be nice.", "id": "item_1"},
    {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": "data:,", "detail": "low"}]},
    {"type": "function_call", "name": "weather", "arguments": {"city": "Kyōto"}, "call_id": "call_1"},
    {"type": "function_call_output", "call_id": "call_1", "output": '{"sun": true}'},
)
RESPONSE: dict[str, Any] = {
    "conversation": "none",
    "instructions": "Say yes.",
    "output_modalities": ["text"],
    "input": [{"type": "item_reference", "id": "item_1"}, ITEMS[0]],
    "metadata": {"topic": "x"},
    "max_output_tokens": "inf",
    "audio": {"output": {"voice": {"id": "v"}, "format": {"type": "audio/pcma"}}},
    "tools": [TOOL],
    "tool_choice": "required",
}
EVENTS: tuple[dict[str, Any], ...] = (
    {"type": "session.update", "session": FULL_SESSION, "event_id": "e1"},
    {"type": "session.update", "session": BETA_SESSION},
    {"type": "session.update", "session": SEMANTIC},
    {"type": "transcription_session.update", "session": {"input_audio_format": "pcm16", "turn_detection": None}},
    {"type": "input_audio_buffer.append", "audio": "AAEAAQ=="},
    {"type": "input_audio_buffer.commit"},
    {"type": "output_audio_buffer.clear"},
    *({"type": "conversation.item.create", "item": item, "previous_item_id": "root"} for item in ITEMS),
    {"type": "conversation.item.retrieve", "item_id": "item_1"},
    {"type": "conversation.item.truncate", "item_id": "item_1", "audio_end_ms": 100.5, "content_index": 0},
    {"type": "conversation.item.delete", "item_id": "item_1"},
    {"type": "response.create", "response": RESPONSE},
    {"type": "response.create"},
    {"type": "response.cancel", "response_id": "resp_1"},
)
_START = default_session(session_id="sess_1", names=NAMES, expires_at=1_800_000_000)


class Client:
    """As much of a session as reads messages, without the part that waits for engines."""

    def __init__(self) -> None:
        self.config = _START
        self.history = History()

    def receive(self, message: bytes) -> None:
        """Take a message as a session does; what it refuses is an error event that can be sent."""
        try:
            self._handle(decode_client_event(message))
        except CallerError as error:
            _sent(error_event(error, event_id=event_id_of(message)))

    def _handle(self, event: object) -> None:
        match event:
            case SessionUpdate():
                self.config = merge(self.config, event.session)
                told(self.config)
            case AppendAudio():
                codec(self.config.input_format.type).decoder().decode(audio_of(event))
            case CreateItem():
                self._create(event)
            case CreateResponse():
                asked(response_config(self.config, event.response))
            case TruncateItem():
                self._known(lambda: self.history.truncate(event.item_id, event.audio_end_ms))
            case DeleteItem():
                self._known(lambda: self.history.delete(event.item_id))
        for line in self.history.lines():
            cost_of(line)

    def _create(self, event: CreateItem) -> None:
        wire = parse_item(event.item)
        item = from_wire(wire)
        audio_in(wire)
        try:
            before = self.history.insert(item, event.previous_item_id)
        except (DuplicateItem, UnknownItem):
            return
        _sent(ItemAdded(item=to_wire(item), previous_item_id=before))

    def _known(self, work: Any) -> None:
        try:
            work()
        except UnknownItem:
            return


def told(config: SessionConfig) -> None:
    """All that is asked of a session's settings, and what its client is told; that can be sent back as it is."""
    _sent(SessionUpdated(session=config.echo()))
    for name, kept in inspect.getmembers(SessionConfig):
        if isinstance(kept, property):
            getattr(config, name)
    cost_of_opening(config.instructions, config.tools)
    assert merge(config, json.loads(msgspec.json.encode(config.echo()))).echo() == config.echo()


def asked(config: ResponseConfig) -> None:
    """What a response's settings say of its input."""
    for entry in config.input or ():
        if isinstance(entry, WireItem):
            to_wire(from_wire(entry))
    msgspec.json.encode(config.metadata)


def _sent(event: Any) -> None:
    """Both ways of writing an event."""
    encode(event)
    encode_legacy(event)


def message(data: bytes) -> None:
    """Any bytes as a message."""
    Client().receive(data)


def event(data: bytes) -> None:
    """A message that is nearly right."""
    Client().receive(edited_json(EVENTS, WORDS, data))


def conversation(data: bytes) -> None:
    """Several of them in one session."""
    client = Client()
    for part in data.split(b"\xff"):
        client.receive(edited_json(EVENTS, WORDS, part))


def base64(data: bytes) -> None:
    """The audio of an append."""
    audio = audio_of(AppendAudio(audio=data.decode("latin-1")))
    assert len(audio) <= len(data)


def audio(data: bytes) -> None:
    """Audio in a format of the wire, however it is cut into messages; the first bytes say which and where."""
    from voiceedge.audio.resample import Resampler  # noqa: PLC0415 - numpy is slow to instrument

    form = tuple(CODECS.values())[data[0] % len(CODECS)] if data else CODECS["audio/pcm"]
    step, sound = 1 + (data[1] if len(data) > 1 else 0), data[2:]
    decoder, resampler = form.decoder(), Resampler(form.rate_hz, LISTENING_RATE_HZ)
    pieces = [decoder.decode(sound[begin : begin + step]) for begin in range(0, len(sound), step)]
    heard = sum(resampler.push(piece).size for piece in pieces) + resampler.flush().size
    samples = sum(piece.size for piece in pieces)
    assert samples == len(sound) // form.bytes_per_sample
    assert heard == -(-samples * LISTENING_RATE_HZ // form.rate_hz)
    assert all(form.encode(form.decoder().decode(form.encode(piece))) == form.encode(piece) for piece in pieces[:4])


# ── functions ─────────────────────────────────────────────────────────────────────────────────────────────

SCHEMAS: tuple[dict[str, Any], ...] = (
    TOOL["parameters"],  # type: ignore[arg-type]
    {"type": "object", "properties": {"a": {"type": ["integer", "null"], "multipleOf": 0.5, "minimum": 1}}},
    {
        "properties": {"a": {"type": "array", "items": {"$ref": "#/$defs/b"}, "minItems": 1}},
        "$defs": {"b": {"const": 1}},
    },
    {"anyOf": [{"properties": {"a": {"enum": ["x", 1, None]}}}, {"allOf": [{"$ref": "#"}]}], "required": ["a"]},
    {"type": "object", "patternProperties": {"^a": {"format": "date-time", "pattern": "^[a-z]+$", "maxLength": 5}}},
)
SCHEMA_WORDS = (
    "type", "object", "array", "string", "integer", "number", "boolean", "null", "properties", "required", "items",
    "enum", "const", "anyOf", "oneOf", "allOf", "not", "if", "then", "else", "$ref", "$defs", "definitions", "#",
    "#/$defs/b", "#/", "prefixItems", "additionalProperties", "patternProperties", "minItems", "maxItems", "minLength",
    "maxLength", "pattern", "format", "date-time", "uuid", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
    "multipleOf", "x-guidance", "uniqueItems", "a", "b", "^.*$", "(a+)+$", "[a-z]{1,1000}", "\\d", "(", "^(?=x)",
    "default", "$schema", "$id", "title",
)  # fmt: skip


def schema(data: bytes) -> None:
    """The parameters of a function, up to where the grammar library takes over."""
    parameters = json.loads(edited_json(SCHEMAS, SCHEMA_WORDS, data))
    if isinstance(parameters, dict):
        narrowed(written(parameters))


def grammar(data: bytes) -> None:
    """The same, and the grammar library."""
    from voiceedge.engines import Tool  # noqa: PLC0415

    parameters = json.loads(edited_json(SCHEMAS, SCHEMA_WORDS, data))
    if isinstance(parameters, dict):
        _grammars().check((Tool("weather", "", parameters),))


@cache
def _grammars() -> Any:
    """Of a vocabulary of single bytes."""
    from tokenizers import Tokenizer, decoders, models  # noqa: PLC0415

    from voiceedge.engines.constraint import Grammars  # noqa: PLC0415
    from voiceedge.engines.detokenise import BYTE_OF_CHARACTER  # noqa: PLC0415

    words = {word: number for number, word in enumerate((*BYTE_OF_CHARACTER, "<end>"))}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.decoder = decoders.ByteLevel()
    return Grammars(tokenizer, len(words), [words["<end>"]])


_LINES = tuple(json.dumps(one).encode() for one in EVENTS)
_EDITS = (b"", *(bytes([number]) for number in range(len(EVENTS))), bytes(range(64)))
TARGETS = (
    Target("message", message, seeds=_LINES, words=WORDS),
    Target("event", event, seeds=_EDITS, max_bytes=256),
    Target("conversation", conversation, seeds=(b"\xff".join(_EDITS),), max_bytes=1024, limit_s=1.0),
    Target("base64", base64, (CallerError,), (b"AAEC", b"AA==", b"-_-_", b"A\nB=")),
    Target("audio", audio, (), (b"", b"\x00\x03" + bytes(range(256)), b"\x01\x00\xff\x7f", b"\x02\x07" + b"\x55" * 99)),
    Target("schema", schema, (Unfit,), _EDITS, max_bytes=256),
    Target("grammar", grammar, (CallerError,), _EDITS, max_bytes=128, limit_s=2.0),
)
