"""A language model that calls functions when it is given some, behind what the fake one says."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from voiceedge.engines import CallClosed, CallOpened, CallPiece, Finished, LlmStream, Prompt, Sampling, Step
from voiceedge.engines.fake_llm import FakeLlm

ARGUMENTS = ('{"city": ', '"', "Zürich", '"}')


class CallingLlm(FakeLlm):
    """The fake model, with so many calls in each of its answers."""

    def __init__(self, answer: str, calls: int, **options: Any) -> None:
        super().__init__(answer, **options)
        self.calls = calls

    def open(self) -> LlmStream:
        """Take a slot, or raise `Overloaded`."""
        return _CallingStream(super().open(), self)


class _CallingStream:
    """The fake model's stream, with calls at the end of its answers."""

    def __init__(self, stream: LlmStream, llm: CallingLlm) -> None:
        self._stream = stream
        self._llm = llm
        self.count = stream.count
        self.warm = stream.warm
        self.close = stream.close

    def generate(self, prompt: Prompt, sampling: Sampling) -> Generator[Step, None, None]:
        for step in self._stream.generate(prompt, sampling):
            if isinstance(step, Finished) and step.reason == "stop" and prompt.tool_choice.mode != "none":
                for tool in prompt.tools[:1] * self._llm.calls:
                    yield CallOpened(tool.name)
                    for number, text in enumerate(ARGUMENTS):
                        self._llm.fault.take(self._llm.token_delay_s)
                        yield CallPiece(number, text)
                    yield CallClosed()
            yield step
