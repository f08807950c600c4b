"""What one session's LLM is shown, and what of it is in the cache before anybody asks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial

from voiceedge.conversation.history import History, Line
from voiceedge.engines import Prompt
from voiceedge.errors import ContextFull, InvalidRequest, VoiceEdgeError
from voiceedge.protocol.response_config import ResponseConfig
from voiceedge.protocol.session_config import SessionConfig
from voiceedge.session.making import Seat
from voiceedge.session.node import Node
from voiceedge.session.prompting import (
    cost_of_opening,
    forget_what_does_not_fit,
    prompt_of,
    require_plausible,
)
from voiceedge.session.transcribing import Spawn

log = logging.getLogger(__name__)

ROOM_TO_TALK = 64
"""Tokens of the context that instructions and tools leave: a question and the beginning of an answer."""
IDLE_S = 10.0
"""Work that nobody waits for gets a deadline this far away."""


class Context:
    """Instructions, tools and conversation of one session, and its seat at the LLM."""

    def __init__(self, node: Node, history: History, config: SessionConfig, spawn: Spawn) -> None:
        """Take a seat.

        Raises:
            Overloaded: every slot of the LLM is taken.
        """
        self.config = config
        self.seat = Seat(node.engines.llm.open())
        self._node = node
        self._history = history
        self._spawn = spawn
        self._opening: Prompt | None = None  # what was prefilled last
        self._warming: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Give the seat back."""
        self.seat.stream.close()

    def prompt(self, config: ResponseConfig, lines: Sequence[Line]) -> Prompt:
        """What an answer to `lines` is asked for with."""
        return prompt_of(self.config.instructions, config.tools, lines, config)

    async def check_room(self, config: SessionConfig) -> None:
        """Look whether new instructions and tools leave room for a conversation.

        Raises:
            InvalidRequest: they do not; it says how much fits.
        """
        known = (self.config.instructions, self.config.tools)
        if config.kind == "transcription" or (config.instructions, config.tools) == known:
            return
        context_tokens = self._node.engines.llm.context_tokens
        room = context_tokens - ROOM_TO_TALK
        if cost_of_opening(config.instructions, config.tools) <= room:
            return
        opening = prompt_of(config.instructions, config.tools)
        try:
            require_plausible(opening, context_tokens)
            count = partial(self.seat.stream.count, opening)
            tokens = await self._node.compute.run(count, deadline=self._node.clock(), name="count")
            size = f"{tokens} tokens"
        except ContextFull:
            tokens, size = context_tokens, f"more than {context_tokens} tokens"
        if tokens > room:
            raise InvalidRequest(
                f"Invalid 'session.instructions': with the tools they take {size}, and there is room for {room}.",
                code="context_length_exceeded",
                param="session.instructions",
            )

    def forget(self, answer_tokens: int) -> int:
        """Forget the oldest turns if the conversation leaves no room for an answer; returns how many items went."""
        opening = cost_of_opening(self.config.instructions, self.config.tools)
        return forget_what_does_not_fit(self._history, opening, self._node.engines.llm.context_tokens, answer_tokens)

    def warm_opening(self) -> None:
        """Prefill instructions and tools, where they are new."""
        opening = prompt_of(self.config.instructions, self.config.tools)
        if opening != self._opening:
            self._opening = opening
            self._warm(opening)

    def warm_conversation(self) -> None:
        """Prefill what is left after something was forgotten."""
        self._warm(prompt_of(self.config.instructions, self.config.tools, self._history.lines()))

    def foresee(self, words: str) -> None:
        """Prefill the beginning of what the user is saying."""
        lines = [*self._history.lines(), Line("user", words)]
        self._warm(prompt_of(self.config.instructions, self.config.tools, lines), unfinished=True)

    def stop_warming(self) -> None:
        """Somebody needs the seat."""
        if self._warming is not None:
            self._warming.cancel()

    def _warm(self, prompt: Prompt, *, unfinished: bool = False) -> None:
        if self._node.plain:
            return
        self.stop_warming()
        self._warming = self._spawn(self._prefill(prompt, unfinished=unfinished), "warm")

    async def _prefill(self, prompt: Prompt, *, unfinished: bool) -> None:
        stream, due = self.seat.stream, self._node.clock() + IDLE_S
        steps = self._node.compute.stream(
            lambda: stream.warm(prompt, unfinished=unfinished), deadline=lambda: due, name="llm"
        )
        try:
            require_plausible(prompt, self._node.engines.llm.context_tokens)
            async with self.seat.free, aclosing(steps) as run:
                async for _ in run:
                    pass
        except VoiceEdgeError as error:
            log.warning("The prompt could not be prefilled: %s", error)
