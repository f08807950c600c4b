"""The answers of one session: drafted, started, finished and cancelled, one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from msgspec import structs

from voiceedge.conversation.history import History, Item, Line
from voiceedge.engines import Prompt
from voiceedge.errors import ContextFull, EngineFailed, VoiceEdgeError
from voiceedge.protocol import ids
from voiceedge.protocol import server_events as out
from voiceedge.protocol.extensions import TurnTraced
from voiceedge.protocol.lifecycle import Outcome, ResponseLifecycle, cancelled, failed
from voiceedge.protocol.response_config import ResponseConfig
from voiceedge.protocol.session_config import SessionConfig
from voiceedge.session.ahead import Ahead
from voiceedge.session.context import Context
from voiceedge.session.delivering import Delivery
from voiceedge.session.making import Speech, cut_off, make
from voiceedge.session.node import Node
from voiceedge.session.outbox import Outbox
from voiceedge.session.playout import Playout
from voiceedge.session.prompting import forget_half, sampling_of
from voiceedge.session.question import Question
from voiceedge.session.spending import Spending
from voiceedge.session.transcribing import Spawn
from voiceedge.session.turn import Turn, Utterance
from voiceedge.trace import TurnTrace

log = logging.getLogger(__name__)

RoundTrip = Callable[[], float | None]
"""Seconds to the client and back, as last measured; None when that is not known."""


@dataclass(frozen=True, slots=True)
class _Request:
    config: ResponseConfig
    utterance: Utterance | None
    question: Question | None
    asked: float
    """When it was asked for: another answer may have to be finished first."""


@dataclass(slots=True)
class _Draft:
    """An answer that is being made before it is known whether the user's turn is over."""

    turn: Turn
    prompt: Prompt
    """What it answers: of use only while that is still the question."""
    parts: Ahead


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
        network: RoundTrip,
        spending: Spending,
    ) -> None:
        self._node = node
        self._history = history
        self._outbox = outbox
        self._spawn = spawn
        self._on_audio = on_audio
        self._on_end = on_end
        self._wants_trace = wants_trace
        self._network = network
        self._spending = spending
        self._conversation_id = ids.conversation_id()
        self._open_context: Context | None = None
        self._next: _Request | None = None
        self._unheard: list[Utterance] = []  # transcriptions that the next answer has to wait for
        self._draft: _Draft | None = None
        self._turn: Turn | None = None
        self._parts: Ahead | None = None  # of the turn
        self._playout = Playout(node.clock)
        self._spoken_item_id: str | None = None
        self._turns = 0
        self._wasted: list[TurnTrace] = []  # drafts that were dropped since the last answer

    def open(self, config: SessionConfig) -> None:
        """Take a slot of the LLM.

        Raises:
            Overloaded: every slot is taken.
        """
        self._open_context = Context(self._node, self._history, config, self._spawn)

    def close(self) -> None:
        """Give the slot back."""
        if self._open_context is not None:
            self._open_context.close()

    @property
    def _context(self) -> Context:
        assert self._open_context is not None
        return self._open_context

    @property
    def response_id(self) -> str | None:
        """The response that is being made, as far as the client can know of it.

        Of one that answers speech it knows nothing before `response.created`: whoever cancels "the response" then means
        another one, which is over.
        """
        turn = self._turn
        if turn is None or not (turn.has_begun or turn.utterance is None):
            return None
        return turn.response_id

    @property
    def next_number(self) -> int:
        """Number of the next turn."""
        return self._turns + 1

    @property
    def is_audible(self) -> bool:
        """Whether the listener still has audio to hear."""
        return self.unplayed_s > 0

    @property
    def unplayed_s(self) -> float:
        """Seconds of audio that the listener still has to hear."""
        return self._playout.remaining_s

    @property
    def has_spoken(self) -> bool:
        """Whether any audio of this session has been made: then the voice is fixed."""
        return self._spoken_item_id is not None

    async def wait(self) -> None:
        """Wait for the running answer, and for the next one if that has been asked for already."""
        while self._turn is not None and self._turn.task is not None and not self._turn.task.done():
            await asyncio.wait([self._turn.task])

    async def check_room(self, config: SessionConfig) -> None:
        """Look whether instructions and tools leave room for a conversation.

        Raises:
            InvalidRequest: they do not; it says how much fits.
        """
        await self._context.check_room(config)

    def configure(self, config: SessionConfig) -> None:
        """Answer by these settings; their instructions and tools are prefilled while nobody waits for an answer."""
        self._context.config = config
        if self._turn is None:
            self._context.warm_opening()

    # ── what is answered ──────────────────────────────────────────────────────────────────────────────

    def heard(self, utterance: Utterance) -> None:
        """The next answer has to wait for these words."""
        self._unheard = [known for known in self._unheard if known.told is not None and not known.told.done()]
        self._unheard.append(utterance)

    def prepare(self, config: ResponseConfig, utterance: Utterance | None, question: Question | None = None) -> None:
        """Say what the next answer answers; `question` stands in the place of the conversation."""
        self._next = _Request(config, utterance, question, self._node.clock())

    def draft(self, config: ResponseConfig, utterance: Utterance, words: str) -> None:
        """Make the answer to what the user has said so far, behind a gate; does nothing while another one is made."""
        self.drop_draft()
        if self._turn is not None or self._spending.is_over:
            return
        turn = self._new_turn(config, utterance)
        prompt = self._context.prompt(config, [*self._history.lines(), Line("user", words)])
        self._draft = _Draft(turn, prompt, self._make(turn, prompt))

    def foresee(self, words: str) -> None:
        """The user's turn begins like this: prefill it in idle time."""
        if self._turn is None and self._draft is None:
            self._context.foresee(words)

    def drop_draft(self) -> None:
        """Nobody will hear the draft."""
        draft, self._draft = self._draft, None
        if draft is not None:
            draft.parts.abandon()

    def waste(self, trace: TurnTrace) -> None:
        """What engines did, and still do, for this trace is for nothing."""
        self._wasted.append(trace)

    # ── one answer ────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Begin the answer that was prepared."""
        assert self._next is not None
        request, self._next = self._next, None
        self._turns += 1
        draft, self._draft = self._draft, None
        if draft is not None and (draft.turn.utterance is not request.utterance or draft.turn.config != request.config):
            draft.parts.abandon()
            draft = None
        turn = draft.turn if draft is not None else self._new_turn(request.config, request.utterance)
        turn.is_heard, begun = True, self._node.clock()
        turn.trace.waited(max(request.asked, turn.trace.marks.get("stt_final", begun)), begun)
        self._turn, self._parts = turn, draft.parts if draft is not None else None
        turn.trace.facts["answer_ready_at_endpoint"] = int(draft is not None and draft.parts.is_ready)
        turn.task = self._spawn(self._run(turn, draft, request.question, self._turns), f"turn {self._turns}")

    def cancel(self, reason: Literal["turn_detected", "client_cancelled"]) -> None:
        """Cut the running answer off: nothing of it reaches the socket after what this puts into the outbox."""
        parts, turn = self._parts, self._take_turn()
        if turn is not None:
            self._outbox.discard(turn.response_id)
            if (call := turn.open_call) is not None:
                self._outbox.discard(call.id)
            outcome = cancelled(reason)
            if self._end(turn, outcome):
                self._spawn(self._report_stopped(turn, self._turns, outcome, parts, self._node.clock()), "report")
            self._playout.stop()

    def abandon(self) -> None:
        """The client is gone: stop the running answer without a word."""
        self._take_turn()

    def silence(self, *, since: float) -> None:
        """The client stops playing because the user speaks, `since` then: what has not been played was not heard."""
        if self._turn is not None:
            self._turn.trace.facts["barge_in_evidence_ms"] = round((self._node.clock() - since) * 1000, 1)
        if self.is_audible and self._spoken_item_id is not None and self._turn is None:
            self._truncate(self._spoken_item_id, self._playout.heard_ms)
        self._playout.stop()

    def publish(self) -> None:
        """Let the history show what has been said of the running answer."""
        for item in self._turn.items if self._turn is not None else ():
            self._history.update(item)

    def _new_turn(self, config: ResponseConfig, utterance: Utterance | None) -> Turn:
        clock = self._node.clock
        trace = utterance.trace if utterance else TurnTrace(self.next_number, clock(), clock)
        lifecycle = ResponseLifecycle(ids.response_id(), config, conversation_id=self._conversation_id)
        return Turn(config, trace, utterance, lifecycle, Playout(clock))

    def _make(self, turn: Turn, prompt: Prompt) -> Ahead:
        self._context.stop_warming()
        node, config = self._node, turn.config
        speech = Speech(config.voice, config.speed) if config.output_modality == "audio" else None
        sampling = sampling_of(node, config)
        parts = make(node, self._context.seat, prompt, sampling, speech, trace=turn.trace, deadline=turn.deadline)
        return Ahead(parts, node.engines.tts.sample_rate_hz, self._spawn, bounded=not node.plain)

    def _take_turn(self) -> Turn | None:
        turn, self._turn = self._turn, None
        self._stop_making()
        if turn is not None and turn.task is not None:
            turn.task.cancel()
        return turn

    def _stop_making(self) -> None:
        """Free the engines behind the step in flight."""
        parts, self._parts = self._parts, None
        if parts is not None:
            parts.abandon()

    def _truncate(self, item_id: str, heard_ms: float) -> None:
        try:
            self._history.truncate(item_id, heard_ms)
        except LookupError:
            log.debug("item %s was deleted before it was heard out", item_id)

    async def _run(self, turn: Turn, draft: _Draft | None, question: Question | None, number: int) -> None:
        limit = asyncio.timeout(self._node.bounds.answer_s)
        try:
            async with limit:
                outcome = await self._answer(turn, draft, question)
        except VoiceEdgeError as error:
            outcome = failed(error)
        except TimeoutError:
            outcome = cut_off(limit)
        except Exception:
            log.exception("turn %d failed", number)
            outcome = failed(EngineFailed("The answer could not be made."))
        self._turn = None
        self._stop_making()
        if outcome is not None and self._end(turn, outcome):
            self._outbox.put(lambda: self._report(turn, number, outcome))
        self._on_end()
        # forget old turns while nobody waits, rather than when the next answer is due
        if self._turn is None and self._context.forget(2 * self._node.sampling.max_tokens):
            self._context.warm_conversation()

    async def _answer(self, turn: Turn, draft: _Draft | None, question: Question | None) -> Outcome | None:
        """Answer what was said; None when there were no words in it."""
        if not await self._words_known(turn):
            return None
        self._begin(turn)
        self._spending.check()
        self._context.forget(sampling_of(self._node, turn.config).max_tokens)
        history = self._history if question is None else await question.history()
        while True:
            prompt = self._context.prompt(turn.config, history.lines())
            if self._parts is None or draft is None or draft.prompt != prompt:
                self._stop_making()
                turn.trace.begin_anew()
                self._parts = self._make(turn, prompt)
                turn.trace.facts["answer_ready_at_endpoint"] = 0
            try:
                return await self._deliver(turn, self._parts)
            except ContextFull:  # what lines cost is an estimate, and some texts cost more
                if not forget_half(history):
                    raise
                draft = None

    async def _deliver(self, turn: Turn, parts: Ahead) -> Outcome:
        def on_message() -> None:
            if turn.config.output_modality == "audio":
                self._playout = turn.playout

        def on_audio() -> None:
            assert turn.message is not None
            self._spoken_item_id = turn.message.id
            self._on_audio()

        rate_hz = self._node.engines.tts.sample_rate_hz
        delivery = Delivery(turn, self._history, self._outbox, rate_hz, on_message=on_message, on_audio=on_audio)
        return await delivery.run(parts)

    async def _words_known(self, turn: Turn) -> bool:
        """Wait for what is being transcribed; False when the utterance to be answered holds no words."""
        for utterance in tuple(self._unheard):  # they stay: if this answer is cancelled, the next one waits for them
            if utterance.told is not None:
                await asyncio.wait([utterance.told])
        if turn.utterance is None:
            return True
        return bool(await asyncio.shield(turn.utterance.words))

    def _begin(self, turn: Turn) -> None:
        """Open the response on the wire."""
        if not turn.has_begun:
            turn.has_begun = True
            for event in turn.lifecycle.begin():
                self._outbox.put(event)

    def _end(self, turn: Turn, outcome: Outcome) -> bool:
        """Close the response, on the wire and in the history; False when nobody has ever heard of it."""
        if not turn.has_begun and outcome.type == "cancelled" and turn.utterance is not None:
            return False  # who asked for a response is told its end
        self._begin(turn)
        for event in turn.lifecycle.finish(outcome, turn.usage()):
            self._outbox.put(event)
        self._spending.took(turn.completion_tokens)
        self._outbox.put(out.NO_LIMITS)
        if turn.message is not None:
            self._history.update(self._final(turn, turn.message, outcome))
        for call in turn.calls:
            self._history.update(call)
        wasted, self._wasted = self._wasted, []
        turn.trace.facts["wasted_ms"] = round(sum(trace.work_s for trace in wasted) * 1000)
        return True

    def _final(self, turn: Turn, message: Item, outcome: Outcome) -> Item:
        """The message as it stays: with all that was said, or what was heard when it was cut off."""
        heard_ms = self._history.heard_ms(message.id)
        if outcome.type == "cancelled" and turn.config.output_modality == "audio" and heard_ms is None:
            heard_ms = turn.playout.heard_ms
        return replace(message, heard_ms=heard_ms, is_complete=outcome.type == "completed")

    async def _report_stopped(
        self, turn: Turn, number: int, outcome: Outcome, parts: Ahead | None, decided: float
    ) -> None:
        """Report a turn that was cut off, once it is known how long the engines were still busy with it."""
        if parts is not None:
            await parts.stopped()
        facts = turn.trace.facts
        if "barge_in_evidence_ms" in facts:
            facts["barge_in_stop_ms"] = round((self._node.clock() - decided) * 1000, 1)
            for name, longest_s in self._node.compute.longest_s.copy().items():
                facts[f"longest_{name.replace(' ', '_')}_ms"] = round(longest_s * 1000, 1)
        self._outbox.put(lambda: self._report(turn, number, outcome))

    def _report(self, turn: Turn, number: int, outcome: Outcome) -> TurnTraced | None:
        turn.trace.facts["work_ms"] = round(turn.trace.work_s * 1000)
        if (round_trip_s := self._network()) is not None:
            turn.trace.facts["round_trip_ms"] = round(round_trip_s * 1000, 2)
        traced = turn.traced(number, outcome)
        reported = structs.replace(traced, words=turn.words()) if self._node.trace_words else traced
        self._node.report(self._context.config.id, reported)
        return traced if self._wants_trace else None
