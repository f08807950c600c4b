"""What all sessions of a node share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from voiceedge.config import Config
from voiceedge.engines import Engines, Sampling
from voiceedge.protocol.extensions import TurnTraced
from voiceedge.protocol.session_config import LocalNames
from voiceedge.session.compute import Compute
from voiceedge.trace import Clock, now

TurnSink = Callable[[str, TurnTraced], None]
"""Takes (session id, trace) of every turn that is over."""


@dataclass(frozen=True, slots=True)
class Node:
    """Engines, the scheduler and the defaults; made once, at start."""

    engines: Engines
    compute: Compute
    names: LocalNames
    instructions: str
    """For clients that give none."""
    sampling: Sampling
    """For answers whose client asks for nothing else; `max_tokens` bounds every answer."""
    report: TurnSink
    clock: Clock = now


def make_node(config: Config, engines: Engines, workers: int, report: TurnSink) -> Node:
    """Put a node together; `workers` is how many engine steps run at a time."""
    return Node(
        engines=engines,
        compute=Compute(workers),
        names=LocalNames(
            model=engines.names["llm"],
            transcription=engines.names["stt"],
            voices=engines.tts.voices,
            language=config.language,
        ),
        instructions=config.instructions,
        sampling=Sampling(
            temperature=config.temperature,
            top_p=config.top_p,
            repetition_penalty=config.repetition_penalty,
            max_tokens=config.max_answer_tokens,
        ),
        report=report,
    )
