"""What all sessions of a node share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field

from voiceedge.config import Config
from voiceedge.engines import Engines, Sampling
from voiceedge.protocol.extensions import TurnTraced
from voiceedge.protocol.session_config import LocalNames
from voiceedge.session.compute import Compute, StepSink
from voiceedge.trace import Clock, now

TurnSink = Callable[[str, TurnTraced], None]
"""Takes (session id, trace) of every turn that is over."""


SPARE_SLOTS = 2
"""Slots of the LLM beside one for each session: for responses outside of the conversations, and to warm up."""


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
    draft_after_ms: int | None = None
    """Silence after which an answer is drafted; None: no drafts."""
    plain: bool = False
    """The pipeline as it is commonly built, to compare with."""
    trace_words: bool = False
    """Whether what was said is reported with a turn."""
    turnstile: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Lets one session after another through, where the node is plain."""
    spare_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SPARE_SLOTS))
    """Slots of the LLM that are no session's."""
    clock: Clock = now

    def turn(self) -> AbstractAsyncContextManager[None]:
        """The stretch of a turn in which no other session may use the engines, where the node is plain."""
        return self.turnstile if self.plain else nullcontext()


def make_node(
    config: Config, engines: Engines, workers: int, report: TurnSink, observe: StepSink | None = None
) -> Node:
    """Put a node together; `workers` is how many engine steps run at a time, `observe` is told of each of them."""
    return Node(
        engines=engines,
        compute=Compute(workers, observe),
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
        draft_after_ms=None if config.plain else config.draft_after_ms or None,
        plain=config.plain,
        trace_words=config.trace_words,
    )
