"""What all sessions of a node share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field

from voiceedge.config import Config
from voiceedge.engines import Engines, Sampling, Stage
from voiceedge.engines.renewal import LoadStage, Renewal
from voiceedge.protocol.extensions import TurnTraced
from voiceedge.protocol.session_config import LocalNames
from voiceedge.session.bounds import DEFAULT, Bounds, bounds_of
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
    bounds: Bounds = DEFAULT
    """What a session may take."""
    clock: Clock = now

    @property
    def missing(self) -> frozenset[Stage]:
        """Stages that have failed, and are being loaded anew: until they are back the node should be sent nobody."""
        renewal = self.compute.renewal
        return frozenset() if renewal is None else renewal.out

    def turn(self) -> AbstractAsyncContextManager[None]:
        """The stretch of a turn in which no other session may use the engines, where the node is plain."""
        return self.turnstile if self.plain else nullcontext()


def make_node(
    config: Config,
    engines: Engines,
    workers: int,
    report: TurnSink,
    observe: StepSink | None = None,
    *,
    load: LoadStage | None = None,
    on_doomed: Callable[[str], None] | None = None,
) -> Node:
    """Put a node together.

    Args:
        config: the settings.
        engines: what it thinks with.
        workers: how many engine steps run at a time.
        report: takes every turn that is over.
        observe: is told of every engine step.
        load: loads the engines of a stage anew when they fail; None: they stay as they are.
        on_doomed: is told, from a thread, why the process should be started anew; see `Compute`.
    """
    renewal = None if load is None else Renewal(engines, load)
    return Node(
        engines=engines if renewal is None else renewal.engines,
        compute=Compute(workers, observe, renewal=renewal, timeout_s=config.step_timeout_s, on_doomed=on_doomed),
        names=LocalNames(
            model=engines.names["llm"],
            transcription=engines.names["stt"],
            voices=engines.tts.voices,
            language=config.language,
            records=None if config.record is None else config.record_consent,
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
        bounds=bounds_of(config),
    )
