"""A session's way in without the session: voice activity, end of turn and speech-to-text over audio at hand.

The same parts in the same order as session/hear.py and session/session.py, only faster than the audio was spoken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from voiceedge.audio.pcm import PCM
from voiceedge.conversation.endpoint import Ended, Endpoint, EndpointSettings, Paused, Started, Undecided
from voiceedge.engines import LISTENING_RATE_HZ, EndOfTurn, Segment, Stt, Vad


@dataclass(slots=True)
class Way:
    """What became of a stretch of audio on its way in."""

    started: int = 0
    """Turns that voice activity began."""
    utterances: list[Heard] = field(default_factory=list)
    """Turns that ended and were transcribed."""

    @property
    def committed(self) -> list[Heard]:
        """Those with words in them: only they become items of the conversation."""
        return [utterance for utterance in self.utterances if utterance.text]


@dataclass(frozen=True, slots=True)
class Heard:
    """A turn that was transcribed."""

    begin_s: float
    end_s: float
    segments: tuple[Segment, ...]

    @property
    def text(self) -> str:
        """Its words; empty when there are none."""
        return " ".join(segment.text for segment in self.segments if segment.text)


def utterances(
    audio: PCM, vad: Vad, end_of_turn: EndOfTurn | None = None, stt: Stt | None = None
) -> Iterator[Started | Ended]:
    """Where turns begin and end in `audio` (16 kHz) by the node's own settings.

    Without `end_of_turn` and `stt`, what ends in silence waits as long as for a turn that nobody judged.
    """
    stream = vad.open()
    endpoint = Endpoint(vad.frame_samples, LISTENING_RATE_HZ, EndpointSettings())
    for begin in range(0, audio.size - vad.frame_samples + 1, vad.frame_samples):
        decisions = endpoint.push(stream.probability(audio[begin : begin + vad.frame_samples]))
        while decisions:
            match decisions.pop(0):
                case Paused(pause, start, end) if stt is not None:
                    words = " ".join(segment.text for segment in stt.transcribe(audio[start:end]) if segment.text)
                    decisions += endpoint.read(pause, words)
                case Undecided(pause, start, end) if end_of_turn is not None:
                    decisions += endpoint.judge(pause, end_of_turn.probability(audio[start:end]))
                case Started() | Ended() as decision:
                    yield decision


def walk(
    audio: PCM, vad: Vad, end_of_turn: EndOfTurn | None, stt: Stt, passed: Callable[[float], None] = lambda _: None
) -> Way:
    """Take `audio` (16 kHz) all the way in; `passed` is told how many seconds have gone by."""
    way = Way()
    for decision in utterances(audio, vad, end_of_turn, stt):
        if isinstance(decision, Started):
            way.started += 1
            continue
        segments = tuple(stt.transcribe(audio[decision.start : decision.end]))
        begin_s, end_s = decision.start / LISTENING_RATE_HZ, decision.end / LISTENING_RATE_HZ
        way.utterances.append(Heard(begin_s, end_s, segments))
        passed(end_s)
    passed(audio.size / LISTENING_RATE_HZ)
    return way
