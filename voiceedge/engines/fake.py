"""Engines without weights: for tests, and for `--engines fake`.

They keep the promises of the Protocols (slots, cached prefixes, stop strings, pieces of audio) with set
answers and set delays, so that everything around them can be tested exactly.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Literal
from zlib import crc32

import numpy as np

from voiceedge.audio.pcm import PCM, level_dbfs
from voiceedge.engines import (
    STAGES,
    Call,
    CallClosed,
    CallOpened,
    CallPiece,
    Engines,
    Finished,
    LlmStream,
    Message,
    Piece,
    Prefilled,
    Prompt,
    Sampling,
    Segment,
    Stage,
    Step,
    Tool,
)
from voiceedge.engines.fake_calls import act
from voiceedge.errors import ConfigError, ContextFull, Overloaded
from voiceedge.trace import MILLISECONDS_A_SECOND

Sleep = Callable[[float], None]
"""Takes seconds. `time.sleep` unless a test passes its own."""
Said = str | Call | tuple[str | Call, ...]
"""One answer: words, a call, or words and then calls."""
Answer = Said | list[Said] | Callable[[Prompt], Said]
"""What the LLM says: always the same, the next of a list at each answer (the last one stays), or computed. If it is not
computed, and there are tools, `fake_calls.act` comes first."""
Heard = str | list[str] | Callable[[PCM], str]
"""What speech-to-text hears, likewise."""

PREFILL_CHUNK_TOKENS = 16
TONE_HZ = 440.0
TONE_AMPLITUDE = 0.25
TTS_PIECE_S = 0.1
RETRY_AFTER_S = 1


class FakeFailed(RuntimeError):
    """A fake was told to fail here; stands for whatever a real engine might raise."""


@dataclass(frozen=True, slots=True)
class FakeDelays:
    """How long each fake takes, in seconds."""

    vad_s: float = 0.0
    """A frame."""
    end_of_turn_s: float = 0.0
    """A judgement."""
    stt_s: float = 0.0
    """An utterance."""
    llm_first_token_s: float = 0.0
    """All of the prefill."""
    llm_token_s: float = 0.0
    """Every token after the first."""
    tts_s: float = 0.0
    """A clause, up to its first piece."""


_DELAYED = {"end_of_turn": "end_of_turn_s", "stt": "stt_s", "llm": "llm_first_token_s", "tts": "tts_s"}
"""Field of each stage whose delay a listener can feel once a turn."""


def planted(engines: str) -> FakeDelays:
    """The delays that the setting `engines` plants: those of `fake:llm+200,tts+50` (in milliseconds), none of `fake`.

    Raises:
        ConfigError: an engine that cannot be delayed so, or no delay.
    """
    delays = FakeDelays()
    for defect in filter(None, engines.partition(":")[2].split(",")):
        stage, _, ms = defect.partition("+")
        if stage not in _DELAYED or not ms.isdecimal():
            raise ConfigError(f"engines: {defect!r} is no delay, as llm+200 is; there are {', '.join(_DELAYED)}.")
        delays = replace(delays, **{_DELAYED[stage]: int(ms) / MILLISECONDS_A_SECOND})
    return delays


class _Fault:
    """What the fakes have in common: a stage takes its time, and may be told to raise."""

    def __init__(self, stage: Stage, fail_at: set[Stage] | None, sleep: Sleep) -> None:
        self.stage = stage
        # the caller's own set, so that a test can break and mend a stage while the node runs
        self.fail_at = fail_at if fail_at is not None else set()
        self.sleep = sleep

    def take(self, seconds: float) -> None:
        if seconds > 0:
            self.sleep(seconds)
        if self.stage in self.fail_at:
            raise FakeFailed(f"the fake {self.stage} engine was told to fail")


class FakeVad:
    """Hears speech in every frame that is loud enough."""

    frame_samples = 512

    def __init__(
        self,
        level_dbfs: float = -45.0,
        delay_s: float = 0.0,
        *,
        fail_at: set[Stage] | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._level_dbfs = level_dbfs
        self._delay_s = delay_s
        self._fault = _Fault("vad", fail_at, sleep)

    def open(self) -> FakeVad:
        """The engine itself: it has no state."""
        return self

    def probability(self, frame: PCM) -> float:
        """0.99 when the frame's RMS is above the level, else 0.01."""
        self._fault.take(self._delay_s)
        return 0.99 if level_dbfs(frame) > self._level_dbfs else 0.01


class FakeEndOfTurn:
    """Always of the same opinion."""

    def __init__(
        self,
        probability: float = 0.95,
        delay_s: float = 0.0,
        *,
        fail_at: set[Stage] | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._probability = probability
        self._delay_s = delay_s
        self._fault = _Fault("end_of_turn", fail_at, sleep)

    def probability(self, audio: PCM) -> float:
        """The probability that was set."""
        del audio
        self._fault.take(self._delay_s)
        return self._probability


class FakeStt:
    """Hears what it was told to hear; nothing where there is no audio."""

    def __init__(
        self,
        text: Heard = "What is the capital of France?",
        delay_s: float = 0.0,
        *,
        fail_at: set[Stage] | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._text = text
        self._delay_s = delay_s
        self._utterances = count()
        self._fault = _Fault("stt", fail_at, sleep)

    def transcribe(self, audio: PCM, earlier: Sequence[Segment] = ()) -> Iterator[Segment]:
        """One segment with the set text."""
        del earlier
        self._fault.take(self._delay_s)
        text = _heard(self._text, audio, self._utterances) if audio.size else ""
        yield Segment(text, mean_log_probability=-0.2, no_speech_probability=0.02, tokens=len(text.split()))

    def steps(self, audio: PCM, earlier: Sequence[Segment] = ()) -> Iterator[Segment | None]:
        """All of it is one step."""
        return self.transcribe(audio, earlier)


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
        self.fault = _Fault("llm", fail_at, sleep)
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


class FakeTts:
    """Hums a tone for as long as the words would take."""

    voices: tuple[str, ...] = ("heart",)

    def __init__(
        self,
        sample_rate_hz: int = 24_000,
        delay_s: float = 0.0,
        seconds_per_word: float = 0.3,
        *,
        fail_at: set[Stage] | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._delay_s = delay_s
        self._seconds_per_word = seconds_per_word
        self._fault = _Fault("tts", fail_at, sleep)

    def speak(self, text: str, voice: str, speed: float, *, before: str = "", goes_on: bool = False) -> Iterator[PCM]:
        """A tone in pieces of 0.1 s; nothing for text without a word."""
        del voice, before, goes_on
        words = sum(any(map(str.isalnum, word)) for word in text.split())
        if words == 0:
            return
        self._fault.take(self._delay_s)
        samples = round(words * self._seconds_per_word / speed * self.sample_rate_hz)
        piece = round(TTS_PIECE_S * self.sample_rate_hz)
        tone = np.sin(2 * np.pi * TONE_HZ / self.sample_rate_hz * np.arange(samples)) * TONE_AMPLITUDE
        for begin in range(0, samples, piece):
            yield tone[begin : begin + piece].astype(np.float32)


def fake_engines(
    delays: FakeDelays | None = None,
    *,
    text: Heard = "What is the capital of France?",
    answer: Answer = "Paris is the capital of France. It lies on the Seine.",
    end_of_turn: float = 0.95,
    slots: int = 4,
    context_tokens: int = 1024,
    fail_at: set[Stage] | None = None,
    sleep: Sleep = time.sleep,
) -> Engines:
    """One fake of each; a stage in `fail_at` (which may be changed later) raises when it is called."""
    took = delays or FakeDelays()
    return Engines(
        vad=FakeVad(delay_s=took.vad_s, fail_at=fail_at, sleep=sleep),
        end_of_turn=FakeEndOfTurn(end_of_turn, took.end_of_turn_s, fail_at=fail_at, sleep=sleep),
        stt=FakeStt(text, took.stt_s, fail_at=fail_at, sleep=sleep),
        llm=FakeLlm(
            answer,
            slots=slots,
            context_tokens=context_tokens,
            first_token_delay_s=took.llm_first_token_s,
            token_delay_s=took.llm_token_s,
            fail_at=fail_at,
            sleep=sleep,
        ),
        tts=FakeTts(delay_s=took.tts_s, fail_at=fail_at, sleep=sleep),
        names=dict.fromkeys(STAGES, "fake"),
    )


def _heard(choice: Heard, audio: PCM, turns: Iterator[int]) -> str:
    turn = next(turns)
    if callable(choice):
        return choice(audio)
    return choice if isinstance(choice, str) else choice[min(turn, len(choice) - 1)]


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
