"""What sessions use in place of an engine: it passes on to the one that stands there now, which may be replaced.

A stream of an engine that was taken out of service is opened anew when it is next used: what it had cached is read
again, for prompts are sent whole. What is in the middle of an answer ends it on the engine that it has begun with.
Nothing stands between a session and its tokens: generators are the engine's own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from voiceedge.audio.pcm import PCM
from voiceedge.engines import (
    EndOfTurn,
    Engines,
    Llm,
    LlmStream,
    Prefilled,
    Prompt,
    Sampling,
    Segment,
    SentenceEnd,
    Stage,
    Step,
    Stt,
    Tool,
    Tts,
    Vad,
    VadStream,
)
from voiceedge.errors import EngineFailed
from voiceedge.trace import now

T = TypeVar("T")
Failed = Callable[[Stage, float], None]
"""Takes a stage, and when a step of it began that has raised."""
Worked = Callable[[Stage], None]
"""Takes a stage, of which a step gave what it should."""


class Place(Generic[T]):
    """Where an engine stands: None while it is out of service."""

    def __init__(self, stage: Stage, engine: T | None) -> None:
        self.stage = stage
        self.engine = engine
        self._streams: WeakSet[_LlmStream | _VadStream] = WeakSet()
        self._lock = threading.Lock()

    def keep(self, stream: _LlmStream | _VadStream) -> None:
        """Remember what was opened here, for as long as whoever opened it does."""
        with self._lock:
            self._streams.add(stream)

    def get(self) -> T:
        """The engine.

        Raises:
            EngineFailed: it is out of service.
        """
        engine = self.engine
        if engine is None:
            raise EngineFailed(f"{self.stage} is being loaded anew.")
        return engine

    def clear(self) -> None:
        """Take the engine away. Streams let go of it as well: weights must not be in memory twice for long."""
        self.engine = None
        with self._lock:
            for stream in self._streams:
                stream.let_go()


def standing_in(places: Mapping[str, Place[Any]], names: dict[Stage, str], failed: Failed, worked: Worked) -> Engines:
    """Engines that pass on to what stands in `places`, all of which is in service now.

    Args:
        places: by the names that engines have in `Engines`.
        names: of the models.
        failed: is told of frames of voice activity that no scheduler sees.
        worked: the same.
    """
    return Engines(
        vad=_Vad(places["vad"], failed, worked),
        end_of_turn=_EndOfTurn(places["end_of_turn"]),
        stt=_Stt(places["stt"]),
        llm=_Llm(places["llm"]),
        tts=_Tts(places["tts"]),
        sentence_end=None if places["sentence_end"].engine is None else _SentenceEnd(places["sentence_end"]),
        names=names,
    )


class _Vad:
    def __init__(self, place: Place[Vad], failed: Failed, worked: Worked) -> None:
        self._place = place
        self._failed = failed
        self._worked = worked
        self.frame_samples = place.get().frame_samples

    def open(self) -> VadStream:
        stream = _VadStream(self._place, self._failed, self._worked)
        self._place.keep(stream)
        return stream


class _VadStream:
    """Tells what came of a frame: most are looked at where they are heard, and pass no scheduler."""

    def __init__(self, place: Place[Vad], failed: Failed, worked: Worked) -> None:
        self._place = place
        self._failed = failed
        self._worked = worked
        self._opened: tuple[Vad, VadStream] | None = None  # one object: read without a lock

    def probability(self, frame: PCM) -> float:
        begun = now()
        opened = self._opened
        try:
            if opened is None or opened[0] is not self._place.engine:
                vad = self._place.get()
                opened = self._opened = (vad, vad.open())
            probability = opened[1].probability(frame)
        except BaseException:
            self._failed(self._place.stage, begun)
            raise
        self._worked(self._place.stage)
        return probability

    def let_go(self) -> None:
        self._opened = None


class _EndOfTurn:
    def __init__(self, place: Place[EndOfTurn]) -> None:
        self._place = place

    def probability(self, audio: PCM) -> float:
        return self._place.get().probability(audio)


class _SentenceEnd:
    def __init__(self, place: Place[SentenceEnd]) -> None:
        self._place = place

    def probability(self, text: str) -> float | None:
        return self._place.get().probability(text)


class _Stt:
    def __init__(self, place: Place[Stt]) -> None:
        self._place = place

    def transcribe(self, audio: PCM, earlier: Sequence[Segment] = ()) -> Iterator[Segment]:
        return self._place.get().transcribe(audio, earlier)

    def steps(self, audio: PCM, earlier: Sequence[Segment] = ()) -> Iterator[Segment | None]:
        return self._place.get().steps(audio, earlier)


class _Tts:
    def __init__(self, place: Place[Tts]) -> None:
        self._place = place
        self.sample_rate_hz = place.get().sample_rate_hz
        self.voices = place.get().voices

    def speak(self, text: str, voice: str, speed: float, *, before: str = "", goes_on: bool = False) -> Iterator[PCM]:
        return self._place.get().speak(text, voice, speed, before=before, goes_on=goes_on)


class _Llm:
    def __init__(self, place: Place[Llm]) -> None:
        self._place = place
        self.context_tokens = place.get().context_tokens

    def check_tools(self, tools: tuple[Tool, ...]) -> None:
        self._place.get().check_tools(tools)

    def open(self) -> LlmStream:
        stream = _LlmStream(self._place)
        with suppress(EngineFailed):  # out of service: a slot is taken when there are slots again
            stream.stream()
        self._place.keep(stream)
        return stream


class _LlmStream:
    """A slot of the engine that stands there now; a new one where that is not the engine it was taken of."""

    def __init__(self, place: Place[Llm]) -> None:
        self._place = place
        self._opened: tuple[Llm, LlmStream] | None = None  # one object: read without a lock
        self._is_closed = False

    def stream(self) -> LlmStream:
        """The engine's own stream.

        Raises:
            EngineFailed: the engine is out of service, or this was closed.
            Overloaded: every slot is taken.
        """
        opened = self._opened
        if opened is None or opened[0] is not self._place.engine:
            if self._is_closed:
                raise EngineFailed("The language model's stream is closed.")
            llm = self._place.get()
            opened = self._opened = (llm, llm.open())
        return opened[1]

    def count(self, prompt: Prompt) -> int:
        return self.stream().count(prompt)

    def warm(self, prompt: Prompt, *, unfinished: bool = False) -> Generator[Prefilled, None, None]:
        return self.stream().warm(prompt, unfinished=unfinished)

    def generate(self, prompt: Prompt, sampling: Sampling) -> Generator[Step, None, None]:
        return self.stream().generate(prompt, sampling)

    def close(self) -> None:
        opened, self._opened, self._is_closed = self._opened, None, True
        # what is out of service may have a thread in it that hangs: it goes as a whole
        if opened is not None and opened[0] is self._place.engine:
            opened[1].close()

    def let_go(self) -> None:
        self._opened = None
