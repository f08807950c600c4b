"""A session's settings: what a client asked for (echoed) and what that means here (typed).

`merge` is lenient wherever a stock client would break otherwise: names of models and voices that are not
ours are mapped and echoed as asked for, numbers are clamped, nulls that mean nothing are ignored, what
cannot change any more stays. It refuses only what cannot be honoured at all, and then nothing has changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct

from voiceedge.errors import InvalidRequest
from voiceedge.protocol.legacy import session_from_beta
from voiceedge.protocol.normalise import TURN_DETECTION, merged, normalised
from voiceedge.protocol.session_object import (
    Audio,
    AudioFormat,
    FunctionTool,
    InputAudio,
    Modality,
    NamedTool,
    OutputAudio,
    OwnSettings,
    SemanticVad,
    ServerVad,
    SessionObject,
    ToolChoice,
    TranscriptionRequest,
)
from voiceedge.protocol.validation import converted, require_bounded, require_functions

Kind = Literal["realtime", "transcription"]

MAX_SESSION_BYTES = 256 * 1024
"""Of all settings as JSON. Instructions and tools have to fit a context window: some 30,000 letters at most."""
MAX_WAIT_MS = {"low": 8_000, "medium": 4_000, "auto": 4_000, "high": 2_000}
"""Longest silence before a semantic_vad turn ends, by eagerness (OpenAI's reference)."""


class LocalNames(Struct, frozen=True, kw_only=True):
    """What the node calls the things that clients name."""

    model: str
    transcription: str
    voices: tuple[str, ...]
    """The first is the default."""
    language: str = "en"
    """ISO 639-1."""
    records: Literal["client", "operator"] | None = None
    """Who says that a session may be recorded; None: the node records none."""

    def voice(self, asked: str) -> str:
        """The local voice for the one that a client asked for."""
        return asked if asked in self.voices else self.voices[0]


@dataclass(frozen=True, slots=True)
class Transcription:
    """How the user's speech is transcribed."""

    model: str
    """Local name."""
    language: str
    prompt: str


@dataclass(frozen=True, slots=True)
class TurnDetection:
    """When the user's turn is over."""

    type: Literal["server_vad", "semantic_vad"]
    threshold: float
    """Probability of speech, 0 to 1."""
    prefix_padding_ms: int
    silence_duration_ms: int | None
    """What the client stated; None: the wait adapts."""
    max_wait_ms: int | None
    """Longest silence; None for server_vad."""
    idle_timeout_ms: int | None
    create_response: bool
    interrupt_response: bool
    backchannels: bool
    """Whether "uh-huh" and its like, over an answer, make no turn."""


class SessionConfig(Struct, frozen=True, kw_only=True):
    """All settings of one session at one time. Replaced as a whole, never changed."""

    wire: SessionObject
    names: LocalNames
    silence_stated: bool = False
    """The client named a silence_duration_ms: it is honoured. Else the wait adapts, though 500 is echoed."""

    def echo(self) -> dict[str, Any]:
        """The full session object for `session.created` and `session.updated`."""
        everything: dict[str, Any] = msgspec.to_builtins(self.wire)
        own: dict[str, Any] = {}
        if self.names.records is not None or self.wire.voiceedge is not UNSET:
            own = {"voiceedge": {"record": self.is_recorded}}  # what holds, whatever was asked for
        if self.kind == "realtime":
            return {**everything, **own}
        shown = {key: everything[key] for key in ("id", "object", "type", "expires_at", "include")}
        return {**shown, "audio": {"input": everything["audio"]["input"]}, **own}

    @property
    def id(self) -> str:
        """Name of the session."""
        return self.wire.id

    @property
    def kind(self) -> Kind:
        """A conversation, or only transcription."""
        return self.wire.type

    @property
    def instructions(self) -> str:
        """System prompt; "" for none."""
        return self.wire.instructions

    @property
    def output_modality(self) -> Modality:
        """Whether the assistant speaks (then with a transcript) or writes."""
        return "audio" if "audio" in self.wire.output_modalities else "text"

    @property
    def tools(self) -> tuple[FunctionTool, ...]:
        """Functions that the client can run."""
        return self.wire.tools

    @property
    def tool_choice(self) -> ToolChoice:
        """Whether functions may, must or must not be called."""
        return self.wire.tool_choice

    @property
    def parallel_tool_calls(self) -> bool:
        """Whether one response may hold several calls."""
        return self.wire.parallel_tool_calls is not False

    @property
    def max_output_tokens(self) -> int | None:
        """Most tokens of one answer; None for as many as the model has room for."""
        return None if self.wire.max_output_tokens == "inf" else self.wire.max_output_tokens

    @property
    def temperature(self) -> float | None:
        """None where the client did not say."""
        return None if self.wire.temperature is UNSET else self.wire.temperature

    @property
    def input_format(self) -> AudioFormat:
        """What appended audio is."""
        return self.wire.audio.input.format

    @property
    def output_format(self) -> AudioFormat:
        """What audio deltas are."""
        return self.wire.audio.output.format

    @property
    def transcription(self) -> Transcription | None:
        """None: the client does not want to see what the user said."""
        asked = self.wire.audio.input.transcription
        if asked is None:
            return None
        return Transcription(
            model=self.names.transcription,
            language=asked.language or self.names.language,
            prompt=asked.prompt or "",
        )

    @property
    def turn_detection(self) -> TurnDetection | None:
        """None: the client commits by hand."""
        asked = self.wire.audio.input.turn_detection
        if asked is None:
            return None
        vad = asked if isinstance(asked, ServerVad) else ServerVad()
        return TurnDetection(
            type="server_vad" if asked is vad else "semantic_vad",
            threshold=vad.threshold,
            prefix_padding_ms=vad.prefix_padding_ms,
            silence_duration_ms=vad.silence_duration_ms if self.silence_stated else None,
            max_wait_ms=MAX_WAIT_MS[asked.eagerness] if isinstance(asked, SemanticVad) else None,
            idle_timeout_ms=vad.idle_timeout_ms,
            create_response=asked.create_response,
            interrupt_response=asked.interrupt_response,
            backchannels=asked.voiceedge_backchannels is True,
        )

    @property
    def is_recorded(self) -> bool:
        """Whether this session may be recorded: not where the node records none, and never if its client says no."""
        own = self.wire.voiceedge
        said = own.record if isinstance(own, OwnSettings) else UNSET
        return said is True if self.names.records == "client" else self.names.records is not None and said is not False

    @property
    def voice_requested(self) -> str:
        """The voice's name as the client wrote it."""
        asked = self.wire.audio.output.voice
        return asked if isinstance(asked, str) else asked.id

    @property
    def voice(self) -> str:
        """Local name of the voice."""
        return self.names.voice(self.voice_requested)

    @property
    def speed(self) -> float:
        """1.0 is the voice's own pace, 0.25 to 1.5."""
        return self.wire.audio.output.speed


def default_session(
    *,
    session_id: str,
    names: LocalNames,
    expires_at: int,
    model: str | None = None,
    kind: Kind = "realtime",
    instructions: str = "",
) -> SessionConfig:
    """Settings of a session whose client has asked for nothing yet.

    Args:
        session_id: see `ids.session_id`.
        names: what the node has.
        expires_at: seconds since 1970.
        model: the name in the URL, echoed as it is.
        kind: from the URL.
        instructions: the node's own system prompt.
    """
    transcribes = kind == "transcription"
    heard = InputAudio(transcription=TranscriptionRequest(model=names.transcription) if transcribes else None)
    wire = SessionObject(
        id=session_id,
        object="realtime.transcription_session" if transcribes else "realtime.session",
        type=kind,
        model=model or names.model,
        expires_at=expires_at,
        instructions=instructions,
        audio=Audio(input=heard, output=OutputAudio(voice=names.voices[0])),
    )
    return SessionConfig(wire=wire, names=names)


def merge(current: SessionConfig, update: dict[str, Any], *, voice_fixed: bool = False) -> SessionConfig:
    """Settings after a session.update.

    Keys that are present replace, absent ones stay; objects merge, but a new `type` of turn detection or of
    a format starts from that type's defaults. `id`, `model` and `expires_at` do not change, nor does the
    voice when `voice_fixed` (the session has spoken): such keys are ignored, and the echo says what holds.

    Raises:
        InvalidRequest: something cannot be honoured; `param` says what. `current` still holds.
    """
    require_bounded(update, "session")
    asked_kind = update.get("type")
    if asked_kind is not None and asked_kind != current.kind:
        raise InvalidRequest(
            f"Invalid 'session.type': this is a session of type '{current.kind}'.", param="session.type"
        )
    require_functions(update.get("tools"), "session")
    patch = normalised(session_from_beta(update))
    if voice_fixed and isinstance(patch.get("audio"), dict) and isinstance(patch["audio"].get("output"), dict):
        patch["audio"]["output"].pop("voice", None)
    before = msgspec.to_builtins(current.wire)
    after = merged(before, patch, default_transcription=current.names.transcription)
    wire = converted(after, SessionObject, "session")
    if (size := len(msgspec.json.encode(wire))) > MAX_SESSION_BYTES:
        raise InvalidRequest(
            f"Invalid 'session': all settings together are {size} bytes of JSON and may be {MAX_SESSION_BYTES}.",
            code="session_too_long",
            param="session",
        )
    if "tool_choice" in patch:
        require_tool(wire.tool_choice, wire.tools, "session")
    return SessionConfig(wire=wire, names=current.names, silence_stated=_silence_stated(current, wire, patch))


def require_tool(choice: ToolChoice, tools: tuple[FunctionTool, ...], root: str) -> None:
    """Refuse the choice of a function that is not there.

    Raises:
        InvalidRequest: `choice` names none of `tools`.
    """
    if isinstance(choice, NamedTool) and choice.name not in {tool.name for tool in tools}:
        param = f"{root}.tool_choice"
        raise InvalidRequest(f"Invalid '{param}': there is no function '{choice.name}'.", param=param)


def _silence_stated(current: SessionConfig, wire: SessionObject, patch: dict[str, Any]) -> bool:
    """Whether the silence that now holds was named by the client: in this update, or before and kept."""
    if not isinstance(wire.audio.input.turn_detection, ServerVad):
        return False
    said: Any = patch
    for key in TURN_DETECTION:
        said = said.get(key) if isinstance(said, dict) else None
    if isinstance(said, dict) and "silence_duration_ms" in said:
        return said["silence_duration_ms"] is not None
    kept = isinstance(current.wire.audio.input.turn_detection, ServerVad)
    return kept and current.silence_stated
