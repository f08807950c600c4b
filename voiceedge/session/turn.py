"""One turn: the state of one answer, and the scope that is cancelled with it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from voiceedge.audio.pcm import PCM
from voiceedge.conversation.agreement import Agreement
from voiceedge.conversation.history import Item, SpokenClause
from voiceedge.engines import Finished, Segment
from voiceedge.protocol import ids
from voiceedge.protocol.extensions import TracedSegment, TurnTraced, TurnWords
from voiceedge.protocol.lifecycle import Outcome, ResponseLifecycle
from voiceedge.protocol.response_config import ResponseConfig
from voiceedge.protocol.usage import Usage
from voiceedge.session.playout import Playout
from voiceedge.trace import TurnTrace

DRAFT_LATER_S = 1.0
"""How much later than its answer a draft is due: what somebody waits for comes first, and a draft still comes in time
to be of use."""


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
    is_over: bool = True
    """False while the user may go on."""
    earlier: Sequence[Segment] = ()
    """What is known of the beginning of the audio."""
    heard: list[Segment] = field(default_factory=list)
    """What speech-to-text has made of the audio so far; it outlives the interest in the words."""
    shown: Agreement = field(default_factory=Agreement)
    """What the client has seen of the words."""
    listening: asyncio.Task[None] | None = None
    """Finds out the words."""
    told: asyncio.Task[None] | None = None
    """Over when the words stand in the history and the client knows them."""
    not_before: float = -math.inf
    """The words are due no earlier: its session has had its share of the engine until then."""

    def deadline(self) -> float:
        """When the words are due."""
        return max(self.trace.zero + (0.0 if self.is_over else DRAFT_LATER_S), self.not_before)


@dataclass(slots=True)
class Turn:
    """One answer."""

    config: ResponseConfig
    trace: TurnTrace
    utterance: Utterance | None
    """The speech that is answered; None where the client asked."""
    lifecycle: ResponseLifecycle
    playout: Playout
    message: Item | None = None
    """What is said, so far."""
    calls: list[Item] = field(default_factory=list)
    """What is called, behind it; the last one may still be open."""
    completion_tokens: int = 0
    finished: Finished | None = None
    task: asyncio.Task[None] | None = None
    is_heard: bool = False
    """Whether there is somebody to hear it; a draft has nobody yet."""
    has_begun: bool = False
    """Whether `response.created` is out."""

    @property
    def response_id(self) -> str:
        """Id on the wire."""
        return self.lifecycle.response_id

    @property
    def audio_ms(self) -> float:
        """Audio made so far."""
        return self.message.audio_ms if self.message is not None else 0.0

    def deadline(self) -> float:
        """When the listener would notice: at once while nothing is heard, else when the audio sent runs out."""
        if not self.is_heard:
            return self.trace.zero + DRAFT_LATER_S
        return self.playout.runs_out or self.trace.zero

    def begin_message(self, pieces: list[tuple[int, str]]) -> Item:
        """Begin to say something; `pieces` are its first tokens."""
        modality = self.config.output_modality
        self.message = Item(
            ids.item_id(), "message", "assistant", "", modality=modality, is_complete=False, pieces=tuple(pieces)
        )
        return self.message

    def message_with(self, token: int, text: str) -> None:
        """One more token belongs to the message."""
        self._update(pieces=(*self._said.pieces, (token, text)))

    def say(self, text: str) -> None:
        """Add what is being said from now on."""
        said = self._said
        if self.config.output_modality == "audio":
            self._update(clauses=(*said.clauses, SpokenClause(text, self.audio_ms, self.audio_ms)))
        self._update(text=(said.text or "") + text)

    def sounds(self, audio_ms: float) -> None:
        """What is being said sounds `audio_ms` longer."""
        *before, clause = self._said.clauses
        self._update(clauses=(*before, replace(clause, end_ms=clause.end_ms + audio_ms)))

    def begin_call(self, item: Item, pieces: tuple[tuple[int, str], ...]) -> Item:
        """Begin a call; `pieces` are its first tokens."""
        self.calls.append(replace(item, pieces=pieces))
        return self.calls[-1]

    def call_with(self, token: int, arguments: str) -> None:
        """One more token belongs to the last call."""
        item = self.calls[-1]
        assert item.call is not None
        call = replace(item.call, arguments=item.call.arguments + arguments)
        self.calls[-1] = replace(item, call=call, pieces=(*item.pieces, (token, "")))

    def close_call(self) -> Item:
        """The last call is complete."""
        self.calls[-1] = replace(self.calls[-1], is_complete=True)
        return self.calls[-1]

    @property
    def open_call(self) -> Item | None:
        """The call whose arguments are being written."""
        return self.calls[-1] if self.calls and not self.calls[-1].is_complete else None

    @property
    def items(self) -> list[Item]:
        """What the answer has put into the conversation, as it is now."""
        return ([] if self.message is None else [self.message]) + self.calls

    @property
    def _said(self) -> Item:
        assert self.message is not None
        return self.message

    def _update(self, **changes: Any) -> None:
        self.message = replace(self._said, **changes)

    def usage(self) -> Usage | None:
        """Tokens spent; None before the LLM was asked."""
        if self.finished is not None:
            prompt, cached = self.finished.prompt_tokens, self.finished.cached_tokens
        elif "prefill_tokens" in self.trace.facts:
            cached = int(self.trace.facts["cached_tokens"])
            prompt = cached + int(self.trace.facts["prefill_tokens"])
        else:
            return None
        return Usage.counted(input_text=prompt, cached_text=cached, output_text=self.completion_tokens)

    def traced(self, number: int, outcome: Outcome) -> TurnTraced:
        """Sum the turn up once all of it has been handed to the socket."""
        trace = self.trace
        trace.facts.setdefault("completion_tokens", self.completion_tokens)
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
            zero_at=round(trace.zero_at(), 6),
        )

    def words(self) -> TurnWords:
        """What was said, as far as it is known."""
        words = self.utterance.words if self.utterance is not None else None
        known = words is not None and words.done() and not words.cancelled() and words.exception() is None
        heard = words.result() if words is not None and known else None
        return TurnWords(heard or None, self.message.text if self.message is not None else None)


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 3)
