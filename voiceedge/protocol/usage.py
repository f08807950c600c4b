"""What a response and a transcription have used. All numbers, no nulls: a stock client refuses those."""

from __future__ import annotations

from msgspec import Struct


class CachedTokens(Struct, frozen=True, kw_only=True):
    """Input tokens that were in the cache already, by kind."""

    text_tokens: int = 0
    audio_tokens: int = 0
    image_tokens: int = 0


class InputTokens(Struct, frozen=True, kw_only=True):
    """Input tokens by kind."""

    text_tokens: int = 0
    audio_tokens: int = 0
    image_tokens: int = 0
    cached_tokens: int = 0
    cached_tokens_details: CachedTokens = CachedTokens()


class OutputTokens(Struct, frozen=True, kw_only=True):
    """Output tokens by kind."""

    text_tokens: int = 0
    audio_tokens: int = 0


class Usage(Struct, frozen=True, kw_only=True):
    """What one response used."""

    total_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    input_token_details: InputTokens = InputTokens()
    output_token_details: OutputTokens = OutputTokens()

    @classmethod
    def counted(
        cls,
        *,
        input_text: int = 0,
        input_audio: int = 0,
        cached_text: int = 0,
        output_text: int = 0,
        output_audio: int = 0,
    ) -> Usage:
        """Derive the totals. `cached_text` is the part of `input_text` that needed no computing."""
        input_tokens = input_text + input_audio
        output_tokens = output_text + output_audio
        return cls(
            total_tokens=input_tokens + output_tokens,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            input_token_details=InputTokens(
                text_tokens=input_text,
                audio_tokens=input_audio,
                cached_tokens=cached_text,
                cached_tokens_details=CachedTokens(text_tokens=cached_text),
            ),
            output_token_details=OutputTokens(text_tokens=output_text, audio_tokens=output_audio),
        )


class DurationUsage(Struct, frozen=True, tag_field="type", tag="duration"):
    """What one transcription used, as seconds of audio."""

    seconds: float


class TokensUsage(Struct, frozen=True, kw_only=True, tag_field="type", tag="tokens"):
    """What one transcription used, as tokens."""

    total_tokens: int
    input_tokens: int
    output_tokens: int


TranscriptionUsage = DurationUsage | TokensUsage
