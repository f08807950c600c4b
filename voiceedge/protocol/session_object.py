"""The session object of the wire: every setting there is, with its default and its limits.

What `session.created` and `session.updated` echo is exactly one of these, and what a client sends is merged
into one and checked against it, so an echo cannot hold what was never validated.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

TELEPHONE_RATE_HZ = 8000
"""G.711."""


class PcmFormat(Struct, frozen=True, tag_field="type", tag="audio/pcm"):
    """16-bit little-endian mono."""

    rate: Literal[24000] = 24000

    @property
    def type(self) -> Literal["audio/pcm"]:
        """Name on the wire."""
        return "audio/pcm"

    @property
    def rate_hz(self) -> int:
        """Samples a second."""
        return self.rate


class PcmuFormat(Struct, frozen=True, tag_field="type", tag="audio/pcmu"):
    """G.711 µ-law, one byte a sample."""

    @property
    def type(self) -> Literal["audio/pcmu"]:
        """Name on the wire."""
        return "audio/pcmu"

    @property
    def rate_hz(self) -> int:
        """Samples a second."""
        return TELEPHONE_RATE_HZ


class PcmaFormat(Struct, frozen=True, tag_field="type", tag="audio/pcma"):
    """G.711 A-law, one byte a sample."""

    @property
    def type(self) -> Literal["audio/pcma"]:
        """Name on the wire."""
        return "audio/pcma"

    @property
    def rate_hz(self) -> int:
        """Samples a second."""
        return TELEPHONE_RATE_HZ


AudioFormat = PcmFormat | PcmuFormat | PcmaFormat


class ServerVad(Struct, frozen=True, kw_only=True, tag_field="type", tag="server_vad"):
    """Silence ends the turn."""

    threshold: float = 0.5
    """Probability of speech, 0 to 1."""
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    """Echoed also when the client did not state it and the wait is adaptive."""
    idle_timeout_ms: int | None = None
    create_response: bool = True
    interrupt_response: bool = True
    """Always echoed, as is `create_response`: agents-js reads a missing one as false and cancels the next
    answer."""
    voiceedge_backchannels: bool | UnsetType = UNSET
    """VoiceEdge's own, echoed only to clients that state it: "uh-huh" over an answer does not stop it."""


class SemanticVad(Struct, frozen=True, kw_only=True, tag_field="type", tag="semantic_vad"):
    """What was said ends the turn."""

    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True
    voiceedge_backchannels: bool | UnsetType = UNSET


class TranscriptionRequest(Struct, frozen=True, kw_only=True):
    """Transcribe the user's speech for the client; the model's name is echoed as the client wrote it."""

    model: str
    language: str | UnsetType = UNSET
    """ISO 639-1."""
    prompt: str | UnsetType = UNSET


class NoiseReduction(Struct, frozen=True, kw_only=True):
    """Accepted and echoed; nothing is filtered."""

    type: Literal["near_field", "far_field"]
    strength: float | UnsetType = UNSET


class CustomVoice(Struct, frozen=True):
    """A voice by id."""

    id: str


class InputAudio(Struct, frozen=True, kw_only=True):
    """How the user is heard."""

    format: AudioFormat = PcmFormat()
    transcription: TranscriptionRequest | None = None
    noise_reduction: NoiseReduction | None = None
    turn_detection: ServerVad | SemanticVad | None = ServerVad()


class OutputAudio(Struct, frozen=True, kw_only=True):
    """How the assistant sounds."""

    format: AudioFormat = PcmFormat()
    voice: str | CustomVoice
    speed: float = 1.0


class Audio(Struct, frozen=True, kw_only=True):
    """Both directions."""

    input: InputAudio = InputAudio()
    output: OutputAudio


class FunctionTool(Struct, frozen=True, kw_only=True, tag_field="type", tag="function"):
    """A function that the client can run."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    description: str = ""
    parameters: dict[str, Any] = {}
    """JSON Schema."""


class NamedTool(Struct, frozen=True, tag_field="type", tag="function"):
    """The one function to call."""

    name: str


ToolChoice = Literal["auto", "none", "required"] | NamedTool
Modality = Literal["audio", "text"]
Modalities = Annotated[tuple[Modality, ...], Meta(min_length=1)]


class TokenLimits(Struct, frozen=True):
    """Accepted and echoed."""

    post_instructions: int | UnsetType = UNSET


class RetentionRatio(Struct, frozen=True, tag_field="type", tag="retention_ratio"):
    """How much to keep when the context is full."""

    retention_ratio: float
    token_limits: TokenLimits | UnsetType = UNSET


class PromptReference(Struct, frozen=True):
    """A prompt stored elsewhere; accepted and echoed."""

    id: str
    version: str | UnsetType = UNSET
    variables: dict[str, Any] | UnsetType = UNSET


class Reasoning(Struct, frozen=True):
    """Accepted and echoed; the local model does not reason aloud."""

    effort: Literal["minimal", "low", "medium", "high", "xhigh"]


class OwnSettings(Struct, frozen=True, kw_only=True):
    """VoiceEdge's own; echoed to clients that state them, and by nodes that record."""

    record: bool | UnsetType = UNSET
    """Whether the session may be recorded (docs/privacy.md)."""


class SessionObject(Struct, frozen=True, kw_only=True):
    """All settings of a session. A transcription session shows fewer of them."""

    id: str
    object: Literal["realtime.session", "realtime.transcription_session"] = "realtime.session"
    type: Literal["realtime", "transcription"] = "realtime"
    model: str
    expires_at: int
    """Seconds since 1970."""
    output_modalities: Modalities = ("audio",)
    instructions: str = ""
    tools: tuple[FunctionTool, ...] = ()
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool | UnsetType = UNSET
    max_output_tokens: int | Literal["inf"] = "inf"
    temperature: float | UnsetType = UNSET
    """Beta only; honoured and echoed when a client states it."""
    reasoning: Reasoning | UnsetType = UNSET
    truncation: Literal["auto", "disabled"] | RetentionRatio = "auto"
    tracing: Literal["auto"] | dict[str, Any] | None = None
    prompt: PromptReference | None = None
    include: tuple[Literal["item.input_audio_transcription.logprobs"], ...] | None = None
    voiceedge: OwnSettings | UnsetType | None = UNSET
    audio: Audio
