"""One turn: the state of one answer, and the scope that is cancelled with it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from voiceedge.audio.pcm import PCM
from voiceedge.conversation.history import Item, SpokenClause
from voiceedge.engines import Finished
from voiceedge.protocol import ids
from voiceedge.protocol.extensions import TracedSegment, TurnTraced
from voiceedge.protocol.lifecycle import Outcome, ResponseLifecycle
from voiceedge.protocol.response_config import ResponseConfig
from voiceedge.protocol.usage import Usage
from voiceedge.session.playout import Playout
from voiceedge.trace import TurnTrace


@dataclass(slots=True)
class Utterance:
    """What the user said in one turn, until its words are known."""

    item_id: str
    audio: PCM
    """16 kHz, prefix padding and silence included."""
    trace: TurnTrace
    """Begins at the last voiced sample; goes on as the trace of the answer."""
    words: asyncio.Future[str]
    """The transcript, empty when there are none; or why it could not be made."""


@dataclass(slots=True)
class Turn:
    """One answer."""

    config: ResponseConfig
    trace: TurnTrace
    utterance: Utterance | None
    """The speech that is answered; None where the client asked."""
    lifecycle: ResponseLifecycle
    playout: Playout
    item: Item = field(init=False)
    """The answer so far."""
    pieces: list[tuple[int, str]] = field(default_factory=list)
    clauses: list[SpokenClause] = field(default_factory=list)
    finished: Finished | None = None
    task: asyncio.Task[None] | None = None
    has_begun: bool = False
    """Whether `response.created` is out."""

    def __post_init__(self) -> None:
        modality = self.config.output_modality
        self.item = Item(ids.item_id(), "message", "assistant", "", modality=modality, is_complete=False)

    @property
    def response_id(self) -> str:
        """Id on the wire."""
        return self.lifecycle.response_id

    @property
    def audio_ms(self) -> float:
        """Audio made so far."""
        return self.clauses[-1].end_ms if self.clauses else 0.0

    def say(self, text: str) -> None:
        """Add what is being said from now on."""
        if self.config.output_modality == "audio":
            self.clauses.append(SpokenClause(text, self.audio_ms, self.audio_ms))
        self._update((self.item.text or "") + text)

    def sounds(self, audio_ms: float) -> None:
        """What is being said sounds `audio_ms` longer."""
        clause = self.clauses[-1]
        self.clauses[-1] = replace(clause, end_ms=clause.end_ms + audio_ms)
        self._update(self.item.text or "")

    def _update(self, text: str) -> None:
        self.item = replace(self.item, text=text, pieces=tuple(self.pieces), clauses=tuple(self.clauses))

    def usage(self) -> Usage | None:
        """Tokens spent; None before the LLM was asked."""
        if self.finished is not None:
            prompt, cached = self.finished.prompt_tokens, self.finished.cached_tokens
        elif "prefill_tokens" in self.trace.facts:
            cached = int(self.trace.facts["cached_tokens"])
            prompt = cached + int(self.trace.facts["prefill_tokens"])
        else:
            return None
        return Usage.counted(input_text=prompt, cached_text=cached, output_text=len(self.pieces))

    def traced(self, number: int, outcome: Outcome) -> TurnTraced:
        """Sum the turn up once all of it has been handed to the socket."""
        trace = self.trace
        trace.facts.setdefault("completion_tokens", len(self.pieces))
        trace.facts.setdefault("audio_ms", round(self.audio_ms))
        path = trace.critical_path()
        return TurnTraced(
            turn=number,
            response_id=self.response_id,
            item_id=self.utterance.item_id if self.utterance else None,
            status=outcome.type,
            total_ms=_rounded(trace.since_zero_ms("first_audio_out")) if path else None,
            marks_ms={mark: round((at - trace.zero) * 1000, 3) for mark, at in trace.marks.items()},
            critical_path=tuple(TracedSegment(part.segment, round(part.ms, 3)) for part in path),
            facts=dict(trace.facts),
        )


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 3)
