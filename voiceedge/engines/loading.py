"""Loads the engines of a profile, and divides the machine's cores among them.

Each engine is imported where it is loaded: whoever runs the fakes needs none of the libraries behind them, which
take a second to import.
"""
# ruff: noqa: PLC0415  see above

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from voiceedge.engines import STAGES, Engines, Stage
from voiceedge.errors import ConfigError, ModelMissing


class LocalModel(Protocol):
    """A model whose files are on this machine; the model store hands these out."""

    @property
    def id(self) -> str:
        """As the manifest names it."""
        ...

    @property
    def engine(self) -> str:
        """Which engine runs it: a key of `LOADERS`."""
        ...

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        ...

    @property
    def files(self) -> Mapping[str, Path]:
        """Path of each file by its name in the manifest."""
        ...

    @property
    def build(self) -> Path | None:
        """Folder of what was built from the files, where the manifest asks for a build."""
        ...


@dataclass(frozen=True, slots=True)
class ThreadPlan:
    """How many threads each engine may use inside one step, and how many steps run at once."""

    vad: int = 1
    end_of_turn: int = 1
    stt: int = 1
    llm: int = 1
    tts: int = 1
    workers: int = 1
    """Engine steps of all sessions that run at the same time."""


def thread_plan(cores: int) -> ThreadPlan:
    """Divide `cores` (those this process may use).

    Many small steps side by side beat few wide ones: on two cores one thread costs SmolLM2 15 % of its decoding
    speed and Whisper decodes faster with one than with two, while a second engine gets a whole core. So every
    engine has one thread and there is a worker a core, up to three cores. With more, the steps that a listener
    waits for longest are split: the LLM's prefill and Whisper's encoder gain from two threads. There the threads
    of the workers may outnumber the cores for moments, which is harmless as long as none of them spins.
    """
    if cores <= 1:
        return ThreadPlan()
    if cores < 4:
        return ThreadPlan(workers=cores)
    return ThreadPlan(llm=2, workers=cores - 1)


def load_engines(
    models: Mapping[Stage, LocalModel],
    *,
    slots: int,
    context_tokens: int,
    threads: ThreadPlan,
    language: str = "en",
) -> Engines:
    """Load one model a stage; seconds of work, most of it reading weights.

    Args:
        models: by stage, one for each of `STAGES`.
        slots: sessions that the LLM keeps a cache for.
        context_tokens: tokens that each of them can hold.
        threads: of each engine.
        language: ISO 639-1 code of what speech-to-text listens for.

    Raises:
        ConfigError: a stage has no model, or a model asks for an engine that its stage does not have.
        ModelMissing: a file is not there.
        ModelCorrupt: a file cannot be loaded.
    """
    missing = [stage for stage in STAGES if stage not in models]
    if missing:
        raise ConfigError(f"the profile has no model for {', '.join(missing)}")
    loaded: dict[str, Any] = {
        stage: load_engine(
            stage, models[stage], slots=slots, context_tokens=context_tokens, threads=threads, language=language
        )
        for stage in STAGES
    }
    return Engines(**loaded, names={stage: models[stage].id for stage in STAGES})


def load_engine(
    stage: Stage, model: LocalModel, *, slots: int, context_tokens: int, threads: ThreadPlan, language: str = "en"
) -> Any:
    """Load one model; `load_engines` tells what the arguments are and what can go wrong."""
    return _loader(stage, model)(model, _Options(slots, context_tokens, threads, language))


@dataclass(frozen=True, slots=True)
class _Options:
    slots: int
    context_tokens: int
    threads: ThreadPlan
    language: str


_Load = Callable[[LocalModel, _Options], object]


def _loader(stage: str, model: LocalModel) -> _Load:
    load = LOADERS.get((stage, model.engine))
    if load is None:
        known = ", ".join(engine for of, engine in LOADERS if of == stage)
        raise ConfigError(f"model {model.id}: no engine {model.engine!r} for {stage}; there is {known}")
    return load


def _one_file(model: LocalModel, suffix: str) -> Path:
    """The only file of `model` with this suffix."""
    found = [path for name, path in model.files.items() if name.endswith(suffix)]
    if len(found) != 1:
        raise ModelMissing(f"model {model.id} should have one {suffix} file, not {len(found)}")
    return found[0]


def _silero(model: LocalModel, options: _Options) -> object:
    from voiceedge.engines.silero import SileroVad

    del options
    return SileroVad(_one_file(model, ".onnx"))


def _smart_turn(model: LocalModel, options: _Options) -> object:
    from voiceedge.engines.smart_turn import SmartTurn

    return SmartTurn(_one_file(model, ".onnx"), options.threads.end_of_turn)


def _whisper(model: LocalModel, options: _Options) -> object:
    from voiceedge.engines.whisper import Whisper

    return Whisper(model.folder, language=options.language, threads=options.threads.stt)


def _onnx_llm(model: LocalModel, options: _Options) -> object:
    from voiceedge.engines.onnx_llm import OnnxLlm

    if model.build is None:
        raise ModelMissing(f"model {model.id} has not been built")
    return OnnxLlm(
        model.build,
        slots=options.slots,
        context_tokens=options.context_tokens,
        threads=options.threads.llm,
    )


def _hibari(model: LocalModel, options: _Options) -> object:
    from voiceedge.engines.hibari import HibariTts

    del model  # its files are inside the package
    return HibariTts(options.threads.tts)


def _kokoro(model: LocalModel, options: _Options) -> object:
    from voiceedge.engines.kokoro import KokoroTts

    voices = {name.removesuffix(".bin"): path for name, path in model.files.items() if name.endswith(".bin")}
    return KokoroTts(_one_file(model, "kokoro.onnx"), voices, options.threads.tts)


LOADERS: dict[tuple[str, str], _Load] = {
    ("vad", "silero"): _silero,
    ("end_of_turn", "smart_turn"): _smart_turn,
    ("stt", "whisper"): _whisper,
    ("llm", "onnx_llm"): _onnx_llm,
    ("tts", "hibari"): _hibari,
    ("tts", "kokoro"): _kokoro,
}
"""What can be loaded, by stage and by the name that manifests use."""
