"""Where a run is, for whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Doing = Literal["preparing", "connecting", "speaking", "waiting", "listening", "done"]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the run is, for a live line."""

    turn: int
    """From 1, over all conversations and runs."""
    turns: int | None
    """None where only the time is known that the run will take."""
    audio: str
    """Name of the recording."""
    doing: Doing
    all_doing: tuple[Doing, ...] = ()
    """What each of the conversations does that are held at once."""
    p50_ms: float | None = None
    """Of the turns so far, failed ones slower than all others; None before there is one, or among failed ones."""
    p95_ms: float | None = None
    failed: int = 0
    left_s: float | None = None
    """What the rest will take, as far as can be told from what is done."""
