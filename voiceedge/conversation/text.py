"""From the text that a model writes to clauses that a voice can speak, cut where a speaker would breathe.

A clause has two forms: `written` is the caption and the history, `spoken` goes to the voice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from voiceedge.conversation.breaks import LOOKAHEAD_CHARS, Break, Kind, breaks, within
from voiceedge.conversation.speakable import FENCE, speakable

FIRST_CLAUSE_CHARS = 14
"""A first clause shorter than this ("Well,") sounds clipped when it is spoken alone."""
GROWTH = 2
"""A clause is at most this many times as long as all that was said before it: what was said still plays while the
clause is made. Speech is some 15 characters a second; the slowest pair of engines (Qwen2.5-0.5B and Kokoro, one
thread each) makes a second of it in half a second, the fastest in a thirtieth."""
SECOND_CLAUSE_CHARS = 40
"""A clause may have this many in any case, or short answers ("Yes.") would be followed by scraps."""
LATER_CLAUSE_CHARS = 120
"""Later sentences are kept whole up to here: whole sentences have the better melody."""
LONGEST_CLAUSE_CHARS = 220
"""A text without any place to cut is cut at a space after this many characters."""
LONGEST_CODE_CHARS = 20 * LONGEST_CLAUSE_CHARS
"""A code block is dropped whole, so it is not cut; one that is not closed by then is."""
LONGEST_BEFORE_CHARS = 120
"""Of a sentence that was begun: what is further back does not change how it goes on."""


@dataclass(frozen=True, slots=True)
class Clause:
    """A piece of the answer that is spoken in one go."""

    written: str
    """As the model wrote it, white space included: the clauses of an answer add up to its text."""
    spoken: str
    """As the voice gets it; empty when nothing of it can be spoken."""
    before: str = ""
    """What of the same sentence was spoken already: the melody goes on from there."""
    goes_on: bool = False
    """The sentence is not over: the voice must not fall at the end."""


class Clauses:
    """Cuts a growing text into clauses: the same ones, however the text is cut into pieces.

    The first one is cut at the first place where a speaker could breathe, because the listener waits for it. Later
    ones are whole sentences; a sentence that would take too long to make is cut at the best place in reach.
    """

    def __init__(self, *, whole_sentences: bool = False) -> None:
        """With `whole_sentences`, every clause is one, however long the listener waits for it."""
        self._whole_sentences = whole_sentences
        self._longest = LONGEST_CODE_CHARS if whole_sentences else LONGEST_CLAUSE_CHARS
        self._pending = ""
        self._said_chars = 0
        self._before = ""

    def push(self, text: str) -> list[Clause]:
        """Take more text; return the clauses that are complete."""
        self._pending += text
        clauses = []
        while (found := self._next_break()) is not None:
            clauses.append(self._take(found))
        return clauses

    def flush(self) -> list[Clause]:
        """Return what is left when the text is over."""
        return [self._take(Break(len(self._pending), Kind.SENTENCE))] if self._pending else []

    def _take(self, at: Break) -> Clause:
        written, self._pending = self._pending[: at.end], self._pending[at.end :]
        goes_on = at.kind < Kind.SENTENCE
        clause = Clause(written, speakable(written), self._before, goes_on)
        self._said_chars += len(clause.spoken)
        begun = f"{self._before} {clause.spoken}".strip()
        if len(begun) > LONGEST_BEFORE_CHARS:
            begun = clause.spoken
        self._before = begun if goes_on and len(begun) <= LONGEST_BEFORE_CHARS else ""
        return clause

    def _next_break(self) -> Break | None:
        found = breaks(self._pending, self._longest)
        if self._whole_sentences:
            place = next((at for at in found if at.kind is Kind.SENTENCE), None)
        elif self._said_chars == 0:
            place = next((at for at in found if at.kind is Kind.SENTENCE or self._is_long(at)), None)
        else:
            place = self._within_reach(found)
        return place or self._forced()

    def _is_long(self, at: Break) -> bool:
        return len(self._pending[: at.end].strip()) >= FIRST_CLAUSE_CHARS

    def _within_reach(self, found: Iterator[Break]) -> Break | None:
        """The end of the sentence, else the last good place that can be made in time, else the first one behind."""
        reach = min(max(GROWTH * self._said_chars, SECOND_CLAUSE_CHARS), LATER_CLAUSE_CHARS)
        best: Break | None = None
        for at in found:
            if at.end > reach:
                return best or at
            if at.kind is Kind.SENTENCE:
                return at
            if self._is_long(at):
                best = max(best or at, at, key=lambda place: (place.end >= reach // 2, place.kind, place.end))
        # all places in reach are known only when the text goes on far enough behind it
        return best if len(self._pending) >= reach + LOOKAHEAD_CHARS else None

    def _forced(self) -> Break | None:
        """A cut where there is no place for one, once the text has become too long."""
        if len(self._pending) <= self._longest:
            return None
        space = self._pending.rfind(" ", 0, self._longest)
        end = space if space > 0 else self._longest
        if (block := within([match.span() for match in FENCE.finditer(self._pending)], end)) is not None:
            end = min(block[1], LONGEST_CODE_CHARS)
            is_closed = self._pending.endswith("```", block[0] + 3, block[1])
            if not is_closed and end < LONGEST_CODE_CHARS:
                return None
        return Break(end, Kind.PHRASE)
