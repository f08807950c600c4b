"""The answers of one session: started, finished and cancelled one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Literal

from voiceedge.conversation.history import History, Item
from voiceedge.engines import LlmStream, Prompt
from voiceedge.errors import ContextFull, EngineFailed, VoiceEdgeError
from voiceedge.protocol import ids
from voiceedge.protocol.extensions import TurnTraced
from voiceedge.protocol.lifecycle import Outcome, ResponseLifecycle, cancelled, failed
from voiceedge.protocol.response_config import ResponseConfig
from voiceedge.protocol.server_events import ServerEvent
from voiceedge.protocol.session_config import SessionConfig
from voiceedge.session.answer import answer, forget_half, forget_what_does_not_fit, prompt_of, sampling_of
from voiceedge.session.node import Node
from voiceedge.session.outbox import Outbox
from voiceedge.session.playout import Playout
from voiceedge.session.transcribing import Spawn
from voiceedge.session.turn import Turn, Utterance
from voiceedge.trace import TurnTrace

log = logging.getLogger(__name__)

IDLE_S = 10.0
"""Work that nobody waits for gets a deadline this far away."""


@dataclass(frozen=True, slots=True)
class _Request:
    config: ResponseConfig
    utterance: Utterance | None


class Answering:
    """Makes one answer at a time and knows how much of the last one was heard."""

    def __init__(
        self,
        node: Node,
        history: History,
        outbox: Outbox,
        spawn: Spawn,
        *,
        on_audio: Callable[[], None],
        on_end: Callable[[], None],
        wants_trace: bool,
    ) -> None:
        self._node = node
        self._history = history
        self._outbox = outbox
        self._spawn = spawn
        self._on_audio = on_audio
        self._on_end = on_end
        self._wants_trace = wants_trace
        self._session_id = ""
        self._instructions = ""
        self._conversation_id = ids.conversation_id()
        self._llm: LlmStream | None = None
        self._next: _Request | None = None
        self._unheard: list[Utterance] = []  # transcriptions that the next answer has to wait for
        self._turn: Turn | None = None
        self._playout = Playout(node.clock)
        self._spoken_item_id: str | None = None
        self._using_llm: asyncio.Task[None] | None = None
        self._llm_free = asyncio.Lock()  # whoever is cancelled behind another's step in flight must not let a third in
        self._turns = 0

    def open(self, config: SessionConfig) -> None:
        """Take a slot of the LLM.

        Raises:
            Overloaded: every slot is taken.
        """
        self._session_id = config.id
        self._llm = self._node.engines.llm.open()

    def close(self) -> None:
        """Give the slot back."""
        if self._llm is not None:
            self._llm.close()
            self._llm = None

    @property
    def response_id(self) -> str | None:
        """The response that is being made."""
        return self._turn.response_id if self._turn is not None else None

    @property
    def next_number(self) -> int:
        """Number of the next turn."""
        return self._turns + 1

    @property
    def is_audible(self) -> bool:
        """Whether the listener still has audio to hear."""
        return self._playout.remaining_s > 0

    @property
    def has_spoken(self) -> bool:
        """Whether any audio of this session has been made: then the voice is fixed."""
        return self._spoken_item_id is not None

    async def wait(self) -> None:
        """Wait for the running answer, and for the next one if that has been asked for already."""
        while self._turn is not None and self._turn.task is not None and not self._turn.task.done():
            await asyncio.wait([self._turn.task])

    def warm(self, instructions: str) -> None:
        """Prefill the instructions while nobody waits for an answer."""
        self._instructions = instructions
        if self._turn is None:
            self._warm(prompt_of(instructions, ()))

    def heard(self, utterance: Utterance) -> None:
        """The next answer has to wait for these words."""
        self._unheard = [known for known in self._unheard if not known.words.done()]
        self._unheard.append(utterance)

    def prepare(self, config: ResponseConfig, utterance: Utterance | None) -> None:
        """Say what the next answer answers."""
        self._next = _Request(config, utterance)

    def start(self) -> None:
        """Begin the answer that was prepared."""
        assert self._next is not None
        request, self._next = self._next, None
        self._turns += 1
        clock = self._node.clock
        trace = request.utterance.trace if request.utterance else TurnTrace(self._turns, clock(), clock)
        lifecycle = ResponseLifecycle(ids.response_id(), request.config, conversation_id=self._conversation_id)
        turn = Turn(request.config, trace, request.utterance, lifecycle, Playout(clock))
        self._turn = turn
        if self._using_llm is not None:
            self._using_llm.cancel()  # at most a prefill that was done in idle time; a dead turn is cancelled already
        turn.task = self._using_llm = self._spawn(self._run(turn, self._turns), f"turn {self._turns}")

    def cancel(self, reason: Literal["turn_detected", "client_cancelled"]) -> None:
        """Cut the running answer off: nothing of it reaches the socket after what this puts into the outbox."""
        turn = self._take_turn()
        if turn is not None:
            self._outbox.discard(turn.response_id)
            self._end(turn, self._turns, cancelled(reason))
            self._playout.stop()

    def abandon(self) -> None:
        """The client is gone: stop the running answer without a word."""
        self._take_turn()

    def silence(self) -> None:
        """The client stops playing because the user speaks: what has not been played was not heard."""
        if self.is_audible and self._spoken_item_id is not None and self._turn is None:
            self._truncate(self._spoken_item_id, self._playout.heard_ms)
        self._playout.stop()

    def publish(self) -> None:
        """Let the history show what has been said of the running answer."""
        if self._turn is not None:
            self._history.update(self._turn.item)

    def _take_turn(self) -> Turn | None:
        turn, self._turn = self._turn, None
        if turn is not None and turn.task is not None:
            turn.task.cancel()
        return turn

    def _truncate(self, item_id: str, heard_ms: float) -> None:
        try:
            self._history.truncate(item_id, heard_ms)
        except LookupError:
            log.debug("item %s was deleted before it was heard out", item_id)

    async def _run(self, turn: Turn, number: int) -> None:
        try:
            async with self._llm_free:
                outcome = await self._answer(turn)
        except VoiceEdgeError as error:
            outcome = failed(error)
        except Exception:
            log.exception("turn %d failed", number)
            outcome = failed(EngineFailed("The answer could not be made."))
        self._turn = None
        if outcome is not None:
            self._end(turn, number, outcome)
        self._on_end()
        self._make_room()

    async def _answer(self, turn: Turn) -> Outcome | None:
        """Answer what was said; None when there were no words in it."""
        if not await self._words_known(turn):
            return None
        self._begin(turn)
        node, llm = self._node, self._llm
        assert llm is not None
        self._forget(sampling_of(node, turn.config).max_tokens)
        while True:
            prompt = prompt_of(self._instructions, self._history.lines(), turn.config.instructions)
            try:
                return await answer(turn, prompt, llm, node, self._outbox, self._on_audio)
            except ContextFull:  # what lines cost is an estimate, and some texts cost more
                if not forget_half(self._history):
                    raise

    async def _words_known(self, turn: Turn) -> bool:
        """Wait for what is being transcribed; False when the utterance to be answered holds no words."""
        unheard, self._unheard = self._unheard, []
        for utterance in unheard:
            await asyncio.wait([utterance.words])
        if turn.utterance is None:
            return True
        return bool(await asyncio.shield(turn.utterance.words))

    def _begin(self, turn: Turn) -> None:
        """Open the response and its message, on the wire and in the history."""
        turn.has_begun = True
        before = self._history.insert(turn.item)
        self._send([*turn.lifecycle.begin(), *turn.lifecycle.open_message(turn.item.id, before)])
        if turn.config.output_modality == "audio":
            self._playout, self._spoken_item_id = turn.playout, turn.item.id

    def _end(self, turn: Turn, number: int, outcome: Outcome) -> None:
        """Close the response, on the wire and in the history, and report where its time went."""
        if not turn.has_begun:
            if outcome.type == "cancelled" and turn.utterance is not None:
                return  # nobody has heard of it; who asked for a response is told its end
            turn.has_begun = True
            self._send(turn.lifecycle.begin())
        for event in turn.lifecycle.finish(outcome, turn.usage()):
            self._outbox.put(event)
        self._history.update(self._final(turn, outcome))
        self._outbox.put(lambda: self._report(turn, number, outcome))

    def _final(self, turn: Turn, outcome: Outcome) -> Item:
        """The item as it stays: with all that was said, or what was heard when it was cut off."""
        heard_ms = self._history.heard_ms(turn.item.id)
        if outcome.type == "cancelled" and turn.config.output_modality == "audio" and heard_ms is None:
            heard_ms = turn.playout.heard_ms
        return replace(turn.item, heard_ms=heard_ms, is_complete=outcome.type == "completed")

    def _report(self, turn: Turn, number: int, outcome: Outcome) -> TurnTraced | None:
        traced = turn.traced(number, outcome)
        self._node.report(self._session_id, traced)
        return traced if self._wants_trace else None

    def _send(self, events: list[ServerEvent]) -> None:
        for event in events:
            self._outbox.put(event)

    def _forget(self, answer_tokens: int) -> int:
        context_tokens = self._node.engines.llm.context_tokens
        return forget_what_does_not_fit(self._history, self._instructions, context_tokens, answer_tokens)

    def _make_room(self) -> None:
        """Forget old turns while nobody waits, rather than when the next answer is due."""
        if self._turn is None and self._forget(2 * self._node.sampling.max_tokens):
            self._warm(prompt_of(self._instructions, self._history.lines()))

    def _warm(self, prompt: Prompt) -> None:
        if self._using_llm is not None and self._using_llm is not asyncio.current_task():
            self._using_llm.cancel()
        self._using_llm = self._spawn(self._prefill(prompt), "warm")

    async def _prefill(self, prompt: Prompt) -> None:
        llm, clock = self._llm, self._node.clock
        assert llm is not None
        steps = self._node.compute.stream(lambda: llm.warm(prompt), deadline=lambda: clock() + IDLE_S)
        try:
            async with self._llm_free, aclosing(steps) as run:
                async for _ in run:
                    pass
        except VoiceEdgeError as error:
            log.warning("The instructions could not be prefilled: %s", error)
