"""Engines that are loaded anew when they fail, while sessions go on.

Every engine stands behind one that only passes on. What has hung, or has failed three times in a row, is taken out of
service, and a thread loads another one in its place; the stages beside it are not touched. A stream of what was taken
out is opened anew when it is next used: what it had cached is read again, for prompts are sent whole. What is in the
middle of an answer ends it on the engine that it has begun with. Nothing stands between a session and its tokens:
generators are the engine's own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable
from weakref import WeakSet

from voiceedge.audio.pcm import PCM
from voiceedge.engines import (
    STAGES,
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
from voiceedge.trace import Clock, now

log = logging.getLogger(__name__)
T = TypeVar("T")

Load = Callable[[Stage], Mapping[str, Any]]
"""Loads what a stage consists of, by its name in `Engines`: one engine, or with `llm` also `sentence_end`, which is a
view of it. Blocks for seconds; raises what loading raises."""
FAILURES = 3
"""Failures in a row, of whatever session, after which an engine is loaded anew: one may be its input's fault."""
MOST_LOADS = 5
"""Loads in a row that may fail; then the stage is lost."""
BACK_OFF_S = 1.0
"""Wait before another load, doubled each time. The first one after an engine has worked begins at once: the others wait
for it."""
LONGEST_BACK_OFF_S = 60.0
LONGEST_LOAD_S = 120.0
"""A node starts in 3 to 8 s. A load that has taken so long will not come to an end either."""


@runtime_checkable
class Sheds(Protocol):
    """An engine that keeps more than it needs."""

    def shed(self) -> None:
        """Drop what is only kept to be quicker. Any thread, at any time; takes no lock for long."""
        ...


def fields_of(stage: Stage) -> tuple[str, ...]:
    """What a stage consists of, by its name in `Engines`."""
    return ("llm", "sentence_end") if stage == "llm" else (stage,)


def parts_of(engines: Engines, stage: Stage) -> dict[str, Any]:
    """What a stage of `engines` consists of, as `Load` gives it."""
    return {name: getattr(engines, name) for name in fields_of(stage)}


@dataclass(slots=True)
class _Standing:
    """How a stage is."""

    failures: int = 0
    """In a row."""
    since: float = 0.0
    """When its engine was put there: what began before is another one's fault."""
    loads: int = 0
    """Begun since an engine last worked, whatever came of them."""
    failed_loads: int = 0
    """In a row."""
    loading_since: float | None = None


class Renewal:
    """Knows how the engines of a node are, and puts others in their place. May be called from any thread."""

    def __init__(self, engines: Engines, load: Load, *, clock: Clock = now) -> None:
        self._load = load
        self._clock = clock
        self._places: dict[str, _Place[Any]] = {
            name: _Place(stage, engine) for stage in STAGES for name, engine in parts_of(engines, stage).items()
        }
        self.engines = Engines(
            vad=_Vad(self._places["vad"], self.failed, self.worked),
            end_of_turn=_EndOfTurn(self._places["end_of_turn"]),
            stt=_Stt(self._places["stt"]),
            llm=_Llm(self._places["llm"]),
            tts=_Tts(self._places["tts"]),
            sentence_end=None if engines.sentence_end is None else _SentenceEnd(self._places["sentence_end"]),
            names=engines.names,
        )
        """What sessions use."""
        self.out: frozenset[Stage] = frozenset()
        """Stages that are out of service; read without a lock."""
        self.rebuilds: dict[Stage, int] = dict.fromkeys(STAGES, 0)
        """Engines that were put in another one's place."""
        self.on_change: Callable[[], None] = _nothing
        """Called when a stage is back; from the thread that loaded it."""
        self._standing = {stage: _Standing() for stage in STAGES}
        self._lost: Stage | None = None
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def worked(self, stage: Stage) -> None:
        """A step of a stage gave what it should. Costs 0.1 us."""
        standing = self._standing[stage]
        if (standing.failures or standing.loads) and stage not in self.out:
            standing.failures = standing.loads = 0

    def failed(self, stage: Stage, begun: float) -> None:
        """A step of a stage that began then has raised what is not the caller's fault."""
        with self._lock:
            standing = self._standing[stage]
            if stage in self.out or begun < standing.since:
                return
            standing.failures += 1
            is_sick = standing.failures >= FAILURES
            engines = [self._places[name].engine for name in fields_of(stage)]
        # it may be memory that is short, which onnxruntime has no error of its own for
        for engine in engines:
            if isinstance(engine, Sheds):
                engine.shed()
        if is_sick:
            log.error("%s has failed %d times in a row: it is loaded anew.", stage, FAILURES)
            self._take_out(stage)

    def hung(self, stage: Stage, begun: float) -> None:
        """A step of a stage that began then has not come back."""
        if begun >= self._standing[stage].since:
            log.error("%s hangs: it is loaded anew.", stage)
            self._take_out(stage)

    def lost(self, at: float) -> Stage | None:
        """A stage that cannot be brought back; None while all of them work or may yet do so."""
        with self._lock:
            for stage, standing in self._standing.items():
                if standing.loading_since is not None and at - standing.loading_since > LONGEST_LOAD_S:
                    self._lost = stage
            return self._lost

    def close(self) -> None:
        """Begin no load any more."""
        self._closed.set()

    def _take_out(self, stage: Stage) -> None:
        """Let nobody begin anything with a stage until it has another engine."""
        with self._lock:
            if stage in self.out:
                return
            self.out |= {stage}
            for name in fields_of(stage):
                self._places[name].clear()
        threading.Thread(target=self._renew, args=[stage], name=f"load {stage}", daemon=True).start()

    def _renew(self, stage: Stage) -> None:
        """Load until it succeeds, the stage is lost, or the node stops."""
        standing = self._standing[stage]
        while standing.failed_loads < MOST_LOADS:
            delay_s = min(BACK_OFF_S * 2 ** (standing.loads - 1), LONGEST_BACK_OFF_S) if standing.loads else 0.0
            if self._closed.wait(delay_s):
                return
            standing.loads += 1
            standing.loading_since = begun = self._clock()
            try:
                fresh = self._load(stage)
            except BaseException:  # a panic in Rust is no Exception
                standing.failed_loads += 1
                log.exception("%s could not be loaded (%d of %d).", stage, standing.failed_loads, MOST_LOADS)
            else:
                self._put(stage, fresh)
                log.warning("%s is back after %.1f s.", stage, self._clock() - begun)
                return
            finally:
                standing.loading_since = None
        with self._lock:
            self._lost = stage

    def _put(self, stage: Stage, fresh: Mapping[str, Any]) -> None:
        with self._lock:
            for name, engine in fresh.items():
                self._places[name].engine = engine
            standing = self._standing[stage]
            standing.since, standing.failures, standing.failed_loads = self._clock(), 0, 0
            self.rebuilds[stage] += 1
            self.out -= {stage}
        self.on_change()


class _Place(Generic[T]):
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


class _Vad:
    def __init__(
        self, place: _Place[Vad], failed: Callable[[Stage, float], None], worked: Callable[[Stage], None]
    ) -> None:
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

    def __init__(
        self, place: _Place[Vad], failed: Callable[[Stage, float], None], worked: Callable[[Stage], None]
    ) -> None:
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
    def __init__(self, place: _Place[EndOfTurn]) -> None:
        self._place = place

    def probability(self, audio: PCM) -> float:
        return self._place.get().probability(audio)


class _SentenceEnd:
    def __init__(self, place: _Place[SentenceEnd]) -> None:
        self._place = place

    def probability(self, text: str) -> float | None:
        return self._place.get().probability(text)


class _Stt:
    def __init__(self, place: _Place[Stt]) -> None:
        self._place = place

    def transcribe(self, audio: PCM, earlier: Sequence[Segment] = ()) -> Iterator[Segment]:
        return self._place.get().transcribe(audio, earlier)

    def steps(self, audio: PCM, earlier: Sequence[Segment] = ()) -> Iterator[Segment | None]:
        return self._place.get().steps(audio, earlier)


class _Tts:
    def __init__(self, place: _Place[Tts]) -> None:
        self._place = place
        self.sample_rate_hz = place.get().sample_rate_hz
        self.voices = place.get().voices

    def speak(self, text: str, voice: str, speed: float, *, before: str = "", goes_on: bool = False) -> Iterator[PCM]:
        return self._place.get().speak(text, voice, speed, before=before, goes_on=goes_on)


class _Llm:
    def __init__(self, place: _Place[Llm]) -> None:
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

    def __init__(self, place: _Place[Llm]) -> None:
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


def _nothing() -> None:
    """Nobody wants to know."""
