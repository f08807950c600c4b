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

from voiceedge.engines import STAGES, Engines, SentenceEnd, Stage
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

    There is a worker a core, up to three cores, and an engine has one thread: many small steps side by side beat few
    wide ones. On two cores Whisper decodes faster with one thread than with two, the end-of-turn model no slower.

    The language model is the exception, because it is what a listener waits for longest and because one run decodes for
    all sessions. A second thread makes its prefill 1.5 (SmolLM2-135M) to 1.7 times (Qwen2.5-0.5B) as fast, a run of
    eight rows 1.2 to 1.5 times and of one row 1.1 times, where the other core is idle; where it is not, nothing is
    lost but 5 to 10 % of CPU time (2 cores of a Zen 5, measured side by side). That holds only for threads that sleep:
    with spinning ones SmolLM2's chunks took 1.3 (50 us) to 1.8 times (1 ms) as long beside a busy process.

    With more cores the model gets half of them, up to four; on four and more the threads of all workers may outnumber
    the cores for moments, which is harmless as long as none of them spins. Nothing is pinned.
    """
    if cores <= 1:
        return ThreadPlan()
    llm = min(max(2, cores // 2), 4)
    return ThreadPlan(llm=llm, workers=cores if cores < 4 else cores - 1)


def plain_thread_plan(cores: int) -> ThreadPlan:
    """As it is commonly done: every engine may use all cores, and voice activity goes on meanwhile."""
    wide = min(cores, 4)
    return ThreadPlan(stt=wide, llm=wide, tts=wide, workers=2)


def load_engines(
    models: Mapping[Stage, LocalModel],
    *,
    slots: int,
    context_tokens: int,
    threads: ThreadPlan,
    language: str = "en",
    plain: bool = False,
) -> Engines:
    """Load one model a stage; seconds of work, most of it reading weights.

    Args:
        models: by stage, one for each of `STAGES`.
        slots: sessions that the LLM keeps a cache for.
        context_tokens: tokens that each of them can hold.
        threads: of each engine.
        language: ISO 639-1 code of what speech-to-text listens for.
        plain: as they are commonly used: speech-to-text in windows of 30 s, no cache reuse.

    Raises:
        ConfigError: a stage has no model, or a model asks for an engine that its stage does not have.
        ModelMissing: a file is not there.
        ModelCorrupt: a file cannot be loaded.
    """
    missing = [stage for stage in STAGES if stage not in models]
    if missing:
        raise ConfigError(f"the profile has no model for {', '.join(missing)}")
    options = _Options(slots, context_tokens, threads, language, plain)
    loaded = {field: engine for stage in STAGES for field, engine in _load(stage, models[stage], options).items()}
    names: dict[Stage, str] = {stage: models[stage].id for stage in STAGES}
    return Engines(**loaded, names=names)


def load_stage(
    stage: Stage,
    models: Mapping[Stage, LocalModel],
    *,
    slots: int,
    context_tokens: int,
    threads: ThreadPlan,
    language: str = "en",
    plain: bool = False,
) -> dict[str, Any]:
    """Load what one stage of `load_engines` consists of, by its name in `Engines`, once more."""
    return _load(stage, models[stage], _Options(slots, context_tokens, threads, language, plain))


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
    plain: bool = False


_Load = Callable[[LocalModel, _Options], object]


def _load(stage: Stage, model: LocalModel, options: _Options) -> dict[str, Any]:
    """What a stage consists of: its engine, and with the LLM what is a view of it."""
    engine = _loader(stage, model)(model, options)
    return {stage: engine, "sentence_end": _sentence_end(engine, options)} if stage == "llm" else {stage: engine}


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

    return Whisper(
        model.folder,
        graph=None if options.plain else model.build,
        language=options.language,
        threads=options.threads.stt,
        whole_windows=options.plain,
    )


def _onnx_llm(model: LocalModel, options: _Options) -> object:
    from voiceedge.engines.onnx_llm import OnnxLlm

    if model.build is None:
        raise ModelMissing(f"model {model.id} has not been built")
    return OnnxLlm(
        model.build,
        slots=options.slots,
        context_tokens=options.context_tokens,
        threads=options.threads.llm,
        reuses=not options.plain,
    )


def _sentence_end(llm: object, options: _Options) -> SentenceEnd | None:
    """The LLM's opinion of the user's words, as far as it has one: what ends a sentence is asked in English."""
    from voiceedge.engines.onnx_llm import OnnxLlm
    from voiceedge.engines.sentence_end import SentenceEndByLlm

    if options.plain or options.language != "en" or not isinstance(llm, OnnxLlm):
        return None
    return SentenceEndByLlm(llm)


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
