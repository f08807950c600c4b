"""Whose engine steps may go wrong: that of who is marked, and of nobody else.

An engine does not know whose work it does, so the mark is in what it works on. Who may be hit speaks loudly, is
answered at a speed that nobody else asks for, and lacks in their instructions the word that spares the others. So a
session without the mark that has a failed turn has been hit by another's fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tests import faulty
from tests.faulty import SPARED, Plan
from voiceedge.audio.pcm import PCM
from voiceedge.engines import Engines, Segment, Stage, VadStream

LOUD, QUIET = 0.9, 0.3
"""Peaks of those who are marked, and of all others."""
BETWEEN = 0.6
MARKED_SPEED, SPEED = 1.2, 1.0
INSTRUCTIONS = f"Be a good {SPARED} and answer in one short sentence."
"""Of those who are spared."""


def is_marked(audio: PCM) -> bool:
    """Whether these samples are of somebody who may be hit."""
    return bool(audio.size) and float(np.abs(audio).max()) > BETWEEN


def marked(engines: Engines, plan: Plan) -> Engines:
    """The same engines, which fail as planned in what they do for those who are marked."""
    wrapped = {field: wrap(plan, getattr(engines, field)) for field, wrap in _WRAPPED.items()}
    return replace(engines, **wrapped)


def marked_load(load: Callable[[Stage], dict[str, Any]], plan: Plan) -> Callable[[Stage], dict[str, Any]]:
    """What loads engines anew: what it loads fails as planned as well."""
    return lambda stage: {field: _WRAPPED[field](plan, engine) for field, engine in load(stage).items()}


class _Vad(faulty._Vad):
    def open(self) -> VadStream:
        return _VadStream(self._plan, self._vad.open())


class _VadStream(faulty._VadStream):
    def probability(self, frame: PCM) -> float:
        return super().probability(frame) if is_marked(frame) else self._stream.probability(frame)


class _EndOfTurn(faulty._EndOfTurn):
    def probability(self, audio: PCM) -> float:
        return super().probability(audio) if is_marked(audio) else self._model.probability(audio)


class _Stt(faulty._Stt):
    def transcribe(self, audio: PCM, earlier: Sequence[Segment] = ()) -> Iterator[Segment]:
        return super().transcribe(audio, earlier) if is_marked(audio) else self._stt.transcribe(audio, earlier)

    def steps(self, audio: PCM, earlier: Sequence[Segment] = ()) -> Iterator[Segment | None]:
        return super().steps(audio, earlier) if is_marked(audio) else self._stt.steps(audio, earlier)


class _Tts(faulty._Tts):
    def speak(self, text: str, voice: str, speed: float, *, before: str = "", goes_on: bool = False) -> Iterator[PCM]:
        if abs(speed - MARKED_SPEED) < 1e-6:
            return super().speak(text, voice, speed, before=before, goes_on=goes_on)
        return self._tts.speak(text, voice, speed, before=before, goes_on=goes_on)


_WRAPPED: dict[str, Callable[[Plan, Any], Any]] = {
    "vad": _Vad,
    "end_of_turn": _EndOfTurn,
    "stt": _Stt,
    "llm": faulty._Llm,  # knows whom to spare by their instructions
    "tts": _Tts,
    # asked about words alone, which say nothing of who said them
    "sentence_end": lambda _, model: model,
}
