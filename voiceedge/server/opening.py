"""What a session begins with: the node's defaults, then the settings of its client secret."""

from __future__ import annotations

from typing import Any

from voiceedge.protocol import ids
from voiceedge.protocol.session_config import SessionConfig, default_session, merge
from voiceedge.session.node import Node


def opening_config(
    node: Node, settings: dict[str, Any], *, expires_at: int, model: str | None = None, transcribes: bool = False
) -> SessionConfig:
    """Put the settings together that the client's own session.update is then merged into.

    Args:
        node: has the defaults.
        settings: a client secret's, as in a session.update; {} without one.
        expires_at: when the session ends, seconds since 1970; 0 for one that has not begun.
        model: the name in the URL, which wins over the secret's.
        transcribes: the URL asks for a transcription session.

    Raises:
        CallerError: the settings cannot be honoured, or contradict the URL.
    """
    transcribes = transcribes or settings.get("type") == "transcription"
    named = settings.get("model")
    config = default_session(
        session_id=ids.session_id(),
        names=node.names,
        expires_at=expires_at,
        model=model or (named if isinstance(named, str) else None),
        kind="transcription" if transcribes else "realtime",
        instructions="" if transcribes else node.instructions,
    )
    return merge(config, settings) if settings else config
