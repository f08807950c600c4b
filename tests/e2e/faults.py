"""Engines that raise at a chosen step, and the helpers to see that nothing is left behind.

Finer than tests/faulty.py, which knows stages only: the opening of a stream, every kind of its steps, and its end.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from tests.e2e.nodes import RunningNode
from tests.faulty import SPARED
from voiceedge.audio.pcm import PCM
from voiceedge.engines import (
    EndOfTurn,
    Engines,
    Finished,
    Llm,
    LlmStream,
    Piece,
    Prefilled,
    Prompt,
    Sampling,
    Segment,
    Step,
    Stt,
    Tool,
    Tts,
    Vad,
    VadStream,
)

STEPS = (
    "vad.open",
    "vad.frame",
    "end_of_turn",
    "stt.call",
    "stt.segment",
    "stt.end",
    "llm.open",
    "llm.warm",
    "llm.generate",
    "llm.prefill",
    "llm.token",
    "llm.finish",
    "llm.close",
    "tts.call",
    "tts.piece",
    "tts.end",
)
"""Every kind of step that an engine takes for a session."""


class Faults:
    """Counts the steps that the engines take, and breaks one of them."""

    def __init__(self, *, llm_step_s: float = 0.0) -> None:
        self.llm_step_s = llm_step_s
        self.taken: Counter[str] = Counter()
        self.shared_streams = 0
        """How often a stream of the LLM was used by two generators at a time."""
        self._broken: tuple[str, int, BaseException] | None = None
        self._lock = threading.Lock()

    def arm(self, step: str, number: int, error: BaseException) -> None:
        """Raise at the `number`-th step of this kind from now on, once."""
        assert step in STEPS
        with self._lock:
            self.taken.clear()
            self._broken = (step, number, error)

    @property
    def is_armed(self) -> bool:
        """Whether the chosen step is still to come."""
        return self._broken is not None

    def disarm(self) -> None:
        with self._lock:
            self._broken = None
            self.taken.clear()

    def take(self, step: str) -> None:
        """Pass a step."""
        assert step in STEPS
        with self._lock:
            self.taken[step] += 1
            if self._broken is None or (step, self.taken[step]) != self._broken[:2]:
                return
            error, self._broken = self._broken[2], None
        raise error

    def engines(self, engines: Engines) -> Engines:
        """The same engines with every step passing here."""
        return replace(
            engines,
            vad=_Vad(self, engines.vad),
            end_of_turn=_EndOfTurn(self, engines.end_of_turn),
            stt=_Stt(self, engines.stt),
            llm=_Llm(self, engines.llm),
            tts=_Tts(self, engines.tts),
        )


class _Vad:
    def __init__(self, faults: Faults, vad: Vad) -> None:
        self._faults, self._vad = faults, vad
        self.frame_samples = vad.frame_samples

    def open(self) -> VadStream:
        self._faults.take("vad.open")
        return _VadStream(self._faults, self._vad.open())


class _VadStream:
    def __init__(self, faults: Faults, stream: VadStream) -> None:
        self._faults, self._stream = faults, stream

    def probability(self, frame: PCM) -> float:
        self._faults.take("vad.frame")
        return self._stream.probability(frame)


class _EndOfTurn:
    def __init__(self, faults: Faults, model: EndOfTurn) -> None:
        self._faults, self._model = faults, model

    def probability(self, audio: PCM) -> float:
        self._faults.take("end_of_turn")
        return self._model.probability(audio)


class _Stt:
    """Hears the words in two segments, as in an utterance of more than 30 s."""

    def __init__(self, faults: Faults, stt: Stt) -> None:
        self._faults, self._stt = faults, stt

    def transcribe(self, audio: PCM, earlier: Sequence[Segment] = ()) -> Iterator[Segment]:
        self._faults.take("stt.call")
        return self._segments(audio, earlier)

    def steps(self, audio: PCM, earlier: Sequence[Segment] = ()) -> Iterator[Segment | None]:
        return self.transcribe(audio, earlier)

    def _segments(self, audio: PCM, earlier: Sequence[Segment]) -> Iterator[Segment]:
        for segment in self._stt.transcribe(audio, earlier):
            words = segment.text.split()
            for part in (words[: len(words) // 2], words[len(words) // 2 :]):
                self._faults.take("stt.segment")
                yield replace(segment, text=" ".join(part))
        self._faults.take("stt.end")


class _Llm:
    def __init__(self, faults: Faults, llm: Llm) -> None:
        self._faults, self._llm = faults, llm
        self.context_tokens = llm.context_tokens

    def check_tools(self, tools: tuple[Tool, ...]) -> None:
        self._llm.check_tools(tools)

    def open(self) -> LlmStream:
        self._faults.take("llm.open")
        return _LlmStream(self._faults, self._llm.open())


class _LlmStream:
    def __init__(self, faults: Faults, stream: LlmStream) -> None:
        self._faults, self._stream = faults, stream
        self._in_use = False

    def count(self, prompt: Prompt) -> int:
        return self._stream.count(prompt)

    def warm(self, prompt: Prompt, *, unfinished: bool = False) -> Generator[Prefilled, None, None]:
        with self._alone():
            for step in self._stream.warm(prompt, unfinished=unfinished):
                self._take("llm.warm", prompt)
                yield step

    def generate(self, prompt: Prompt, sampling: Sampling) -> Generator[Step, None, None]:
        self._take("llm.generate", prompt)
        return self._answer(prompt, sampling)

    def close(self) -> None:
        self._stream.close()
        self._faults.take("llm.close")

    def _answer(self, prompt: Prompt, sampling: Sampling) -> Generator[Step, None, None]:
        names = {Prefilled: "llm.prefill", Piece: "llm.token", Finished: "llm.finish"}
        with self._alone():
            for step in self._stream.generate(prompt, sampling):
                self._take(names[type(step)], prompt)
                yield step

    def _take(self, step: str, prompt: Prompt) -> None:
        time.sleep(self._faults.llm_step_s)
        if SPARED not in prompt.messages[0].text:
            self._faults.take(step)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._faults.shared_streams += self._in_use
        self._in_use = True
        try:
            yield
        finally:
            self._in_use = False


class _Tts:
    def __init__(self, faults: Faults, tts: Tts) -> None:
        self._faults, self._tts = faults, tts
        self.sample_rate_hz, self.voices = tts.sample_rate_hz, tts.voices

    def speak(self, text: str, voice: str, speed: float, *, before: str = "", goes_on: bool = False) -> Iterator[PCM]:
        pieces = self._tts.speak(text, voice, speed, before=before, goes_on=goes_on)
        if SPARED in text:
            return pieces
        self._faults.take("tts.call")
        return self._pieces(pieces)

    def _pieces(self, pieces: Iterator[PCM]) -> Iterator[PCM]:
        for audio in pieces:
            self._faults.take("tts.piece")
            yield audio
        self._faults.take("tts.end")


async def settled(node: RunningNode, *, sessions: int) -> None:
    """Wait until the node holds so many sessions, all of them idle, and nothing else."""
    deadline = time.monotonic() + 5.0
    while True:
        assert node.loop is not None
        names = [task.get_name() for task in asyncio.all_tasks(node.loop)]
        # the server's own task, and for every session those of its connection, its writer, its key and its presence
        if node.admission.sessions == sessions and len(names) == 1 + 4 * sessions:
            return
        assert time.monotonic() < deadline, (node.admission.sessions, names)
        await asyncio.sleep(0.001)
