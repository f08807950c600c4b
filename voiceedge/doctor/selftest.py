"""How fast the models run here: each does what it would do in a conversation, again and again for a second or two.

Wall time says how long somebody waits, CPU time how many can be served. Models are loaded as a node loads them,
with the same threads, one after the other, and let go again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import cast

import numpy as np

from voiceedge.audio.pcm import PCM
from voiceedge.audio.resample import resample
from voiceedge.config import DEFAULT_INSTRUCTIONS
from voiceedge.engines import (
    LISTENING_RATE_HZ,
    EndOfTurn,
    Llm,
    Message,
    Piece,
    Prefilled,
    Prompt,
    Sampling,
    Stage,
    Stt,
    Tts,
    Vad,
)
from voiceedge.engines.loading import LocalModel, ThreadPlan, load_engine
from voiceedge.errors import EngineFailed
from voiceedge.trace import Clock, cpu_now, now

SELF_TEST_S = 10.0
"""For all models together, without the time to load them."""
MOST_S = 2.0
"""For one model, where there are few."""
FEWEST_RUNS = 2
PHRASE = "Could you tell me what the weather will be like tomorrow, and whether I will need an umbrella on my way?"
"""About six seconds of speech: a question as people ask it."""
CLAUSE = "It will be mostly dry tomorrow, with a little rain in the evening."
"""About four seconds."""
QUESTION = "Tell me the story number {} of a dog, a cat and a very old house by the sea, in ten sentences."
ANSWER_TOKENS = 32
CONTEXT_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of something takes."""

    wall_s: float
    """Median of the runs."""
    cpu_s: float
    """Mean of the runs, of all threads."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What a model takes for a second of speech; for the end of a turn, one judgement of `audio_s`."""

    stage: Stage
    model: str
    audio_s: float
    """How much speech a run heard or spoke."""
    cost: Cost
    """Of one run."""

    @property
    def real_time_factor(self) -> float:
        """Seconds of work for a second of speech."""
        return self.cost.wall_s / self.audio_s

    @property
    def cpu_factor(self) -> float:
        """CPU seconds for a second of speech."""
        return self.cost.cpu_s / self.audio_s


@dataclass(frozen=True, slots=True)
class LlmSpeed:
    """What a language model takes for a token, alone."""

    model: str
    prefill: Cost
    """Of one token that is read."""
    decode: Cost
    """Of one token that is written."""
    stage: Stage = field(default="llm", init=False)


AnySpeed = Speed | LlmSpeed
Loader = Callable[[LocalModel], object]


@dataclass(frozen=True, slots=True)
class Watches:
    """The clock, and the one that only runs while this process computes."""

    wall: Clock = now
    cpu: Clock = cpu_now


def seconds_for(models: int) -> float:
    """How long each of so many models is tried."""
    return min(SELF_TEST_S / models, MOST_S)


def loader(stage: Stage, threads: ThreadPlan) -> Loader:
    """Loads models of a stage as a node would."""
    return lambda model: load_engine(stage, model, slots=1, context_tokens=CONTEXT_TOKENS, threads=threads)


def spoken_phrase() -> PCM:
    """`PHRASE` in the default voice, which every installation has, [samples] at 16 kHz."""
    from voiceedge.engines.hibari import HibariTts  # noqa: PLC0415 - takes a second to import and load

    voice = HibariTts()
    speech = np.concatenate(list(voice.speak(PHRASE, voice.voices[0], 1.0)))
    return resample(speech, voice.sample_rate_hz, LISTENING_RATE_HZ)


def try_speed(stage: Stage, model: str, engine: object, speech: PCM, seconds: float, watches: Watches) -> AnySpeed:
    """Let an engine work.

    Args:
        stage: what it is for.
        model: its id.
        engine: loaded.
        speech: what the listening ones hear, [samples] at 16 kHz.
        seconds: how long about.
        watches: of time and of CPU time.

    Raises:
        EngineFailed: a language model has nothing to say.
    """
    audio_s = speech.size / LISTENING_RATE_HZ
    match stage:
        case "vad":
            return Speed(stage, model, audio_s, _repeated(_listening(cast("Vad", engine), speech), seconds, watches))
        case "end_of_turn":
            ears = cast("EndOfTurn", engine)
            return Speed(stage, model, audio_s, _repeated(lambda: ears.probability(speech), seconds, watches))
        case "stt":
            stt = cast("Stt", engine)
            return Speed(stage, model, audio_s, _repeated(lambda: list(stt.transcribe(speech)), seconds, watches))
        case "tts":
            tts = cast("Tts", engine)
            return _speaking(model, tts, seconds, watches)
        case "llm":
            return _thinking(model, cast("Llm", engine), seconds, watches)


def _listening(vad: Vad, speech: PCM) -> Callable[[], object]:
    frames = speech[: speech.size // vad.frame_samples * vad.frame_samples].reshape(-1, vad.frame_samples)

    def listen() -> None:
        stream = vad.open()
        for frame in frames:
            stream.probability(frame)

    return listen


def _speaking(model: str, tts: Tts, seconds: float, watches: Watches) -> Speed:
    def speak() -> int:
        return sum(part.size for part in tts.speak(CLAUSE, tts.voices[0], 1.0))

    audio_s = speak() / tts.sample_rate_hz
    return Speed("tts", model, audio_s, _repeated(speak, seconds, watches))


def _thinking(model: str, llm: Llm, seconds: float, watches: Watches) -> LlmSpeed:
    prefills, decodes = [], []
    stream = llm.open()
    try:
        for number in _until(seconds, watches.wall):
            # another number in front of what follows: nothing of the question is in the cache
            prompt = Prompt((Message("system", DEFAULT_INSTRUCTIONS), Message("user", QUESTION.format(number))))
            prefill, decode = _answer(stream.generate(prompt, Sampling(max_tokens=ANSWER_TOKENS)), watches)
            if number:  # the first one warms up
                prefills.append(prefill)
                decodes.append(decode)
    finally:
        stream.close()
    return LlmSpeed(model, _joined(prefills), _joined(decodes))


def _answer(steps: Iterable[object], watches: Watches) -> tuple[Cost, Cost]:
    """What a token took to read, and to write, in one answer.

    Raises:
        EngineFailed: there is no second token.
    """
    begun = watches.wall(), watches.cpu()
    read, first, last = 0, begun, begun
    written = 0
    for step in steps:
        if isinstance(step, Prefilled):
            read += step.tokens
        elif isinstance(step, Piece):
            last = watches.wall(), watches.cpu()
            first = first if written else last
            written += 1
    if written < 2:
        raise EngineFailed(f"It writes {written} token{'s' if written != 1 else ''}, which tells no speed.")
    # the first token is what the last chunk of the prompt gives
    return _a_token(begun, first, read), _a_token(first, last, written - 1)


def _a_token(begin: tuple[float, float], end: tuple[float, float], tokens: int) -> Cost:
    return Cost((end[0] - begin[0]) / max(tokens, 1), (end[1] - begin[1]) / max(tokens, 1))


def _joined(costs: list[Cost]) -> Cost:
    return Cost(median(cost.wall_s for cost in costs), sum(cost.cpu_s for cost in costs) / len(costs))


def _repeated(work: Callable[[], object], seconds: float, watches: Watches) -> Cost:
    """What `work` takes when it has been done before."""
    work()
    costs = []
    for _ in _until(seconds, watches.wall):
        wall, cpu = watches.wall(), watches.cpu()
        work()
        costs.append(Cost(watches.wall() - wall, watches.cpu() - cpu))
    return _joined(costs)


def _until(seconds: float, clock: Clock) -> Iterator[int]:
    """Count runs until the time is up; a few in any case."""
    begun, number = clock(), 0
    while number < FEWEST_RUNS or clock() - begun < seconds:
        yield number
        number += 1
