"""What all sessions of a node share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from voiceedge.engines import Engines, Sampling
from voiceedge.protocol.extensions import TurnTraced
from voiceedge.protocol.session_config import LocalNames
from voiceedge.session.compute import Compute
from voiceedge.trace import Clock, now

TurnSink = Callable[[str, TurnTraced], None]
"""Takes (session id, trace) of every turn that is over."""


@dataclass(frozen=True, slots=True)
class Node:
    """Engines, the scheduler and the defaults; made once, in `cli.py`."""

    engines: Engines
    compute: Compute
    names: LocalNames
    instructions: str
    """For clients that give none."""
    sampling: Sampling
    """For answers whose client asks for nothing else; `max_tokens` bounds every answer."""
    report: TurnSink
    clock: Clock = now
