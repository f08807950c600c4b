"""Items of a conversation as they stand on the wire.

Two rules of stock clients shape the Structs: an item never holds a null in `call_id`, `name`, `arguments`,
`role` or `status` (agents-js stalls), and the user's audio always holds `transcript`, null until known
(agents-js dies).
"""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from voiceedge.errors import InvalidRequest
from voiceedge.protocol import ids
from voiceedge.protocol.validation import converted, require_bounded

MAX_ITEM_BYTES = 4 * 1024 * 1024
"""What one item may take in memory, its speech left out: room for a photograph, and a hundred times what fits the
context window of an edge model."""
PART_BYTES = 128
"""What a part of an item takes besides its text."""

ItemStatus = Literal["completed", "incomplete", "in_progress"]
Role = Literal["system", "user", "assistant"]
Id = Annotated[str, Meta(min_length=1, max_length=512)]


class InputText(Struct, frozen=True, tag_field="type", tag="input_text"):
    """Text by the user or the system."""

    text: str


class InputAudio(Struct, frozen=True, tag_field="type", tag="input_audio"):
    """Speech of the user."""

    transcript: str | None = None
    """None until known, and then a null on the wire: the key may not be missing."""
    audio: str | UnsetType = UNSET
    """base64; only in what clients send."""


class InputImage(Struct, frozen=True, tag_field="type", tag="input_image"):
    """A picture that the user shows; kept and echoed, nobody here can see it."""

    image_url: str
    detail: Literal["auto", "low", "high"] = "auto"


class OutputText(Struct, frozen=True, tag_field="type", tag="output_text"):
    """Text by the assistant."""

    text: str


class OutputAudio(Struct, frozen=True, tag_field="type", tag="output_audio"):
    """Speech of the assistant."""

    transcript: str = ""


Content = InputText | InputAudio | InputImage | OutputText | OutputAudio


class MessageItem(Struct, frozen=True, tag_field="type", tag="message"):
    """Something said or written."""

    id: Id
    role: Role
    content: tuple[Content, ...]
    status: ItemStatus = "completed"
    object: Literal["realtime.item"] = "realtime.item"


class FunctionCallItem(Struct, frozen=True, tag_field="type", tag="function_call"):
    """The assistant asks the client to run a function."""

    id: Id
    call_id: Id
    name: str
    arguments: str
    """JSON text, as the model wrote it."""
    status: ItemStatus = "completed"
    object: Literal["realtime.item"] = "realtime.item"


class FunctionCallOutputItem(Struct, frozen=True, tag_field="type", tag="function_call_output"):
    """What the function returned."""

    id: Id
    call_id: Id
    output: str
    status: ItemStatus = "completed"
    object: Literal["realtime.item"] = "realtime.item"


Item = MessageItem | FunctionCallItem | FunctionCallOutputItem


class ItemReference(Struct, frozen=True):
    """An item of the conversation, named in the input of a response."""

    id: Id


_KINDS: dict[str, type[MessageItem | FunctionCallItem | FunctionCallOutputItem]] = {
    "message": MessageItem,
    "function_call": FunctionCallItem,
    "function_call_output": FunctionCallOutputItem,
}
_ASSISTANT_CONTENT = {"input_text": "output_text", "text": "output_text", "audio": "output_audio"}
_OTHER_CONTENT = {"output_text": "input_text", "text": "input_text", "audio": "input_audio"}


def parse_item(raw: Any, *, param: str = "item") -> Item:
    """Read an item that a client made.

    Its id is kept verbatim, or made when there is none. Nulls count as absent, content types are put right
    for the role (pipecat has `input_text` in assistant messages, old clients have `text` and `audio`), and
    an item that is not `incomplete` is `completed`: nothing is going to finish it.

    Args:
        raw: decoded JSON.
        param: path of `raw` in the client's message, for errors.

    Raises:
        InvalidRequest: a type that is not served, a field that does not fit, or an item that is too large.
    """
    if not isinstance(raw, dict):
        raise InvalidRequest(f"Invalid '{param}': expected an object.", param=param)
    require_bounded(raw, param)
    item = _without_nulls(raw)
    kind = item.setdefault("type", "message")
    if not isinstance(kind, str) or kind not in _KINDS:
        served = ", ".join(_KINDS)
        raise InvalidRequest(
            f"Invalid '{param}.type': items of this type are not served; supported are {served}.",
            param=f"{param}.type",
        )
    item["id"] = item.get("id") or ids.item_id()
    item["status"] = "incomplete" if item.get("status") == "incomplete" else "completed"
    item.pop("object", None)
    if kind == "message":
        if item.get("role") == "developer":
            item["role"] = "system"
        item["content"] = _content(item.get("content"), assistant=item.get("role") == "assistant")
    else:
        item["call_id"] = item.get("call_id") or (ids.call_id() if kind == "function_call" else None)
        for key in ("arguments", "output"):
            if key in item and not isinstance(item[key], str):
                item[key] = msgspec.json.encode(item[key]).decode()
    made = converted(_without_nulls(item), _KINDS[kind], param)
    if (size := size_bytes(made)) > MAX_ITEM_BYTES:
        raise InvalidRequest(
            f"Invalid '{param}': it takes {size} bytes of memory and may take {MAX_ITEM_BYTES}.",
            code="item_too_large",
            param=param,
        )
    return made


def size_bytes(item: Item) -> int:
    """What an item takes in memory, its speech left out: that is transcribed and not kept."""
    match item:
        case MessageItem():
            texts = [text for part in item.content for text in _texts_of(part)]
            return sum(map(sys.getsizeof, texts)) + PART_BYTES * (1 + len(item.content))
        case FunctionCallItem():
            texts = [item.call_id, item.name, item.arguments]
        case FunctionCallOutputItem():
            texts = [item.call_id, item.output]
    return sum(map(sys.getsizeof, texts)) + PART_BYTES


def _texts_of(part: Content) -> tuple[str, ...]:
    match part:
        case InputImage():
            return (part.image_url,)
        case InputAudio() | OutputAudio():
            return (part.transcript or "",)
    return (part.text,)


def user_audio(item_id: str, transcript: str | None = None) -> MessageItem:
    """The user's speech as an item: what a commit makes."""
    return MessageItem(id=item_id, role="user", content=(InputAudio(transcript=transcript),))


def without_audio(item: Item) -> Item:
    """The item as it may be echoed: raw audio is never sent back."""
    if not isinstance(item, MessageItem):
        return item
    content = tuple(
        InputAudio(transcript=part.transcript) if isinstance(part, InputAudio) else part for part in item.content
    )
    return msgspec.structs.replace(item, content=content)


def text_of(item: Item) -> str:
    """The words of a message, written or said; "" for other items and for speech not yet transcribed."""
    if not isinstance(item, MessageItem):
        return ""
    words = [
        part.transcript if isinstance(part, InputAudio | OutputAudio) else part.text
        for part in item.content
        if not isinstance(part, InputImage)
    ]
    return " ".join(word for word in words if word)


def _without_nulls(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if value is not None}


def _content(raw: Any, *, assistant: bool) -> Any:
    """Name the parts by who speaks; what is no list of objects is left for the type check to refuse."""
    names = _ASSISTANT_CONTENT if assistant else _OTHER_CONTENT
    if isinstance(raw, str):
        raw = [{"type": "text", "text": raw}]
    if raw is None:
        return []
    if not isinstance(raw, list):
        return raw
    parts = []
    for part in raw:
        if isinstance(part, dict):
            part = _without_nulls(part)  # noqa: PLW2901
            kind = part.get("type", "text")
            part["type"] = names.get(kind, kind) if isinstance(kind, str) else kind
        parts.append(part)
    return parts
