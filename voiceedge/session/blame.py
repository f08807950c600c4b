"""Whose engine a step is in, by the step's name: it cannot begin without it, and its end tells how the engine is."""

from __future__ import annotations

from typing import Any

from voiceedge.engines import Stage
from voiceedge.engines.renewal import Renewal
from voiceedge.errors import CallerError, ContextFull, Overloaded
from voiceedge.session.steps import Failure, Step

STAGES_OF: dict[str, Stage] = {
    "vad": "vad",
    "end of turn": "end_of_turn",
    "stt": "stt",
    "sentence end": "llm",
    "llm": "llm",
    "tts": "tts",
}
"""Whose engine is to blame for a step. A look at tools, or at how long a prompt is, is nobody's fault but that of its
input."""
NEEDED_BY: dict[str, Stage] = STAGES_OF | {"tools": "llm", "count": "llm"}
"""What a step cannot begin without."""


class Blame:
    """Tells what loads engines anew how their steps went; nobody, where nothing does."""

    def __init__(self, renewal: Renewal | None) -> None:
        self._renewal = renewal

    def is_out(self, step: Step) -> bool:
        """Whether a step would begin with an engine that is out of service: it waits for the next one."""
        out = self._renewal.out if self._renewal is not None else ()
        return bool(out) and step.is_first and NEEDED_BY.get(step.name) in out

    def judge(self, step: Step, outcome: Any, begun: float) -> None:
        """Tell what came of a step that began then: what it returned, or a `Failure`."""
        stage = STAGES_OF.get(step.name)
        if self._renewal is None or stage is None:
            return
        if not isinstance(outcome, Failure):
            self._renewal.worked(stage)
        elif not isinstance(outcome.error, CallerError | ContextFull | Overloaded):
            self._renewal.failed(stage, begun)

    def hung(self, name: str, begun: float) -> None:
        """Tell that a step of this name that began then has not come back."""
        if self._renewal is not None and (stage := STAGES_OF.get(name)) is not None:
            self._renewal.hung(stage, begun)
