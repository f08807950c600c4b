"""Engines without weights: for tests, and for `--engines fake`.

They keep the promises of the Protocols (slots, cached prefixes, stop strings, pieces of audio) with set
answers and set delays, so that everything around them can be tested exactly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count

import numpy as np

from voiceedge.audio.pcm import PCM, level_dbfs
from voiceedge.engines import STAGES, Engines, Segment, Stage
from voiceedge.engines.fake_defects import FakeDelays, Fault, Sleep
from voiceedge.engines.fake_llm import Answer, FakeLlm

Heard = str | list[str] | Callable[[PCM], str]
"""What speech-to-text hears: always the same, the next of a list at each utterance (the last one stays), or computed
from the audio."""

TONE_HZ = 440.0
TONE_AMPLITUDE = 0.25
TTS_PIECE_S = 0.1


class FakeVad:
    """Hears speech in every frame that is loud enough."""

    frame_samples = 512

    def __init__(
        self,
        level_dbfs: float = -45.0,
        delay_s: float = 0.0,
        *,
        fail_at: set[Stage] | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._level_dbfs = level_dbfs
        self._delay_s = delay_s
        self._fault = Fault("vad", fail_at, sleep)

    def open(self) -> FakeVad:
        """The engine itself: it has no state."""
        return self

    def probability(self, frame: PCM) -> float:
        """0.99 when the frame's RMS is above the level, else 0.01."""
        self._fault.take(self._delay_s)
        return 0.99 if level_dbfs(frame) > self._level_dbfs else 0.01


class FakeEndOfTurn:
    """Always of the same opinion."""

    def __init__(
        self,
        probability: float = 0.95,
        delay_s: float = 0.0,
        *,
        fail_at: set[Stage] | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._probability = probability
        self._delay_s = delay_s
        self._fault = Fault("end_of_turn", fail_at, sleep)

    def probability(self, audio: PCM) -> float:
        """The probability that was set."""
        del audio
        self._fault.take(self._delay_s)
        return self._probability


class FakeStt:
    """Hears what it was told to hear; nothing where there is no audio."""

    def __init__(
        self,
        text: Heard = "What is the capital of France?",
        delay_s: float = 0.0,
        *,
        fail_at: set[Stage] | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._text = text
        self._delay_s = delay_s
        self._utterances = count()
        self._fault = Fault("stt", fail_at, sleep)

    def transcribe(self, audio: PCM, earlier: Sequence[Segment] = ()) -> Iterator[Segment]:
        """One segment with the set text."""
        del earlier
        self._fault.take(self._delay_s)
        text = _heard(self._text, audio, self._utterances) if audio.size else ""
        yield Segment(text, mean_log_probability=-0.2, no_speech_probability=0.02, tokens=len(text.split()))

    def steps(self, audio: PCM, earlier: Sequence[Segment] = ()) -> Iterator[Segment | None]:
        """All of it is one step."""
        return self.transcribe(audio, earlier)


class FakeTts:
    """Hums a tone for as long as the words would take."""

    voices: tuple[str, ...] = ("heart",)

    def __init__(
        self,
        sample_rate_hz: int = 24_000,
        delay_s: float = 0.0,
        seconds_per_word: float = 0.3,
        *,
        fail_at: set[Stage] | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._delay_s = delay_s
        self._seconds_per_word = seconds_per_word
        self._fault = Fault("tts", fail_at, sleep)

    def speak(self, text: str, voice: str, speed: float, *, before: str = "", goes_on: bool = False) -> Iterator[PCM]:
        """A tone in pieces of 0.1 s; nothing for text without a word."""
        del voice, before, goes_on
        words = sum(any(map(str.isalnum, word)) for word in text.split())
        if words == 0:
            return
        self._fault.take(self._delay_s)
        samples = round(words * self._seconds_per_word / speed * self.sample_rate_hz)
        piece = round(TTS_PIECE_S * self.sample_rate_hz)
        tone = np.sin(2 * np.pi * TONE_HZ / self.sample_rate_hz * np.arange(samples)) * TONE_AMPLITUDE
        for begin in range(0, samples, piece):
            yield tone[begin : begin + piece].astype(np.float32)


def fake_engines(
    delays: FakeDelays | None = None,
    *,
    text: Heard = "What is the capital of France?",
    answer: Answer = "Paris is the capital of France. It lies on the Seine.",
    end_of_turn: float = 0.95,
    slots: int = 4,
    context_tokens: int = 1024,
    fail_at: set[Stage] | None = None,
    sleep: Sleep = time.sleep,
) -> Engines:
    """One fake of each; a stage in `fail_at` (which may be changed later) raises when it is called."""
    took = delays or FakeDelays()
    return Engines(
        vad=FakeVad(delay_s=took.vad_s, fail_at=fail_at, sleep=sleep),
        end_of_turn=FakeEndOfTurn(end_of_turn, took.end_of_turn_s, fail_at=fail_at, sleep=sleep),
        stt=FakeStt(text, took.stt_s, fail_at=fail_at, sleep=sleep),
        llm=FakeLlm(
            answer,
            slots=slots,
            context_tokens=context_tokens,
            first_token_delay_s=took.llm_first_token_s,
            token_delay_s=took.llm_token_s,
            fail_at=fail_at,
            sleep=sleep,
        ),
        tts=FakeTts(delay_s=took.tts_s, fail_at=fail_at, sleep=sleep),
        names=dict.fromkeys(STAGES, "fake"),
    )


def _heard(choice: Heard, audio: PCM, turns: Iterator[int]) -> str:
    turn = next(turns)
    if callable(choice):
        return choice(audio)
    return choice if isinstance(choice, str) else choice[min(turn, len(choice) - 1)]
