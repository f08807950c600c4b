"""Items between the wire and the history: what the client sees, and what the model sees."""

from __future__ import annotations

from voiceedge.conversation.history import FunctionCall, Item
from voiceedge.protocol.items import (
    FunctionCallItem,
    FunctionCallOutputItem,
    InputAudio,
    ItemStatus,
    MessageItem,
    OutputAudio,
    OutputText,
    size_bytes,
    text_of,
    user_audio,
    without_audio,
)
from voiceedge.protocol.items import Item as WireItem


def from_wire(wire: WireItem) -> Item:
    """An item that the client made. Its words are None while they are only audio."""
    data = without_audio(wire)
    match wire:
        case FunctionCallItem():
            call = FunctionCall(wire.call_id, wire.name, wire.arguments)
            return Item(wire.id, "function_call", is_complete=wire.status == "completed", call=call)
        case FunctionCallOutputItem():
            return Item(wire.id, "function_call_output", text=wire.output, data=data, data_bytes=size_bytes(wire))
    return Item(
        wire.id,
        "message",
        wire.role,
        text_of(wire) or (None if audio_in(wire) else ""),
        modality="audio" if any(isinstance(part, InputAudio | OutputAudio) for part in wire.content) else "text",
        is_complete=wire.status == "completed",
        data=data,
        data_bytes=size_bytes(wire),
    )


def to_wire(item: Item) -> WireItem:
    """An item as the client is shown it; of an interrupted answer, what was heard."""
    status: ItemStatus = "completed" if item.is_complete else "incomplete"
    if item.role == "user" and item.modality == "audio":
        return user_audio(item.id, item.text)
    if item.call is not None:
        return FunctionCallItem(item.id, item.call.call_id, item.call.name, item.call.arguments, status)
    if item.data is not None:
        data: WireItem = item.data
        return data
    text = "" if item.line is None else item.line.text
    part = OutputAudio(transcript=text) if item.modality == "audio" else OutputText(text=text)
    return MessageItem(id=item.id, role="assistant", content=(part,), status=status)


def audio_in(wire: WireItem) -> str | None:
    """base64 of the speech that a user's item brings along untranscribed, None if there is none."""
    if not isinstance(wire, MessageItem) or wire.role != "user":
        return None
    for part in wire.content:
        if isinstance(part, InputAudio) and isinstance(part.audio, str) and not part.transcript:
            return part.audio
    return None
