"""Identifiers of everything that is named on the wire."""

from __future__ import annotations

import secrets

RANDOM_BYTES = 10
"""80 bits. As hex that makes 20 characters: `call_` and 20 stay below the 32 that OpenAI allows a call_id."""


def _made(prefix: str) -> str:
    return prefix + secrets.token_hex(RANDOM_BYTES)


def item_id() -> str:
    """Name a conversation item."""
    return _made("item_")


def response_id() -> str:
    """Name a response."""
    return _made("resp_")


def event_id() -> str:
    """Name a server event."""
    return _made("event_")


def session_id() -> str:
    """Name a session."""
    return _made("sess_")


def call_id() -> str:
    """Name a function call."""
    return _made("call_")


def conversation_id() -> str:
    """Name a conversation."""
    return _made("conv_")
