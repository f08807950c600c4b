"""Engines that raise, hang, are slow or run out of memory: by chance with a seed, or at a step that is named.

`tests/e2e/faults.py` breaks one chosen kind of step; these break as engines do in a long life, and they hang. A plan is
text, so that a command line can hold it:

    llm:raise:0.01,stt:hang:0.002,tts:slow=0.5:0.02,llm:hang:#40

is: one step of the LLM in a hundred raises, one of speech-to-text in five hundred hangs, one of the voice in fifty
takes half a second more, and the fortieth step of the LLM hangs. `hang` is until the plan is mended; `hang=30` half a
minute.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from voiceedge.audio.pcm import PCM
from voiceedge.engines import (
    STAGES,
    EndOfTurn,
    Engines,
    Llm,
    LlmStream,
    Prefilled,
    Prompt,
    Row,
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

Kind = Literal["raise", "hang", "slow", "memory", "panic"]
"""An exception; no return; a late return; MemoryError; what is no `Exception` (a panic in Rust)."""
KINDS: tuple[Kind, ...] = get_args(Kind)
SLOW_S = 0.2
SPARED = "neighbour"
"""Prompts and clauses with this word are never broken, so that a test can tell whose fault it was."""


class Broken(RuntimeError):
    """What a broken engine raises."""


class Panic(BaseException):
    """What a Rust extension raises when it panics (PyO3's PanicException): no `Exception`."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a stage, and when."""

    stage: Stage
    kind: Kind
    probability: float = 0.0
    """Of every step."""
    at: int | None = None
    """Instead: the step, counted from 1 since the fault was planned, that it happens to, once."""
    seconds: float | None = None
    """How long it hangs (None: until the plan is mended) or is slow."""


def read_faults(text: str) -> list[Fault]:
    """Faults as the command line holds them: `stage:kind[=seconds]:probability` or `stage:kind[=seconds]:#step`."""
    faults = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        stage, how, when = part.split(":")
        kind, _, seconds = how.partition("=")
        if stage not in STAGES or kind not in KINDS:
            raise ValueError(f"{part!r}: stages are {', '.join(STAGES)}; kinds are {', '.join(KINDS)}")
        at = int(when[1:]) if when.startswith("#") else None
        faults.append(
            Fault(
                stage,
                kind,
                0.0 if at is not None else float(when),
                at,
                float(seconds) if seconds else None,
            )
        )
    return faults


class Plan:
    """Which steps go wrong; may be changed while the node runs. Every step of a faulty engine passes here."""

    def __init__(self, faults: str | Sequence[Fault] = (), *, seed: int = 0) -> None:
        self.happened: Counter[tuple[Stage, Kind]] = Counter()
        """How often what has gone wrong."""
        self.taken: Counter[Stage] = Counter()
        """Steps that were begun since the last fault was planned."""
        self.broken = threading.Event()
        """Set once anything has gone wrong; a test may clear it."""
        self._faults = read_faults(faults) if isinstance(faults, str) else list(faults)
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._mended = threading.Event()
        self._hanging = 0

    @property
    def hanging(self) -> int:
        """Steps that hang now."""
        return self._hanging

    def arm(self, stage: Stage, kind: Kind, number: int = 1, *, seconds: float | None = None) -> None:
        """Let the `number`-th step of a stage from now on go wrong, once."""
        with self._lock:
            self._mended.clear()
            self.taken.clear()
            self._faults.append(Fault(stage, kind, at=number, seconds=seconds))

    def plan(self, faults: Sequence[Fault]) -> None:
        """Let these go wrong from now on, and nothing else."""
        with self._lock:
            self._mended.clear()
            self.taken.clear()
            self._faults = list(faults)

    def mend(self) -> None:
        """Let nothing go wrong any more; what hangs goes on."""
        with self._lock:
            self._faults.clear()
            self._mended.set()

    def take(self, stage: Stage, words: str = "") -> None:
        """Begin a step: return, late or never, or raise."""
        if SPARED in words:
            return
        with self._lock:
            self.taken[stage] += 1
            fault = next((fault for fault in self._faults if self._happens(fault, stage)), None)
            if fault is None:
                return
            if fault.at is not None:
                self._faults.remove(fault)
            self.happened[stage, fault.kind] += 1
            self._hanging += fault.kind == "hang"
            self.broken.set()
        self._break(fault)

    def _happens(self, fault: Fault, stage: Stage) -> bool:
        if fault.stage != stage:
            return False
        if fault.at is not None:
            return self.taken[stage] >= fault.at
        return self._random.random() < fault.probability

    def _break(self, fault: Fault) -> None:
        match fault.kind:
            case "raise":
                raise Broken(f"the {fault.stage} engine is broken, as planned")
            case "memory":
                raise MemoryError(f"the {fault.stage} engine has no memory, as planned")
            case "panic":
                raise Panic(f"the {fault.stage} engine panics, as planned")
            case "slow":
                time.sleep(SLOW_S if fault.seconds is None else fault.seconds)
            case "hang":
                self._mended.wait(fault.seconds)
                with self._lock:
                    self._hanging -= 1


def faulty(engines: Engines, plan: Plan) -> Engines:
    """The same engines with every step passing `plan`, in the thread that takes it."""
    return replace(
        engines,
        vad=_Vad(plan, engines.vad),
        end_of_turn=_EndOfTurn(plan, engines.end_of_turn),
        stt=_Stt(plan, engines.stt),
        llm=_Llm(plan, engines.llm),
        tts=_Tts(plan, engines.tts),
        sentence_end=None if engines.sentence_end is None else _SentenceEnd(plan, engines.sentence_end),
    )


def faulty_load(load: Callable[[Stage], dict[str, Any]], plan: Plan) -> Callable[[Stage], dict[str, Any]]:
    """What loads engines anew, for a node whose engines are faulty: what it loads is so as well."""
    wrap: dict[str, Callable[[Plan, Any], Any]] = {
        "vad": _Vad,
        "end_of_turn": _EndOfTurn,
        "stt": _Stt,
        "llm": _Llm,
        "tts": _Tts,
        "sentence_end": lambda plan, inner: None if inner is None else _SentenceEnd(plan, inner),
    }
    return lambda stage: {field: wrap[field](plan, engine) for field, engine in load(stage).items()}


class _Vad:
    def __init__(self, plan: Plan, vad: Vad) -> None:
        self._plan, self._vad = plan, vad
        self.frame_samples = vad.frame_samples

    def open(self) -> VadStream:
        return _VadStream(self._plan, self._vad.open())


class _VadStream:
    def __init__(self, plan: Plan, stream: VadStream) -> None:
        self._plan, self._stream = plan, stream

    def probability(self, frame: PCM) -> float:
        self._plan.take("vad")
        return self._stream.probability(frame)


class _EndOfTurn:
    def __init__(self, plan: Plan, model: EndOfTurn) -> None:
        self._plan, self._model = plan, model

    def probability(self, audio: PCM) -> float:
        self._plan.take("end_of_turn")
        return self._model.probability(audio)


class _SentenceEnd:
    """A view of the LLM: its steps count as that one's."""

    def __init__(self, plan: Plan, model: SentenceEnd) -> None:
        self._plan, self._model = plan, model

    def probability(self, text: str) -> float | None:
        self._plan.take("llm", text)
        return self._model.probability(text)


class _Stt:
    def __init__(self, plan: Plan, stt: Stt) -> None:
        self._plan, self._stt = plan, stt

    def transcribe(self, audio: PCM, earlier: Sequence[Segment] = ()) -> Iterator[Segment]:
        return self._passing(self._stt.transcribe(audio, earlier))

    def steps(self, audio: PCM, earlier: Sequence[Segment] = ()) -> Iterator[Segment | None]:
        return self._passing(self._stt.steps(audio, earlier))

    def _passing(self, steps: Iterator[Any]) -> Iterator[Any]:
        while True:
            self._plan.take("stt")
            try:
                step = next(steps)
            except StopIteration:
                return
            yield step


class _Llm:
    def __init__(self, plan: Plan, llm: Llm) -> None:
        self._plan, self._llm = plan, llm
        self.context_tokens = llm.context_tokens

    def check_tools(self, tools: tuple[Tool, ...]) -> None:
        self._llm.check_tools(tools)

    def open(self) -> LlmStream:
        return _LlmStream(self._plan, self._llm.open())

    def shed(self) -> None:
        if (shed := getattr(self._llm, "shed", None)) is not None:
            shed()


class _LlmStream:
    def __init__(self, plan: Plan, stream: LlmStream) -> None:
        self._plan, self._stream = plan, stream

    def count(self, prompt: Prompt) -> int:
        return self._stream.count(prompt)

    def warm(self, prompt: Prompt, *, unfinished: bool = False) -> Generator[Prefilled, None, None]:
        return _Answer(self._plan, self._stream.warm(prompt, unfinished=unfinished), prompt)

    def generate(self, prompt: Prompt, sampling: Sampling) -> Generator[Step, None, None]:
        return _Answer(self._plan, self._stream.generate(prompt, sampling), prompt)

    def close(self) -> None:
        self._stream.close()


class _Answer(Generator[Any, None, None]):
    """A generator whose steps pass the plan; the runs that it shares are the inner one's own."""

    def __init__(self, plan: Plan, steps: Generator[Any, None, None], prompt: Prompt) -> None:
        self._plan, self._steps, self._words = plan, steps, " ".join(message.text for message in prompt.messages)

    @property
    def row(self) -> Row | None:
        return getattr(self._steps, "row", None)

    def send(self, value: None) -> Any:
        self._plan.take("llm", self._words)
        return self._steps.send(value)

    def throw(self, *error: Any) -> Any:
        return self._steps.throw(*error)


class _Tts:
    def __init__(self, plan: Plan, tts: Tts) -> None:
        self._plan, self._tts = plan, tts
        self.sample_rate_hz, self.voices = tts.sample_rate_hz, tts.voices

    def speak(self, text: str, voice: str, speed: float, *, before: str = "", goes_on: bool = False) -> Iterator[PCM]:
        pieces = iter(self._tts.speak(text, voice, speed, before=before, goes_on=goes_on))
        while True:
            self._plan.take("tts", text)
            try:
                audio = next(pieces)
            except StopIteration:
                return
            yield audio
