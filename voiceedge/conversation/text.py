"""From the text that a model writes to clauses that a voice can speak.

`Clauses` cuts a growing text where a speaker would breathe; `speakable` takes out what is only meant for
the eye. A clause keeps both forms: `written` is the caption and the history, `spoken` goes to the voice.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

FIRST_CLAUSE_CHARS = 14
"""A first clause shorter than this ("Well,") sounds clipped when it is spoken alone."""
LATER_CLAUSE_CHARS = 120
"""Later sentences are kept whole up to here: whole sentences have the better melody."""
LONGEST_CLAUSE_CHARS = 220
"""A text without any punctuation is cut at a space after this many characters."""
LONGEST_CODE_CHARS = 20 * LONGEST_CLAUSE_CHARS
"""A code block is dropped whole, so it is not cut; one that is not closed by then is."""

_ABBREVIATIONS = frozenset(
    [
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "sr",
        "jr",
        "st",
        "mt",
        "vs",
        "etc",
        "e.g",
        "i.e",
        "a.m",
        "p.m",
        "u.s",
        "u.k",
        "no",
        "nos",
        "vol",
        "fig",
        "dept",
        "approx",
        "inc",
        "ltd",
        "co",
        "corp",
        "gen",
        "col",
        "sgt",
        "capt",
        "lt",
        "rev",
        "hon",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "sept",
        "oct",
        "nov",
        "dec",
    ]
)
_TITLES_ONLY = frozenset(
    [
        "mr",
        "mrs",
        "ms",
        "dr",
        "prof",
        "st",
        "mt",
        "vs",
        "e.g",
        "i.e",
        "gen",
        "col",
        "sgt",
        "capt",
        "lt",
        "rev",
        "hon",
        "fig",
        "approx",
    ]
)
"""Abbreviations that never end a sentence."""
_BREAK = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)|\n|[,;:—](?=\s)|\s–\s")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*$|\n$")
_LIST_NUMBER = re.compile(r"(?:^|\n)\s*\d{1,3}\.$")

_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_URL = re.compile(r"https?://(?:www\.)?([^\s/]+)\S*")
_BULLET = re.compile(r"(?m)^\s*(?:[-*+•]|>|#{1,6})\s+")
_NUMBERED = re.compile(r"(?m)^\s*(\d{1,3})[.)]\s+")
_RULE = re.compile(r"(?m)^\s*(?:[-*_=|:]\s*){3,}$")
_EMPHASIS = re.compile(r"(\*{1,3}|_{1,3}|~~|`+)(?=\S)(.+?)(?<=\S)\1")
_STRAY = re.compile(r"[*`~#|<>\\{}\[\]]+|_{2,}|(?<![^\W_])_|_(?![^\W_])")
_SPACE = re.compile(r"\s+")
_SPACE_BEFORE_MARK = re.compile(r" +(?=[.,!?;:])")
_UNSPEAKABLE = frozenset({"So", "Sk", "Cs", "Co", "Cn", "Cf", "Cc"})
"""Unicode categories of emoji, modifiers, joiners and controls."""


@dataclass(frozen=True, slots=True)
class Clause:
    """A piece of the answer that is spoken in one go."""

    written: str
    """As the model wrote it, white space included: the clauses of an answer add up to its text."""
    spoken: str
    """As the voice gets it; empty when nothing of it can be spoken."""


def speakable(text: str) -> str:
    """Take out markdown, links, code blocks and emoji; keep the words."""
    text = _FENCE.sub(" ", text)
    text = _LINK.sub(r"\1", text)
    text = _URL.sub(r"\1", text)
    text = _RULE.sub(" ", text)
    text = _BULLET.sub("", text)
    text = _NUMBERED.sub(r"\1, ", text)
    text = _EMPHASIS.sub(r"\2", text)
    text = _STRAY.sub(" ", text)
    text = "".join(
        " " if char.isspace() else char
        for char in text
        if char.isspace() or char == "°" or unicodedata.category(char) not in _UNSPEAKABLE
    )
    text = _SPACE_BEFORE_MARK.sub("", _SPACE.sub(" ", text)).strip()
    return text if any(char.isalnum() for char in text) else ""


class Clauses:
    """Cuts a growing text into clauses: the same ones, however the text is cut into pieces.

    The first one is cut early, at a comma if there is one, because the listener waits for it; later ones are
    whole sentences while they are not too long.
    """

    def __init__(self) -> None:
        self._pending = ""
        self._count = 0

    def push(self, text: str) -> list[Clause]:
        """Take more text; return the clauses that are complete."""
        self._pending += text
        clauses = []
        while (end := self._next_end()) is not None:
            clauses.append(self._take(end))
        return clauses

    def flush(self) -> list[Clause]:
        """Return what is left when the text is over."""
        return [self._take(len(self._pending))] if self._pending else []

    def _take(self, end: int) -> Clause:
        written, self._pending = self._pending[:end], self._pending[end:]
        clause = Clause(written, speakable(written))
        self._count += bool(clause.spoken)
        return clause

    def _next_end(self) -> int | None:
        blocks = [match.span() for match in _FENCE.finditer(self._pending)]
        for match in _BREAK.finditer(self._pending, 0, LONGEST_CLAUSE_CHARS):
            end = match.end()
            if not _within(blocks, end) and self._breaks_at(end):
                return end
        if len(self._pending) <= LONGEST_CLAUSE_CHARS:
            return None
        space = self._pending.rfind(" ", 0, LONGEST_CLAUSE_CHARS)
        end = space if space > 0 else LONGEST_CLAUSE_CHARS
        if (block := _within(blocks, end)) is None:
            return end
        end = min(block[1], LONGEST_CODE_CHARS)
        is_closed = self._pending.endswith("```", block[0] + 3, block[1])
        return end if is_closed or end == LONGEST_CODE_CHARS else None

    def _breaks_at(self, end: int) -> bool:
        before = self._pending[:end]
        if not speakable(before):
            return False
        if _SENTENCE_END.search(before):
            return not _is_abbreviation(before, self._pending[end:]) and not _LIST_NUMBER.search(before)
        enough = FIRST_CLAUSE_CHARS if self._count == 0 else LATER_CLAUSE_CHARS
        return len(before.strip()) >= enough


def _within(blocks: list[tuple[int, int]], end: int) -> tuple[int, int] | None:
    """The code block that a cut at `end` would go through."""
    return next((block for block in blocks if block[0] < end <= block[1]), None)


def _is_abbreviation(before: str, after: str) -> bool:
    """Whether the full stop that `before` ends with belongs to an abbreviation or an initial."""
    if not before.endswith("."):
        return False
    word = before[:-1].rsplit(maxsplit=1)[-1].lstrip("(\"'“‘") if before[:-1].strip() else ""
    if len(word) == 1 and word.isalpha() and word != "I":
        return True
    folded = word.lower()
    if folded in _TITLES_ONLY:
        return True
    if folded not in _ABBREVIATIONS or after.startswith("\n"):
        return False
    # with nothing behind the space yet, it is not known whether the sentence goes on: wait
    return not after[1:2].isupper()
