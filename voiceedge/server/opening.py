"""What a session begins with: the node's defaults, then what its token or client secret says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from voiceedge.protocol import ids
from voiceedge.protocol.session_config import SessionConfig, default_session, merge
from voiceedge.session.node import Node


def opening_config(
    node: Node,
    updates: Sequence[dict[str, Any]],
    *,
    expires_at: int,
    model: str | None = None,
    transcribes: bool = False,
) -> SessionConfig:
    """Put the settings together that the client's own session.update is then merged into.

    Args:
        node: has the defaults.
        updates: of whoever connects: each as in a session.update, one after the other.
        expires_at: when the session ends, seconds since 1970; 0 for one that has not begun.
        model: the name in the URL, which wins over theirs.
        transcribes: the URL asks for a transcription session.

    Raises:
        CallerError: the settings cannot be honoured, or contradict the URL.
    """
    asked = {name: update[name] for update in updates for name in ("type", "model") if name in update}
    transcribes = transcribes or asked.get("type") == "transcription"
    named = asked.get("model")
    config = default_session(
        session_id=ids.session_id(),
        names=node.names,
        expires_at=expires_at,
        model=model or (named if isinstance(named, str) else None),
        kind="transcription" if transcribes else "realtime",
        instructions="" if transcribes else node.instructions,
    )
    for update in updates:
        config = merge(config, update)
    return config
