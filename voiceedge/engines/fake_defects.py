"""What fakes do worse than they might, as they were told to: they take long, or fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from voiceedge.engines import Stage
from voiceedge.errors import ConfigError
from voiceedge.trace import MILLISECONDS_A_SECOND

Sleep = Callable[[float], None]
"""Takes seconds. `time.sleep` unless a test passes its own."""


class FakeFailed(RuntimeError):
    """A fake was told to fail here; stands for whatever a real engine might raise."""


@dataclass(frozen=True, slots=True)
class FakeDelays:
    """How long each fake takes, in seconds."""

    vad_s: float = 0.0
    """A frame."""
    end_of_turn_s: float = 0.0
    """A judgement."""
    stt_s: float = 0.0
    """An utterance."""
    llm_first_token_s: float = 0.0
    """All of the prefill."""
    llm_token_s: float = 0.0
    """Every token after the first."""
    tts_s: float = 0.0
    """A clause, up to its first piece."""


_DELAYED = {"end_of_turn": "end_of_turn_s", "stt": "stt_s", "llm": "llm_first_token_s", "tts": "tts_s"}
"""Field of each stage whose delay a listener can feel once a turn."""


def planted(engines: str) -> FakeDelays:
    """The delays that the setting `engines` plants: those of `fake:llm+200,tts+50` (in milliseconds), none of `fake`.

    Raises:
        ConfigError: an engine that cannot be delayed so, or no delay.
    """
    delays = FakeDelays()
    for defect in filter(None, engines.partition(":")[2].split(",")):
        stage, _, ms = defect.partition("+")
        if stage not in _DELAYED or not ms.isdecimal():
            raise ConfigError(f"engines: {defect!r} is no delay, as llm+200 is; there are {', '.join(_DELAYED)}.")
        delays = replace(delays, **{_DELAYED[stage]: int(ms) / MILLISECONDS_A_SECOND})
    return delays


class Fault:
    """A stage takes its time, and may be told to raise."""

    def __init__(self, stage: Stage, fail_at: set[Stage] | None, sleep: Sleep) -> None:
        self.stage = stage
        # the caller's own set, so that a test can break and mend a stage while the node runs
        self.fail_at = fail_at if fail_at is not None else set()
        self.sleep = sleep

    def take(self, seconds: float) -> None:
        """Let so much time pass.

        Raises:
            FakeFailed: the stage is to fail at the moment.
        """
        if seconds > 0:
            self.sleep(seconds)
        if self.stage in self.fail_at:
            raise FakeFailed(f"the fake {self.stage} engine was told to fail")
