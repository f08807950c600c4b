"""An answer, in the order it comes about: prompt -> LLM -> clauses -> TTS. Nothing of it is visible to anybody yet."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from voiceedge.audio.joint import Joints
from voiceedge.audio.pcm import PCM
from voiceedge.conversation.text import Clause, Clauses
from voiceedge.engines import (
    CallClosed,
    CallOpened,
    CallPiece,
    Finished,
    LlmStream,
    Piece,
    Prefilled,
    Prompt,
    Sampling,
    Step,
)
from voiceedge.errors import EngineFailed
from voiceedge.protocol.lifecycle import INCOMPLETE, Outcome, failed
from voiceedge.session.node import Node
from voiceedge.session.prompting import require_plausible
from voiceedge.trace import TurnTrace

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sound:
    """A stretch of speech, at the voice's own rate."""

    audio: PCM


Part = Piece | Clause | Sound | CallOpened | CallPiece | CallClosed | Finished
"""What an answer consists of. In one that speaks, a Clause stands before its Sounds and behind its Pieces."""


@dataclass(frozen=True, slots=True)
class Speech:
    """How an answer sounds."""

    voice: str
    speed: float


def cut_off(limit: asyncio.Timeout) -> Outcome:
    """How an answer ends that has been made for as long as `limit` allows: as one that has all its tokens."""
    if not limit.expired():
        log.error("An answer was ended by a time-out that is not its own.")
        return failed(EngineFailed("The answer could not be made."))
    return INCOMPLETE


class Seat:
    """One session's stream of the LLM, and whose turn it is to use it."""

    def __init__(self, stream: LlmStream) -> None:
        self.stream = stream
        self.free = asyncio.Lock()  # whoever is cancelled behind another's step in flight must not let a third in


async def make(
    node: Node,
    seat: Seat,
    prompt: Prompt,
    sampling: Sampling,
    speech: Speech | None,
    *,
    trace: TurnTrace,
    deadline: Callable[[], float],
) -> AsyncGenerator[Part, None]:
    """Make one answer; `speech` is None for one that is written.

    Every stage is pulled by the next one. `deadline` is asked for every engine step.

    Raises:
        NodeError: an engine failed, or the prompt does not fit.
    """
    require_plausible(prompt, node.engines.llm.context_tokens)
    steps = node.compute.stream(
        lambda: seat.stream.generate(prompt, sampling), deadline=deadline, trace=trace, name="llm"
    )
    clauses, joints = Clauses(whole_sentences=node.plain), Joints(node.engines.tts.sample_rate_hz)
    async with node.turn(), seat.free, aclosing(steps) as run:
        trace.mark("llm_started")
        async for step in run:
            if isinstance(step, Prefilled):
                _count(trace, step)
                continue
            if isinstance(step, Piece):
                trace.mark("llm_first_token")
                yield step
            for clause in _complete(clauses, step) if speech is not None else ():
                assert speech is not None
                trace.mark("llm_first_clause")
                yield clause
                async with aclosing(_speak(node, clause, speech, trace, deadline)) as parts:
                    async for audio in parts:
                        yield Sound(joints.push(audio))
                joints.next_clause(goes_on=clause.goes_on)
            if isinstance(step, Finished):
                trace.mark("llm_done")
            if isinstance(step, CallOpened | Finished) and (rest := joints.flush()).size:
                yield Sound(rest)
            if not isinstance(step, Piece):
                yield step


def _complete(clauses: Clauses, step: Step) -> list[Clause]:
    """The clauses that a step completes: what was said before a call, or before the end, is a clause."""
    match step:
        case Piece():
            return clauses.push(step.text)
        case CallOpened() | Finished():
            return clauses.flush()
    return []


async def _speak(
    node: Node, clause: Clause, speech: Speech, trace: TurnTrace, deadline: Callable[[], float]
) -> AsyncGenerator[PCM, None]:
    if not clause.spoken:
        return
    speak = partial(
        node.engines.tts.speak,
        clause.spoken,
        speech.voice,
        speech.speed,
        before=clause.before,
        goes_on=clause.goes_on,
    )
    async with aclosing(node.compute.stream(speak, deadline=deadline, trace=trace, name="tts")) as parts:
        async for audio in parts:
            trace.mark("tts_first_audio")
            yield audio


def _count(trace: TurnTrace, step: Prefilled) -> None:
    trace.facts["prefill_tokens"] = int(trace.facts.get("prefill_tokens", 0)) + step.tokens
    trace.facts["cached_tokens"] = step.cached
