"""Where a growing English text may be cut: behind sentences, at commas and their like, before phrases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from voiceedge.conversation.phrases import LONGEST_OPENER_CHARS, ends_phrase
from voiceedge.conversation.speakable import FENCE, speakable

LOOKAHEAD_CHARS = LONGEST_OPENER_CHARS + 2
"""What must be seen behind a place to know whether the text may be cut there: a space, the longest word that opens a
phrase, and the space behind it."""


class Kind(IntEnum):
    """What ends at a break; the higher, the better the place."""

    PHRASE = 1
    PART = 2
    """Up to a comma, semicolon, colon or dash."""
    SENTENCE = 3
    """Or a line."""


class Break(NamedTuple):
    """A place where the text may be cut."""

    end: int
    """Characters before it; the space behind it belongs to what follows."""
    kind: Kind


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TITLES_ONLY = _words("mr mrs ms dr prof st mt vs e.g i.e gen col sgt capt lt rev hon fig approx")
"""Abbreviations that never end a sentence."""
_ABBREVIATIONS = _TITLES_ONLY | _words(
    "sr jr etc a.m p.m u.s u.k no nos vol dept inc ltd co corp jan feb mar apr jun jul aug sep sept oct nov dec"
)
_MARK = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)|\n|[,;:—](?=\s)|\s–\s| (?=[a-z(])")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*$|\n$")
_LIST_NUMBER = re.compile(r"(?:^|\n)\s*\d{1,3}\.$")
_OPENER = re.compile(rf" ([a-z]{{1,{LONGEST_OPENER_CHARS}}})\s")


def breaks(text: str, longest: int) -> Iterator[Break]:
    """Places in the first `longest` characters of `text`, in order; none of them within a code block.

    What is not known yet is not told: a break is given once the text goes on far enough behind it, and whatever comes
    later does not take it back.
    """
    blocks = [match.span() for match in FENCE.finditer(text)]
    has_words = False
    for match in _MARK.finditer(text, 0, longest):
        end = match.start() if match.group() == " " else match.end()
        kind = _kind_at(text, end, longest, is_space=match.group() == " ")
        if kind is None or within(blocks, end) is not None:
            continue
        has_words = has_words or bool(speakable(text[:end]))
        if has_words:
            yield Break(end, kind)


def _kind_at(text: str, end: int, longest: int, *, is_space: bool) -> Kind | None:
    before = text[:end]
    if is_space:
        opener = _OPENER.match(text, end, longest)
        is_phrase = text.startswith(" (", end) or (opener is not None and ends_phrase(before, opener[1]))
        return Kind.PHRASE if is_phrase else None
    if not _SENTENCE_END.search(before):
        return Kind.PART
    if _is_abbreviation(before, text[end:]) or _LIST_NUMBER.search(before):
        return None
    return Kind.SENTENCE


def within(blocks: list[tuple[int, int]], end: int) -> tuple[int, int] | None:
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
