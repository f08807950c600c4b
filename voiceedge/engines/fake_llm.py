"""The fake language model: set answers, from a cache of tokens that is kept as a real one is."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator
from itertools import count
from typing import Literal
from zlib import crc32

from voiceedge.engines import (
    Call,
    CallClosed,
    CallOpened,
    CallPiece,
    Finished,
    LlmStream,
    Message,
    Piece,
    Prefilled,
    Prompt,
    Sampling,
    Stage,
    Step,
    Tool,
)
from voiceedge.engines.fake_calls import act
from voiceedge.engines.fake_defects import Fault, Sleep
from voiceedge.errors import ContextFull, Overloaded

Said = str | Call | tuple[str | Call, ...]
"""One answer: words, a call, or words and then calls."""
Answer = Said | list[Said] | Callable[[Prompt], Said]
"""What the LLM says: always the same, the next of a list at each answer (the last one stays), or computed. If it is not
computed, and there are tools, `fake_calls.act` comes first."""

PREFILL_CHUNK_TOKENS = 16
RETRY_AFTER_S = 1


class FakeLlm:
    """Says what it was told to say, a word a token, and counts like a real one."""

    def __init__(
        self,
        answer: Answer = "Paris is the capital of France. It lies on the Seine.",
        *,
        slots: int = 4,
        context_tokens: int = 1024,
        first_token_delay_s: float = 0.0,
        token_delay_s: float = 0.0,
        fail_at: set[Stage] | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.context_tokens = context_tokens
        self.answer = answer
        self.answers = count()
        self.first_token_delay_s = first_token_delay_s
        self.token_delay_s = token_delay_s
        self.fault = Fault("llm", fail_at, sleep)
        self.free_slots = slots

    def check_tools(self, tools: tuple[Tool, ...]) -> None:
        """Any will do: nothing is compiled."""

    def open(self) -> LlmStream:
        """Take a slot, or raise `Overloaded`."""
        if self.free_slots == 0:
            raise Overloaded("Every slot of the language model is taken.", retry_after_s=RETRY_AFTER_S)
        self.free_slots -= 1
        return _FakeLlmStream(self)


class _FakeLlmStream:
    """The tokens that one session has in its cache."""

    def __init__(self, llm: FakeLlm) -> None:
        self._llm = llm
        self._cache: list[int] = []
        self._open = True

    def count(self, prompt: Prompt) -> int:
        return len(_tokens(prompt))

    def warm(self, prompt: Prompt, *, unfinished: bool = False) -> Generator[Prefilled, None, None]:
        """Prefill without the header of the answer; where it is unfinished, without its last word and end."""
        self._llm.fault.take(0.0)
        yield from self._prefill(_tokens(prompt)[: -3 if unfinished else -1])

    def generate(self, prompt: Prompt, sampling: Sampling) -> Generator[Step, None, None]:
        tokens = _tokens(prompt)
        room = self._llm.context_tokens - len(tokens)
        if room < 1:
            raise ContextFull(f"The prompt takes {len(tokens)} of {self._llm.context_tokens} tokens.")
        cached = len(tokens)
        for chunk in self._prefill(tokens):
            cached = chunk.cached
            yield chunk
        self._llm.fault.take(self._llm.first_token_delay_s)
        limit = min(sampling.max_tokens, room)
        reason: Literal["stop", "length"] = "length"
        said = 0
        for step in self._steps(prompt, sampling.stop):
            if isinstance(step, Piece | CallPiece):
                if said == limit:
                    break
                if said:
                    self._llm.fault.take(self._llm.token_delay_s)
                said += 1
                self._cache.append(step.token)
            yield step
        else:
            reason = "stop"
        yield Finished(reason, prompt_tokens=len(tokens), cached_tokens=cached, completion_tokens=said)

    def _steps(self, prompt: Prompt, stops: tuple[str, ...]) -> Iterator[Step]:
        """The answer to `prompt`, however long it may be."""
        said: Said | None = None
        if prompt.tools and not callable(self._llm.answer):
            said = act(prompt)
        if said is None:
            said = _said(self._llm.answer, prompt, self._llm.answers)
        spoken = ""
        for part in said if isinstance(said, tuple) else (said,):
            if isinstance(part, Call):
                yield from _call_steps(part)
                continue
            for word in re.findall(r"\s*\S+", part):
                text, stopped = _until_stop(spoken, word, stops)
                spoken += text
                yield Piece(_token(word.strip()), text)
                if stopped:
                    return

    def close(self) -> None:
        if self._open:
            self._open = False
            self._llm.free_slots += 1

    def _prefill(self, tokens: list[int]) -> Generator[Prefilled, None, None]:
        """Rewind to the longest common prefix and append what is new, a chunk a step."""
        cached = 0
        # a real model needs at least one new token to have logits
        for old, new in zip(self._cache, tokens[:-1], strict=False):
            if old != new:
                break
            cached += 1
        del self._cache[cached:]
        for begin in range(cached, len(tokens), PREFILL_CHUNK_TOKENS):
            chunk = tokens[begin : begin + PREFILL_CHUNK_TOKENS]
            self._cache += chunk
            yield Prefilled(tokens=len(chunk), cached=cached)


def _said(choice: Answer, prompt: Prompt, turns: Iterator[int]) -> Said:
    turn = next(turns)
    if callable(choice):
        return choice(prompt)
    return choice[min(turn, len(choice) - 1)] if isinstance(choice, list) else choice


def _call_steps(call: Call) -> Iterator[Step]:
    """A call as a model streams it: markup, the name, the arguments in two pieces or more, markup."""
    yield Piece(_token("<tool_call>"), "")
    yield CallOpened(call.name)
    size = max(1, min(8, len(call.arguments) // 2))
    for begin in range(0, len(call.arguments), size):
        text = call.arguments[begin : begin + size]
        yield CallPiece(_token(text), text)
    yield CallClosed()
    yield Piece(_token("</tool_call>"), "")


def _token(word: str) -> int:
    """The same word is the same token in every process; 15 bits look like a small vocabulary."""
    return crc32(word.encode()) & 0x7FFF


def _tokens(prompt: Prompt) -> list[int]:
    """Tokens of the rendered chat: a role, its words, an end; then the header of the answer."""
    tools = [
        _token(word) for tool in prompt.tools for word in f"{tool.name} {tool.description} {tool.parameters}".split()
    ]
    return [
        *tools,
        *(token for message in prompt.messages for token in _message(message)),
        _token("<assistant>"),
    ]


def _message(message: Message) -> list[int]:
    calls = (f"{call.name} {call.arguments}" for call in message.calls)
    words = list(message.tokens) or [_token(word) for word in " ".join((message.text, *calls)).split()]
    return [_token(f"<{message.role}>"), *words, _token("<end>")]


def _until_stop(spoken: str, word: str, stops: tuple[str, ...]) -> tuple[str, bool]:
    """What of `word` may be said after `spoken`, and whether the answer ends there."""
    said = spoken + word
    places = [place for stop in stops if (place := said.find(stop)) >= 0]
    if not places:
        return word, False
    return said[len(spoken) : min(places)], True
