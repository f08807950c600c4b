"""What has been said, as the model will see it: only what was really heard, and only what fits.

Positions in an answer are characters of its text; times are milliseconds of its audio.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
Kind = Literal["message", "function_call", "function_call_output"]
MAX_BYTES = 16 * 1024 * 1024
"""Memory of a conversation: the whole context window of an edge model is a thousandth of it."""
PIECE_BYTES = 160
"""What a generated token takes: its id, its text and the pair of them."""
CLAUSE_BYTES = 200
"""What a clause takes besides its text."""
FRONT = "root"
"""`previous_item_id` that puts an item before all others."""


class UnknownItem(LookupError):
    """No item of that id is in the conversation."""

    def __init__(self, item_id: str) -> None:
        super().__init__(f"Item '{item_id}' does not exist in this conversation.")
        self.item_id = item_id


class DuplicateItem(ValueError):
    """An item of that id is in the conversation already."""

    def __init__(self, item_id: str) -> None:
        super().__init__(f"An item '{item_id}' exists already in this conversation.")
        self.item_id = item_id


@dataclass(frozen=True, slots=True)
class SpokenClause:
    """A clause of an answer and when it sounds."""

    text: str
    begin_ms: float
    end_ms: float


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A function that the assistant wants the client to run."""

    call_id: str
    name: str
    arguments: str
    """JSON, as it was written."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the chat that the model is shown."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    tokens: tuple[int, ...] = ()
    """Ids that the whole line was generated as, its calls included; () for what no model wrote."""
    calls: tuple[FunctionCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """An entry of the conversation."""

    id: str
    kind: Kind
    role: Role | None = None
    text: str | None = ""
    """What was said; None while the audio of a user's item has not been transcribed."""
    modality: Literal["text", "audio"] = "text"
    is_complete: bool = True
    """False for an answer that was cut off or is still being made."""
    pieces: tuple[tuple[int, str], ...] = ()
    """(token id, text) as the model generated them; their text begins with `text`."""
    clauses: tuple[SpokenClause, ...] = ()
    """The clauses that were spoken and when they sound; empty for text."""
    heard_ms: float | None = None
    """How much of the audio was heard before an interruption; None: all of it."""
    call: FunctionCall | None = None
    """Of a function_call only."""
    data: Any = None
    """What else the client gave and must get back (call id, images); opaque here."""
    data_bytes: int = 0
    """What `data` takes in memory."""

    @property
    def size_bytes(self) -> int:
        """What the item takes in memory, estimated."""
        texts = [self.text or "", *(clause.text for clause in self.clauses)]
        if self.call is not None:
            texts += [self.call.call_id, self.call.name, self.call.arguments]
        words = sum(map(sys.getsizeof, texts))
        return self.data_bytes + words + PIECE_BYTES * len(self.pieces) + CLAUSE_BYTES * len(self.clauses)

    @property
    def audio_ms(self) -> float:
        """Length of the answer's audio."""
        return self.clauses[-1].end_ms if self.clauses else 0.0

    @property
    def line(self) -> Line | None:
        """What the model is shown: of an interrupted answer only what was heard, None if that is nothing.

        It ends where the last whole token does, so that text and tokens stay one and the cache still matches.
        """
        if self.kind == "function_call_output":
            return Line("tool", self.text or "")
        if self.call is not None:
            return Line("assistant", "", tuple(token for token, _ in self.pieces), (self.call,))
        if not self.text:
            return None
        text = self.text if self.heard_ms is None else _heard(self.clauses, self.heard_ms)
        tokens, covered = _tokens_within(self.pieces, len(text))
        if self.pieces and covered < len(text):
            text = text[:covered]
        return Line(self.role or "user", text, tokens) if text.strip() else None


def _tokens_within(pieces: tuple[tuple[int, str], ...], length: int) -> tuple[tuple[int, ...], int]:
    """The tokens whose text ends within `length` characters, and where it ends."""
    tokens: list[int] = []
    covered = 0
    for token, text in pieces:
        if covered + len(text) > length:
            while tokens and not pieces[len(tokens) - 1][1]:
                tokens.pop()  # the beginning of a character that does not stay
            break
        covered += len(text)
        tokens.append(token)
    return tuple(tokens), covered


def _heard(clauses: tuple[SpokenClause, ...], audio_ms: float) -> str:
    """The words that were over by `audio_ms`; a word begun is a word not heard."""
    return "".join(_heard_of(clause, audio_ms) for clause in clauses)


def _heard_of(clause: SpokenClause, audio_ms: float) -> str:
    """The words of one clause, if it is spoken at an even pace."""
    if audio_ms <= clause.begin_ms:
        return ""
    if audio_ms >= clause.end_ms:
        return clause.text
    share = (audio_ms - clause.begin_ms) / (clause.end_ms - clause.begin_ms)
    cut = clause.text[: int(share * len(clause.text))]
    return cut[: max(cut.rfind(" "), 0)]


@dataclass(slots=True)
class History:
    """The items of a conversation in their order, and how much of them the model still sees."""

    items: list[Item] = field(default_factory=list)
    forgotten: set[str] = field(default_factory=set)
    """Items that no longer fit the context window: still the client's to retrieve, not shown to the model."""
    max_items: int = 2000
    """The oldest item is dropped beyond this, so that a session's memory is bounded."""
    max_bytes: int = MAX_BYTES
    """The same for what they take in memory."""
    _bytes: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Weigh what is there."""
        self._bytes = sum(item.size_bytes for item in self.items)

    def get(self, item_id: str) -> Item:
        """Find an item.

        Raises:
            UnknownItem: there is none of that id.
        """
        return self.items[self._index(item_id)]

    def insert(self, item: Item, previous_id: str | None = None) -> str | None:
        """Put an item behind `previous_id` (None: at the end; "root": in front); return the id now before it.

        Raises:
            UnknownItem: `previous_id` is not here.
            DuplicateItem: the item's id is here already.
        """
        if any(known.id == item.id for known in self.items):
            raise DuplicateItem(item.id)
        if previous_id is None:
            position = len(self.items)
        elif previous_id == FRONT:
            position = 0
        else:
            position = self._index(previous_id) + 1
        before = self.items[position - 1].id if position else None
        self.items.insert(position, item)
        self._bytes += item.size_bytes
        self._drop_oldest()
        return before

    def update(self, item: Item) -> None:
        """Put `item` in the place of the one with its id; without effect when that was deleted meanwhile."""
        for index, known in enumerate(self.items):
            if known.id == item.id:
                self.items[index] = item
                self._bytes += item.size_bytes - known.size_bytes
                self._drop_oldest()
                return

    def delete(self, item_id: str) -> None:
        """Take an item out.

        Raises:
            UnknownItem: there is none of that id.
        """
        self._drop(self._index(item_id))

    def truncate(self, item_id: str, audio_end_ms: float) -> Item:
        """Keep of an answer only what was heard. The latest word on it counts, and it is clamped to the audio.

        What nobody spoke stays as it is.

        Raises:
            UnknownItem: there is none of that id.
        """
        item = self.get(item_id)
        if item.role != "assistant":
            return item
        item = replace(item, heard_ms=min(max(audio_end_ms, 0.0), item.audio_ms), is_complete=False)
        self.update(item)
        return item

    def heard_ms(self, item_id: str) -> float | None:
        """How much of an item's audio was heard, if it was cut off; None for items that are not here."""
        return next((item.heard_ms for item in self.items if item.id == item_id), None)

    def lines(self) -> list[Line]:
        """The chat as the model is to see it, without the instructions; calls belong to what was said before them."""
        lines: list[Line] = []
        whole = True  # whether the last line is what was generated, and so its tokens
        for item in self.items:
            if item.id in self.forgotten or (line := item.line) is None or (item.call and not item.is_complete):
                continue
            if item.call is not None and lines and lines[-1].role == "assistant":
                said = lines.pop()
                whole = whole and bool(said.tokens) and bool(line.tokens)
                tokens = said.tokens + line.tokens if whole else ()
                lines.append(Line("assistant", said.text, tokens, said.calls + line.calls))
            else:
                whole = item.is_complete
                lines.append(line)
        return lines

    def forget(self, budget: int, cost: Callable[[Line], int]) -> int:
        """Forget the oldest turns until the rest costs at most `budget` tokens; return how many items went.

        Turns go whole, as a chat must not begin with an answer to a question that is not there. What the client
        put in as "system" stays, and so does the last user item with what follows it.
        """
        remembered = [item for item in self.items if item.id not in self.forgotten and item.line is not None]
        costs = {item.id: cost(item.line) for item in remembered if item.line is not None}
        total = sum(costs.values())
        droppable = [item for item in remembered if item.role != "system"]
        users = [index for index, item in enumerate(droppable) if item.role == "user"]
        count = 0
        for index, item in enumerate(droppable[: users[-1] if users else 0]):
            begins_turn = item.role == "user" and (index == 0 or droppable[index - 1].role != "user")
            if (index == 0 or begins_turn) and total <= budget:
                break
            self.forgotten.add(item.id)
            total -= costs[item.id]
            count += 1
        return count

    def _drop_oldest(self) -> None:
        """Keep the bounds; the last item stays, however large it is."""
        while len(self.items) > 1 and (len(self.items) > self.max_items or self._bytes > self.max_bytes):
            self._drop(0)

    def _drop(self, index: int) -> None:
        item = self.items.pop(index)
        self._bytes -= item.size_bytes
        self.forgotten.discard(item.id)

    def _index(self, item_id: str) -> int:
        for index, item in enumerate(self.items):
            if item.id == item_id:
                return index
        raise UnknownItem(item_id)
