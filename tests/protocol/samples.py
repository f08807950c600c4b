"""Sessions, configurations and samples of every event for the tests of this package."""

import inspect
import types
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from voiceedge.protocol import server_events
from voiceedge.protocol.items import FunctionCallItem, FunctionCallOutputItem, MessageItem, OutputAudio
from voiceedge.protocol.response_config import ResponseConfig, response_config
from voiceedge.protocol.session_config import LocalNames, SessionConfig, default_session

NAMES = LocalNames(model="voiceedge", transcription="whisper", voices=("hibari", "second"))


def a_session(**settings: Any) -> SessionConfig:
    return default_session(session_id="sess_1", names=NAMES, expires_at=1_800_000_000, **settings)


def a_response(**params: Any) -> ResponseConfig:
    return response_config(a_session(), params)


ITEMS = (
    MessageItem("item_a", "assistant", (OutputAudio("hello"),)),
    FunctionCallItem("item_c", "call_1", "weather", "{}"),
    FunctionCallOutputItem("item_o", "call_1", "sunny"),
)


def event_classes() -> list[type[server_events.ServerEvent]]:
    """Every event of `server_events`: those with a tag of their own."""
    return [
        kind
        for _, kind in inspect.getmembers(server_events, inspect.isclass)
        if issubclass(kind, server_events.ServerEvent)
        and isinstance(kind.__struct_config__.tag, str)
        and kind not in (server_events.ServerEvent, server_events.PartEvent)
    ]


def sample(kind: Any, name: str = "") -> Any:
    """A value of a type, made from its annotation, so that no event can be forgotten here."""
    if name == "session":
        return a_session(model="gpt-realtime").echo()  # the beta's types know no other names
    if name == "item":
        return ITEMS[0]
    if name == "format":
        return {"type": "audio/pcm", "rate": 24000}
    if inspect.isclass(kind) and issubclass(kind, msgspec.Struct):
        hints = msgspec.structs.fields(kind)
        return kind(**{field.name: sample(field.type, field.name) for field in hints if field.name != "event_id"})
    if get_origin(kind) is Literal:
        return get_args(kind)[0]
    if get_origin(kind) in (Union, types.UnionType):
        return sample(next(inner for inner in get_args(kind) if inner is not type(None)), name)
    if get_origin(kind) is tuple:
        return (sample(get_args(kind)[0], name),) if name != "output" else ITEMS
    return {str: "word", int: 1, float: 0.5, dict: {"key": "value"}}[get_origin(kind) or kind]
