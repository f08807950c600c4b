"""How many conversations to expect: arithmetic on the self-test, for one way of talking. An estimate, and called so.

A conversation costs CPU seconds a turn; a machine has so many a second. Queues grow long before it is busy all the
time, so only a part of it counts. Memory is the other limit: each session has a slot of the LLM's cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from voiceedge.doctor.models import Choice
from voiceedge.doctor.selftest import AnySpeed, LlmSpeed, Speed
from voiceedge.engines import STAGES, Stage
from voiceedge.machine import Machine
from voiceedge.trace import MILLISECONDS_A_SECOND


@dataclass(frozen=True, slots=True)
class Talk:
    """A typical conversation: short questions, answers of two sentences, a breath between them.

    Reckoned with the tokens and the seconds of real conversations of six turns with one user, the estimate was 1.7
    CPU seconds a turn where a node took 1.5 (nano), and 2.9 where it took 2.3 (standard).
    """

    turn_s: float = 15.0
    """From the begin of a question to the begin of the next."""
    speech_s: float = 4.0
    """Of it, the user speaks."""
    answer_s: float = 9.0
    """Of it, the agent speaks."""
    judgements: float = 2.0
    """Pauses in which the end of the turn is judged by the sound."""
    hearings: float = 3.0
    """Times that the words are transcribed: while they are spoken, in a pause, at the end."""
    read_tokens: int = 40
    """Of the question, with its markup."""
    written_tokens: int = 45
    """Of the answer."""
    drafts: float = 1.25
    """Answers that are made for one that is heard: 14 to 21 % of the engines' work is thrown away (docs/figures.md)."""
    rest: float = 0.02
    """Of a core: audio in and out, JSON, sockets."""


TALK = Talk()
BUSY = 0.6
"""Share of the CPU time that may be used: above it, steps wait for each other longer than they take."""
WAIT_MS = 150.0
"""Silence that is needed before a turn is over, at the median (docs/figures.md has 80 to 90 ms; a pause costs more)."""
CLAUSE_TOKENS = 10
"""Of the answer's first clause, which is what the listener waits for."""
CLAUSE_S = 2.0
"""How long it sounds."""
PROMPT_MS = 800.0
"""An answer that takes longer is no conversation: the usual objective, p95 < 800 ms, could never be kept."""
PROCESS_BYTES = 150_000_000
"""Of the process itself, before a model is loaded."""
SLOT_BYTES_A_TOKEN = 95_000_000 / 2048
"""Of the cache, in float32, for the larger of the two LLMs."""
PREFERRED = ("standard", "nano")
"""In this order. `voices` is a matter of taste, not of the machine."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What to expect of a profile on this machine."""

    profile: str
    cpu_s_a_turn: Mapping[str, float]
    """By stage, and `rest`."""
    cores: float
    by_cpu: int
    """Sessions for which the CPU time lasts."""
    by_memory: int | None
    """Sessions for which the memory lasts; None where the system does not tell."""
    answer_ms: float
    """From the end of speech to the first sound, with nobody else on the machine."""

    @property
    def sessions(self) -> int:
        """How many to expect."""
        return self.by_cpu if self.by_memory is None else min(self.by_cpu, self.by_memory)

    @property
    def is_prompt(self) -> bool:
        """Whether an answer comes in time."""
        return self.answer_ms <= PROMPT_MS


def forecast(
    choice: Choice, speeds: Mapping[str, AnySpeed], machine: Machine, context_tokens: int, talk: Talk = TALK
) -> Forecast | None:
    """Estimate a profile.

    Args:
        choice: the profile.
        speeds: of the models that were tried, by id.
        machine: what it would run on.
        context_tokens: tokens that a session's slot can hold.
        talk: how people talk.

    Returns:
        None where one of its models was not tried.
    """
    tried = {stage: speeds[manifest.id] for stage, manifest in choice.models.items() if manifest.id in speeds}
    if set(tried) != set(STAGES):
        return None
    cpu_s = {**_cpu_s(tried, talk), "rest": talk.rest * talk.turn_s}
    by_cpu = int(machine.usable_cores * BUSY * talk.turn_s / sum(cpu_s.values()))
    by_memory = None
    if machine.memory_free_bytes is not None:
        left = machine.memory_free_bytes - PROCESS_BYTES - choice.memory_bytes
        by_memory = max(0, int(left / (SLOT_BYTES_A_TOKEN * context_tokens)))
    return Forecast(choice.profile, cpu_s, machine.usable_cores, by_cpu, by_memory, _answer_ms(tried, talk))


def recommended(forecasts: Sequence[Forecast]) -> Forecast | None:
    """The best profile that answers in time and carries a conversation; None if none does, or none was tried."""
    able = {each.profile: each for each in forecasts if each.is_prompt and each.sessions >= 1}
    return next((able[name] for name in PREFERRED if name in able), None)


def _cpu_s(tried: Mapping[Stage, AnySpeed], talk: Talk) -> dict[str, float]:
    """CPU seconds of each stage in one turn."""
    vad, end, stt, tts = (_speech(tried[stage]) for stage in ("vad", "end_of_turn", "stt", "tts"))
    llm = tried["llm"]
    assert isinstance(llm, LlmSpeed)
    thought = talk.read_tokens * llm.prefill.cpu_s + talk.written_tokens * llm.decode.cpu_s
    return {
        "vad": vad.cpu_factor * talk.turn_s,
        "end_of_turn": end.cost.cpu_s * talk.judgements,
        "stt": stt.cpu_factor * talk.speech_s * talk.hearings,
        "llm": thought * talk.drafts,
        "tts": tts.cpu_factor * talk.answer_s * talk.drafts,
    }


def _answer_ms(tried: Mapping[Stage, AnySpeed], talk: Talk) -> float:
    llm = tried["llm"]
    assert isinstance(llm, LlmSpeed)
    thought = talk.read_tokens * llm.prefill.wall_s + CLAUSE_TOKENS * llm.decode.wall_s
    heard = _speech(tried["stt"]).real_time_factor * talk.speech_s
    spoken = _speech(tried["tts"]).real_time_factor * CLAUSE_S
    return WAIT_MS + (heard + thought + spoken) * MILLISECONDS_A_SECOND


def _speech(speed: AnySpeed) -> Speed:
    assert isinstance(speed, Speed)  # `try_speed` gives an LLM's speed for LLMs only
    return speed
