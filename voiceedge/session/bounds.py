"""How long and how much: what bounds one session, as its operator has chosen."""

from __future__ import annotations

from dataclasses import dataclass

from voiceedge.config import Config


@dataclass(frozen=True, slots=True)
class Bounds:
    """Settings of the same names; docs/settings.md says what each is for."""

    session_s: int
    """Longest session."""
    idle_s: float
    """Time without anybody; 0: for ever."""
    answer_s: float
    """Longest making of one answer."""
    session_tokens: int
    """Tokens of all answers; 0: any number."""
    max_items: int
    """Items of a conversation."""


def bounds_of(config: Config) -> Bounds:
    """What the settings say."""
    return Bounds(
        session_s=config.session_s,
        idle_s=config.idle_s,
        answer_s=config.answer_s,
        session_tokens=config.session_tokens,
        max_items=config.max_items,
    )


DEFAULT = bounds_of(Config())
