"""An answer, in the order it comes about: prompt -> LLM -> clauses -> TTS -> deltas. Cancelling this is barge-in.

Every stage is pulled by the next one, so nothing runs ahead of what the listener can use, and no queue is left behind.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial

from voiceedge.conversation.history import History, Line
from voiceedge.conversation.text import Clause, Clauses
from voiceedge.engines import Finished, LlmStream, Message, Piece, Prefilled, Prompt, Sampling
from voiceedge.protocol.lifecycle import COMPLETED, INCOMPLETE, Outcome
from voiceedge.protocol.response_config import ResponseConfig
from voiceedge.protocol.server_events import ServerEvent
from voiceedge.session.node import Node
from voiceedge.session.outbox import Outbox
from voiceedge.session.turn import Turn
from voiceedge.session.voice import Voice

CHARACTERS_A_TOKEN = 3.0
"""A careful guess of what text costs before it has been tokenised; English has about four."""
TOKENS_A_MESSAGE = 8
"""Markup around a message in ChatML, rounded up."""


def prompt_of(instructions: str, lines: Sequence[Line], extra: str | None = None) -> Prompt:
    """What the LLM is shown. Instructions for one answer stand at the end, so that the cached prefix survives."""
    messages = [Message("system", instructions)] if instructions else []
    messages += [Message(line.role, line.text, line.tokens) for line in lines]
    if extra:
        messages.append(Message("system", extra))
    return Prompt(tuple(messages))


def sampling_of(node: Node, config: ResponseConfig) -> Sampling:
    """The node's sampling with what the client asked for."""
    asked = config.max_output_tokens or node.sampling.max_tokens
    temperature = node.sampling.temperature if config.temperature is None else config.temperature
    return replace(node.sampling, temperature=temperature, max_tokens=min(asked, node.sampling.max_tokens))


def forget_what_does_not_fit(history: History, instructions: str, context_tokens: int, answer_tokens: int) -> int:
    """Drop the oldest turns when the chat no longer fits, down to half: not one turn at every turn."""
    room = context_tokens - answer_tokens - cost_of(Line("system", instructions))
    if sum(cost_of(line) for line in history.lines()) <= room:
        return 0
    return history.forget(room // 2, cost_of)


def forget_half(history: History) -> int:
    """Drop the oldest turns down to half of what is shown; returns how many items went."""
    return history.forget(sum(cost_of(line) for line in history.lines()) // 2, cost_of)


def cost_of(line: Line) -> int:
    """Tokens that a line takes in the prompt, estimated where they are not known."""
    return TOKENS_A_MESSAGE + (len(line.tokens) or round(len(line.text) / CHARACTERS_A_TOKEN))


async def answer(
    turn: Turn, prompt: Prompt, llm: LlmStream, node: Node, outbox: Outbox, on_audio: Callable[[], None]
) -> Outcome:
    """Make and send one answer; `response.created` and the open message are out already.

    `on_audio` is called before the first audio is sent.

    Raises:
        NodeError: an engine failed, or the prompt does not fit.
    """
    async with aclosing(think(turn, prompt, llm, node, outbox)) as clauses:
        if turn.config.output_modality == "text":
            async for clause in clauses:
                turn.say(clause.written)
        else:
            await _speak(turn, clauses, node, Voice(turn, outbox, node.engines.tts.sample_rate_hz, on_audio), outbox)
    assert turn.finished is not None
    return COMPLETED if turn.finished.reason == "stop" else INCOMPLETE


async def think(turn: Turn, prompt: Prompt, llm: LlmStream, node: Node, outbox: Outbox) -> AsyncGenerator[Clause, None]:
    """Run the LLM and yield its answer clause by clause; text answers are sent token by token on the way."""
    clauses = Clauses()
    sampling = sampling_of(node, turn.config)
    is_text = turn.config.output_modality == "text"
    facts = turn.trace.facts

    steps = node.compute.stream(
        lambda: llm.generate(prompt, sampling), deadline=lambda: _deadline(turn), trace=turn.trace
    )
    async with aclosing(steps) as run:
        async for step in run:
            match step:
                case Prefilled(tokens, cached):
                    facts["prefill_tokens"] = int(facts.get("prefill_tokens", 0)) + tokens
                    facts["cached_tokens"] = cached
                case Piece(token, text):
                    turn.trace.mark("llm_first_token")
                    turn.pieces.append((token, text))
                    if is_text and text:
                        _send(turn, turn.lifecycle.text(text), outbox)
                    for clause in clauses.push(text):
                        turn.trace.mark("llm_first_clause")
                        yield clause
                case Finished():
                    turn.finished = step
    for clause in clauses.flush():
        turn.trace.mark("llm_first_clause")
        yield clause


async def _speak(turn: Turn, clauses: AsyncIterator[Clause], node: Node, voice: Voice, outbox: Outbox) -> None:
    tts = node.engines.tts
    async for clause in clauses:
        _send(turn, turn.lifecycle.transcript(clause.written), outbox)
        turn.say(clause.written)
        if not clause.spoken:
            continue
        parts = node.compute.stream(
            partial(tts.speak, clause.spoken, turn.config.voice, turn.config.speed),
            deadline=lambda: _deadline(turn),
            trace=turn.trace,
        )
        async with aclosing(parts) as spoken:
            async for audio in spoken:
                turn.trace.mark("tts_first_audio")
                # noted before it is sent: whoever barges in meanwhile must find what was heard
                turn.sounds(len(audio) / tts.sample_rate_hz * 1000.0)
                await voice.send(audio)
    await voice.finish()


def _deadline(turn: Turn) -> float:
    """When the listener would notice: at once while nothing is heard, else when the audio sent runs out."""
    return turn.playout.runs_out or turn.trace.zero


def _send(turn: Turn, events: list[ServerEvent], outbox: Outbox) -> None:
    for event in events:
        outbox.put(event, response_id=turn.response_id)
