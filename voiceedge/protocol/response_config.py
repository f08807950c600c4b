"""The settings of one response: the session's, with what `response.create` overrides."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from voiceedge.errors import InvalidRequest
from voiceedge.protocol.items import MAX_ITEM_BYTES, Item, ItemReference, parse_item, size_bytes
from voiceedge.protocol.legacy import session_from_beta
from voiceedge.protocol.normalise import clamped_speed, common, without_nulls
from voiceedge.protocol.session_config import MAX_SESSION_BYTES, SessionConfig, require_tool
from voiceedge.protocol.session_object import (
    AudioFormat,
    CustomVoice,
    FunctionTool,
    Modalities,
    Modality,
    NamedTool,
    ToolChoice,
)
from voiceedge.protocol.validation import converted, require_bounded, require_functions

MAX_METADATA_KEYS = 16
MAX_METADATA_KEY_CHARACTERS = 64
MAX_METADATA_VALUE_CHARACTERS = 512
"""OpenAI's reference."""


class _OutputParams(Struct, frozen=True):
    format: AudioFormat | UnsetType = UNSET
    voice: str | CustomVoice | UnsetType = UNSET
    speed: float | UnsetType = UNSET


class _AudioParams(Struct, frozen=True):
    output: _OutputParams = _OutputParams()


class _ResponseParams(Struct, frozen=True):
    """What a client may say about one response."""

    instructions: str | None = None
    output_modalities: Modalities | UnsetType = UNSET
    audio: _AudioParams = _AudioParams()
    tools: tuple[FunctionTool, ...] | UnsetType = UNSET
    tool_choice: ToolChoice | UnsetType = UNSET
    parallel_tool_calls: bool | UnsetType = UNSET
    max_output_tokens: int | str | UnsetType = UNSET
    temperature: float | UnsetType = UNSET
    conversation: str = "auto"
    input: list[Any] | None = None
    metadata: dict[str, str] | None = None


class ResponseConfig(Struct, frozen=True, kw_only=True):
    """All settings of one response, with nothing left open."""

    instructions: str | None
    """Said for this response only; None: the session's instructions hold."""
    output_modality: Modality
    voice: str
    """Local name."""
    voice_requested: str
    output_format: AudioFormat
    speed: float
    tools: tuple[FunctionTool, ...]
    tool_choice: ToolChoice
    parallel_tool_calls: bool = True
    """Whether one response may hold several calls."""
    max_output_tokens: int | None
    """None for as many as there is room for."""
    temperature: float | None
    in_conversation: bool = True
    """False: out of band; the conversation neither shows it nor remembers it."""
    input: tuple[Item | ItemReference, ...] | None = None
    """What is answered; None: the conversation."""
    metadata: dict[str, str] | None = None
    """Echoed verbatim; LiveKit finds its answers by it."""


def response_config(session: SessionConfig, params: dict[str, Any] | None = None) -> ResponseConfig:
    """Settings of a response.

    Args:
        session: what holds where `params` says nothing.
        params: what `response.create` carried; None for a turn that nobody asked for.

    Raises:
        InvalidRequest: a parameter that cannot be honoured.
    """
    require_bounded(params, "response")
    _require_small(params or {})
    require_functions((params or {}).get("tools"), "response")
    tidy = without_nulls(common(session_from_beta(params or {})))
    audio = tidy.get("audio")
    if isinstance(audio, dict):
        output = audio.get("output")
        tidy["audio"] = {"output": clamped_speed(without_nulls(output)) if isinstance(output, dict) else {}}
    asked = converted(tidy, _ResponseParams, "response")
    output_asked = asked.audio.output
    voice = session.voice_requested if output_asked.voice is UNSET else output_asked.voice
    voice_name = voice.id if isinstance(voice, CustomVoice) else voice
    modalities = asked.output_modalities
    tools = session.tools if asked.tools is UNSET else asked.tools
    return ResponseConfig(
        instructions=asked.instructions,
        output_modality=session.output_modality if modalities is UNSET else modalities[0],
        voice=session.names.voice(voice_name),
        voice_requested=voice_name,
        output_format=session.output_format if output_asked.format is UNSET else output_asked.format,
        speed=session.speed if output_asked.speed is UNSET else output_asked.speed,
        tools=tools,
        tool_choice=_tool_choice(session, asked.tool_choice, tools),
        parallel_tool_calls=session.parallel_tool_calls
        if asked.parallel_tool_calls is UNSET
        else asked.parallel_tool_calls,
        max_output_tokens=_max_output_tokens(session, asked.max_output_tokens),
        temperature=session.temperature if asked.temperature is UNSET else asked.temperature,
        in_conversation=asked.conversation != "none",
        input=None if asked.input is None else _input(asked.input),
        metadata=_metadata(asked.metadata),
    )


def _tool_choice(session: SessionConfig, asked: ToolChoice | UnsetType, tools: tuple[FunctionTool, ...]) -> ToolChoice:
    """What was asked for; the session's choice, where this response has the tools for it."""
    if asked is not UNSET:
        require_tool(asked, tools, "response")
        if asked == "required" and not tools:
            param = "response.tool_choice"
            raise InvalidRequest(f"Invalid '{param}': there are no tools to call.", param=param)
        return asked
    choice = session.tool_choice
    if isinstance(choice, NamedTool):
        return choice if choice.name in {tool.name for tool in tools} else "auto"
    return "auto" if choice == "required" and not tools else choice


def _max_output_tokens(session: SessionConfig, asked: int | str | UnsetType) -> int | None:
    if asked is UNSET:
        return session.max_output_tokens
    if isinstance(asked, int):
        return asked
    if asked != "inf":
        param = "response.max_output_tokens"
        raise InvalidRequest(f"Invalid '{param}': expected a number or 'inf'.", param=param)
    return None


def _require_small(params: dict[str, Any]) -> None:
    """Refuse settings that a session could not have either; items are weighed for themselves."""
    size = len(msgspec.json.encode({key: value for key, value in params.items() if key != "input"}))
    if size > MAX_SESSION_BYTES:
        raise InvalidRequest(
            f"Invalid 'response': all settings together are {size} bytes of JSON and may be {MAX_SESSION_BYTES}.",
            code="session_too_long",
            param="response",
        )


def _input(raw: list[Any]) -> tuple[Item | ItemReference, ...]:
    entries = tuple(
        converted(entry, ItemReference, f"response.input[{index}]")
        if isinstance(entry, dict) and entry.get("type") == "item_reference"
        else parse_item(entry, param=f"response.input[{index}]")
        for index, entry in enumerate(raw)
    )
    size = sum(size_bytes(entry) for entry in entries if not isinstance(entry, ItemReference))
    if size > MAX_ITEM_BYTES:
        raise InvalidRequest(
            f"Invalid 'response.input': it takes {size} bytes of memory and may take {MAX_ITEM_BYTES}.",
            code="item_too_large",
            param="response.input",
        )
    return entries


def _metadata(metadata: dict[str, str] | None) -> dict[str, str] | None:
    """Refuse what is too large: it has to come back verbatim, so it cannot be cut."""
    if metadata is None:
        return None
    if len(metadata) > MAX_METADATA_KEYS:
        raise InvalidRequest(
            f"Invalid 'response.metadata': more than {MAX_METADATA_KEYS} keys.", param="response.metadata"
        )
    for key, value in metadata.items():
        if len(key) > MAX_METADATA_KEY_CHARACTERS or len(value) > MAX_METADATA_VALUE_CHARACTERS:
            raise InvalidRequest(
                f"Invalid 'response.metadata.{key[:MAX_METADATA_KEY_CHARACTERS]}': keys have at most "
                f"{MAX_METADATA_KEY_CHARACTERS} characters, values {MAX_METADATA_VALUE_CHARACTERS}.",
                param="response.metadata",
            )
    return metadata
