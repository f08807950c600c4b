"""Responses outside of the conversation: made beside its answers, shown to the client alone, remembered by nobody."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial

from voiceedge.conversation.history import History
from voiceedge.errors import ContextFull, EngineFailed, Overloaded, Refused, VoiceEdgeError
from voiceedge.protocol import ids
from voiceedge.protocol import server_events as out
from voiceedge.protocol.lifecycle import Outcome, ResponseLifecycle, cancelled, failed
from voiceedge.protocol.response_config import ResponseConfig
from voiceedge.session.delivering import Delivery
from voiceedge.session.making import Seat, Speech, cut_off, make
from voiceedge.session.node import Node
from voiceedge.session.outbox import Outbox
from voiceedge.session.playout import Playout
from voiceedge.session.prompting import (
    cost_of_opening,
    forget_half,
    forget_what_does_not_fit,
    prompt_of,
    sampling_of,
)
from voiceedge.session.question import Question
from voiceedge.session.spending import Spending
from voiceedge.session.transcribing import Spawn
from voiceedge.session.turn import Turn
from voiceedge.trace import TurnTrace

log = logging.getLogger(__name__)

MAX_ASIDES = 4
"""Asides of one session at a time; more are refused."""
SLOT_WAIT_S = 10.0
"""How long an aside waits for a spare slot of the LLM; then it fails as overloaded."""
LATER_S = 1.0
"""How much later than now a step of an aside is due while nothing of it is heard: who is spoken to comes first."""
LATEST_S = 10.0
"""So long after it was asked for an aside stops giving way."""


class Asides:
    """The asides of one session."""

    def __init__(self, node: Node, outbox: Outbox, spawn: Spawn, spending: Spending) -> None:
        self._node = node
        self._outbox = outbox
        self._spawn = spawn
        self._spending = spending
        self._running: dict[str, Turn] = {}
        self._playout = Playout(node.clock)  # of the last one that speaks

    @property
    def is_audible(self) -> bool:
        """Whether the listener still has audio of an aside to hear."""
        return self._playout.remaining_s > 0

    @property
    def is_running(self) -> bool:
        """Whether any is being made."""
        return bool(self._running)

    def start(self, config: ResponseConfig, instructions: str, question: Question) -> None:
        """Begin a response; `instructions` are the session's, and hold where the response has none of its own.

        Raises:
            Refused: so many are running that there cannot be another one.
        """
        if len(self._running) >= MAX_ASIDES:
            raise Refused(
                f"{MAX_ASIDES} responses outside of the conversation are running; wait for a response.done.",
                code="too_many_responses",
            )
        clock = self._node.clock
        lifecycle = ResponseLifecycle(ids.response_id(), config, conversation_id=None)
        turn = Turn(config, TurnTrace(0, clock(), clock), None, lifecycle, Playout(clock))
        for event in lifecycle.begin():
            self._outbox.put(event)
        self._running[turn.response_id] = turn
        opening = instructions if config.instructions is None else ""
        turn.task = self._spawn(self._run(turn, opening, question), "aside")

    def cancel(self, response_id: str) -> bool:
        """Cut an aside off; False when there is none of that id."""
        turn = self._running.pop(response_id, None)
        if turn is None:
            return False
        assert turn.task is not None
        turn.task.cancel()
        self._outbox.discard(response_id)
        self._end(turn, cancelled("client_cancelled"))
        turn.playout.stop()
        return True

    async def wait(self) -> None:
        """Wait for those that are running."""
        if tasks := [turn.task for turn in self._running.values() if turn.task is not None]:
            await asyncio.wait(tasks)

    async def _run(self, turn: Turn, instructions: str, question: Question) -> None:
        limit = asyncio.timeout(self._node.bounds.answer_s)
        try:
            self._spending.check()
            async with limit:
                outcome = await self._answer(turn, instructions, question)
        except VoiceEdgeError as error:
            outcome = failed(error)
        except TimeoutError:
            outcome = cut_off(limit)
        except Exception:
            log.exception("An aside failed.")
            outcome = failed(EngineFailed("The response could not be made."))
        del self._running[turn.response_id]
        self._end(turn, outcome)

    def _end(self, turn: Turn, outcome: Outcome) -> None:
        for event in turn.lifecycle.finish(outcome, turn.usage()):
            self._outbox.put(event)
        self._spending.took(turn.completion_tokens)
        self._outbox.put(out.NO_LIMITS)

    async def _answer(self, turn: Turn, instructions: str, question: Question) -> Outcome:
        node, config = self._node, turn.config
        history = await question.history()
        opening = cost_of_opening(instructions, config.tools)
        room = sampling_of(node, config).max_tokens
        forget_what_does_not_fit(history, opening, node.engines.llm.context_tokens, room)
        async with self._seat() as seat:
            while True:
                try:
                    return await self._deliver(turn, seat, instructions, history)
                except ContextFull:  # what lines cost is an estimate, and some texts cost more
                    if not forget_half(history):
                        raise

    async def _deliver(self, turn: Turn, seat: Seat, instructions: str, history: History) -> Outcome:
        node, config = self._node, turn.config
        prompt = prompt_of(instructions, config.tools, history.lines(), config)
        speech = Speech(config.voice, config.speed) if config.output_modality == "audio" else None
        parts = make(
            node,
            seat,
            prompt,
            sampling_of(node, config),
            speech,
            trace=turn.trace,
            deadline=partial(self._deadline, turn),
        )
        delivery = Delivery(
            turn,
            History(),
            self._outbox,
            node.engines.tts.sample_rate_hz,
            on_message=lambda: None,
            on_audio=partial(self._audio_started, turn),
        )
        async with aclosing(parts) as run:  # left behind the step in flight: then the slot can be given back
            return await delivery.run(run)

    @asynccontextmanager
    async def _seat(self) -> AsyncIterator[Seat]:
        """A slot of the LLM for one aside, never one that a session may need.

        Raises:
            Overloaded: all spare ones are taken, and stay so.
        """
        spare = self._node.spare_slots
        try:
            async with asyncio.timeout(SLOT_WAIT_S):
                await spare.acquire()
        except TimeoutError:
            raise Overloaded(
                "Every slot for responses outside of a conversation is taken.", retry_after_s=round(SLOT_WAIT_S)
            ) from None
        try:
            seat = Seat(self._node.engines.llm.open())
            try:
                yield seat
            finally:
                seat.stream.close()
        finally:
            spare.release()

    def _audio_started(self, turn: Turn) -> None:
        self._playout = turn.playout

    def _deadline(self, turn: Turn) -> float:
        """When a step is due: behind whoever is waited for now, but not for ever."""
        later = min(self._node.clock() + LATER_S, turn.trace.zero + LATEST_S)
        return turn.playout.runs_out or later
