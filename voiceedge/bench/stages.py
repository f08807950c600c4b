"""Which stages of a turn ran beside the critical path: they cost the machine time, and the listener none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_STAGES = (
    ("stt", "stt_started", "stt_final"),
    ("llm", "stt_final", "llm_first_clause"),
    ("tts", "llm_first_clause", "tts_first_audio"),
)
"""Segment, and the marks that it lies between (voiceedge/trace.py)."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of work or of waiting, in milliseconds from the last voiced sample."""

    segment: str
    begin_ms: float
    end_ms: float
    hidden_from_ms: float | None
    """From here to its end something else made the listener wait; None where all of it did."""

    @property
    def hidden_ms(self) -> float:
        """How much of it nobody waited for."""
        return 0.0 if self.hidden_from_ms is None else self.end_ms - self.hidden_from_ms


def stages(marks_ms: Mapping[str, float | None]) -> tuple[Stage, ...]:
    """The stages that a turn's marks tell of, in the order of the pipeline.

    Two chains run side by side: the silence that must pass before the turn is over, and the answer that is drafted
    meanwhile. Audio leaves when both are done. So an answer that was there before the endpoint is hidden behind
    the wait; of one that was begun before and came later, the wait behind its beginning is hidden.
    """
    return tuple(_stages({name: at for name, at in marks_ms.items() if at is not None}))


def _stages(marks: Mapping[str, float]) -> Iterator[Stage]:
    endpoint, ready = marks.get("endpoint"), marks.get("tts_first_audio")
    hides_answer = endpoint is not None and ready is not None and ready <= endpoint
    begun = marks.get("stt_started")
    wait_over = marks.get("wait_over", endpoint)
    if wait_over is not None and endpoint is not None:
        for segment, begin, end in (("wait", 0.0, wait_over), ("end_of_turn", wait_over, endpoint)):
            cut = None if hides_answer or begun is None or begun >= end else max(begun, begin)
            yield Stage(segment, begin, end, cut)
    for segment, begins, ends in _STAGES:
        if begins in marks and ends in marks:
            begin, end = marks[begins], marks[ends]
            yield Stage(segment, begin, end, begin if hides_answer else None)
    out = marks.get("first_audio_out")
    if out is not None:
        begin = max((at for at in (endpoint, ready) if at is not None), default=out)
        yield Stage("send", min(begin, out), out, None)
