"""OpenAI's own types as the judge of the wire: what openai-agents does with every event it receives."""

import json
from typing import Annotated, Any, get_args

from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from pydantic import BaseModel, Field, TypeAdapter

_SERVER = TypeAdapter(Annotated[RealtimeServerEvent, Field(discriminator="type")])
_CLIENT = TypeAdapter(Annotated[RealtimeClientEvent, Field(discriminator="type")])

NEVER_NULL = ("call_id", "name", "arguments", "role", "status", "id", "type")
"""agents-js stalls on an item with one of these set to null."""
TYPES_OF_CONTENT = {
    "assistant": {"output_audio", "output_text"},
    "user": {"input_audio", "input_text", "input_image"},
    "system": {"input_text"},
}


class OwnEvent(BaseModel):
    """What a stock client makes of an event that it does not know."""

    type: str
    event_id: str


def validate(event_json: str) -> BaseModel:
    """Check one server event; AssertionError or pydantic's ValidationError where a stock client would fail."""
    event = json.loads(event_json)
    assert event["event_id"], "without event_id pipecat's receive loop dies"
    if event["type"].startswith("voiceedge."):
        return OwnEvent.model_validate(event)
    for item in items_of(event):
        check_item(item)
    if event["type"] in {"session.created", "session.updated"}:
        check_session(event["session"])
    for usage in (event.get("usage"), event.get("response", {}).get("usage")):
        check_numbers(usage)
    model = _SERVER.validate_python(event)
    known = {"start_time", "temperature", "expires_at", "id", "object", "voiceedge_backchannels", "voiceedge"}
    assert unknown_keys(model) <= known, unknown_keys(model)
    return model


def server_event_types() -> set[str]:
    """Every `type` that OpenAI's types know."""
    union = get_args(RealtimeServerEvent)[0]
    return {get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(union)}


def client_event(event: dict[str, Any]) -> BaseModel:
    """Build a client event with OpenAI's types."""
    return _CLIENT.validate_python(event)


def items_of(event: dict[str, Any]) -> list[dict[str, Any]]:
    """Every item that an event shows."""
    return [item for item in (event.get("item"), *event.get("response", {}).get("output", [])) if item]


def check_item(item: dict[str, Any]) -> None:
    """The rules that are not in OpenAI's types, but in what clients do with items."""
    assert item["id"]
    assert all(item[key] is not None for key in NEVER_NULL if key in item), item
    for part in item.get("content", []):
        assert part["type"] in TYPES_OF_CONTENT[item["role"]], item
        assert "audio" not in part
        assert part["type"] not in {"input_audio", "output_audio"} or "transcript" in part


def check_session(session: dict[str, Any]) -> None:
    """The echo is full, and says what agents-js would otherwise take for false."""
    assert session["id"]
    assert session["expires_at"]
    detection = session["audio"]["input"]["turn_detection"]
    if detection is not None:
        assert isinstance(detection["create_response"], bool)
        assert isinstance(detection["interrupt_response"], bool)


def check_numbers(usage: Any) -> None:
    """Usage is all numbers, no nulls inside."""
    for key, value in (usage or {}).items():
        if isinstance(value, dict):
            check_numbers(value)
        else:
            assert key == "type" or isinstance(value, int | float), usage


def unknown_keys(model: BaseModel) -> set[str]:
    """Keys that OpenAI's types do not know, anywhere in a model: misspellings would hide there."""
    found = set(model.model_extra or {})
    for name in type(model).model_fields:
        value = getattr(model, name)
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, BaseModel):
                found |= unknown_keys(inner)
    return found
