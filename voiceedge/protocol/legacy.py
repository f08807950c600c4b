"""The beta's names (before GA), both ways.

Inbound they are understood on every connection, wherever the GA key is absent: clients still send
`modalities`. Outbound they are used only for a connection that carried `OpenAI-Beta: realtime=v1`, and then
instead of the GA names, never beside them: a client that handles both spellings would play everything
twice.
"""

from __future__ import annotations

from typing import Any

import msgspec

from voiceedge.protocol.server_events import ServerEvent, identified

_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
_FORMAT_NAMES = {ga: beta for beta, ga in _FORMATS.items()}

_SESSION_PATHS = {
    "modalities": ("output_modalities",),
    "max_response_output_tokens": ("max_output_tokens",),
    "input_audio_format": ("audio", "input", "format"),
    "input_audio_transcription": ("audio", "input", "transcription"),
    "input_audio_noise_reduction": ("audio", "input", "noise_reduction"),
    "turn_detection": ("audio", "input", "turn_detection"),
    "output_audio_format": ("audio", "output", "format"),
    "voice": ("audio", "output", "voice"),
    "speed": ("audio", "output", "speed"),
}
"""Where a beta key of a session or of a response's parameters went."""

_EVENT_NAMES = {
    "conversation.item.added": "conversation.item.created",
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
}
_CONTENT_NAMES = {"output_audio": "audio", "output_text": "text"}
_GONE = frozenset({"conversation.item.done"})
"""GA events that the beta did not have."""


def session_from_beta(session: dict[str, Any]) -> dict[str, Any]:
    """Move the beta's flat keys to where GA has them; a GA key that is present wins.

    For sessions and for the parameters of a response alike. The argument is not changed.
    """
    if _SESSION_PATHS.keys().isdisjoint(session):
        return session
    moved = {key: value for key, value in session.items() if key not in _SESSION_PATHS}
    for key, path in _SESSION_PATHS.items():
        if key in session:
            value = session[key]
            if path[-1] == "format" and isinstance(value, str):
                value = {"type": _FORMATS.get(value, value)}
            _place(moved, path, value)
    return moved


def encode_legacy(event: ServerEvent) -> str | None:
    """Make the text frame of an event in the beta's words, None when the beta had no such event."""
    message = msgspec.to_builtins(identified(event))
    if message["type"] in _GONE:
        return None
    message["type"] = _EVENT_NAMES.get(message["type"], message["type"])
    if "session" in message:
        if message["session"]["type"] == "transcription":
            message["type"] = f"transcription_{message['type']}"
        message["session"] = session_to_beta(message["session"])
    if "item" in message:
        message["item"] = _item_to_beta(message["item"])
    if "response" in message:
        message["response"] = _response_to_beta(message["response"])
    return msgspec.json.encode(message).decode()


def session_to_beta(session: dict[str, Any]) -> dict[str, Any]:
    """Flatten an echoed session object to what the beta called it."""
    audio = session.get("audio", {})
    heard = audio.get("input", {})
    flat = {key: value for key, value in session.items() if key not in {"audio", "type"}}
    flat["input_audio_format"] = _format_to_beta(heard)
    flat["input_audio_transcription"] = heard.get("transcription")
    flat["input_audio_noise_reduction"] = heard.get("noise_reduction")
    flat["turn_detection"] = heard.get("turn_detection")
    if "output" in audio:
        flat["voice"] = audio["output"]["voice"]
        flat["speed"] = audio["output"]["speed"]
    _output_to_beta(flat, audio)
    return flat


def _place(target: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Put a value at a path where nothing is yet; objects on the way are copied, for the caller owns them."""
    for key in path[:-1]:
        inner = target.get(key, {})
        if not isinstance(inner, dict):
            return
        target[key] = dict(inner)
        target = target[key]
    target.setdefault(path[-1], value)


def _response_to_beta(response: dict[str, Any]) -> dict[str, Any]:
    flat = {key: value for key, value in response.items() if key != "audio"}
    flat["output"] = [_item_to_beta(item) for item in response["output"]]
    flat["voice"] = response["audio"]["output"]["voice"]
    _output_to_beta(flat, response["audio"])
    return flat


def _output_to_beta(flat: dict[str, Any], audio: dict[str, Any]) -> None:
    """Rename what sessions and responses have in common."""
    if "output" in audio:
        flat["output_audio_format"] = _format_to_beta(audio["output"])
    if "output_modalities" in flat:
        speaks = "audio" in flat.pop("output_modalities")
        flat["modalities"] = ["audio", "text"] if speaks else ["text"]
    if "max_output_tokens" in flat:
        flat["max_response_output_tokens"] = flat.pop("max_output_tokens")


def _format_to_beta(settings: dict[str, Any]) -> str:
    return _FORMAT_NAMES[settings["format"]["type"]]


def _item_to_beta(item: dict[str, Any]) -> dict[str, Any]:
    if "content" not in item:
        return item
    content = [{**part, "type": _CONTENT_NAMES.get(part["type"], part["type"])} for part in item["content"]]
    return {**item, "content": content}
