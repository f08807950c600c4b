"""What of a written text can be spoken: the words, without what is only meant for the eye.

Whatever a model writes, a voice gets letters, digits and the marks that it knows, in words of bounded length.
"""

from __future__ import annotations

import re
import unicodedata

FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
"""A code block; one that is not closed yet goes on to the end."""
LONGEST_WORD_CHARS = 48
"""What is longer is no word (the longest in English has 45 letters) but a hash or a key, and is read in parts: a voice
reads a word as a whole, in a time that grows with the cube of its parts."""
LONGEST_NUMBER_DIGITS = 15
"""A longer number is read digit by digit: nobody follows quadrillions."""
DIGITS_A_BREATH = 3
"""Of those; a voice that is slow then speaks them in short steps."""
MOST_MARKS = 2
"""Accents on one letter; Vietnamese has two."""
MOST_ALIKE = 3
"""Marks of punctuation in a row: the voice would speak for seconds on a hundred exclamation marks."""
KNOWN_MARKS = frozenset(".,!?;:…'\"’‘“”()-–—/&%@+=°$€£¥¢\u00d7÷±_")
"""What voices read out, or breathe at; "_" holds names of programs together."""

_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_URL = re.compile(r"https?://(?:www\.)?([^\s/]+)\S*")
_BULLET = re.compile(r"(?m)^\s*(?:[-*+•]|>|#{1,6})\s+")
_NUMBERED = re.compile(r"(?m)^\s*(\d{1,3})[.)]\s+")
_RULE = re.compile(r"(?m)^\s*(?:[-*_=|:]\s*){3,}$")
_EMPHASIS = re.compile(r"(\*{1,3}|_{1,3}|~~|`+)(?=\S)(.+?)(?<=\S)\1")
_STRAY = re.compile(r"[*`~#|<>\\{}\[\]]+|_{2,}|(?<![^\W_])_|_(?![^\W_])")
_SPACE = re.compile(r"\s+")
_SPACE_BEFORE_MARK = re.compile(r" +(?=[.,!?;:])")
_ALIKE = re.compile(rf"([^\w\s])\1{{{MOST_ALIKE},}}")
_LONG_WORD = re.compile(rf"(\S{{{LONGEST_WORD_CHARS}}})(?=\S)")
_LONG_NUMBER = re.compile(rf"[0-9]{{{LONGEST_NUMBER_DIGITS + 1},}}")
_BY_CATEGORY = {"Ps": "(", "Pe": ")", "Pi": "“", "Pf": "”", "Pd": "-"}
"""Brackets, quotation marks and dashes of other scripts, by those that a voice knows."""
_BY_CHARACTER = {"\u3001": ",", "\u3002": "."}
"""The comma and the full stop of Chinese and Japanese."""


def speakable(text: str) -> str:
    """Take out markdown, links, code blocks and emoji; keep the words.

    Returns:
        One line of letters, digits and `KNOWN_MARKS` with single spaces between words, at most five times as long as
        `text`; empty where there is no letter and no digit.
    """
    text = FENCE.sub(" ", text)
    text = _LINK.sub(r"\1", text)
    text = _URL.sub(r"\1", text)
    text = _RULE.sub(" ", text)
    text = _BULLET.sub("", text)
    text = _NUMBERED.sub(r"\1, ", text)
    text = _EMPHASIS.sub(r"\2", text)
    text = _STRAY.sub(" ", text)
    text = _known(text)
    text = _LONG_NUMBER.sub(lambda number: _digit_by_digit(number[0]), text)
    text = _SPACE_BEFORE_MARK.sub("", _SPACE.sub(" ", text)).strip()
    text = _ALIKE.sub(lambda run: run[1] * MOST_ALIKE, text)
    text = _LONG_WORD.sub(r"\1 ", text)
    return text if any(char.isalnum() for char in text) else ""


def _digit_by_digit(number: str) -> str:
    """A long number as it is dictated: "1 2 3, 4 5 6"."""
    groups = (number[at : at + DIGITS_A_BREATH] for at in range(0, len(number), DIGITS_A_BREATH))
    return f" {', '.join(' '.join(group) for group in groups)} "


def _known(text: str) -> str:
    """`text` with nothing in it that a voice does not know."""
    known: list[str] = []
    marks = 0
    for char in text:
        category = unicodedata.category(char)
        if category in {"Mn", "Mc"} and not _is_selector(char):
            marks += 1
            if marks <= MOST_MARKS:
                known.append(char)
            continue
        if category[0] in "MC" and not char.isspace():
            continue  # what is drawn around letters, or not at all, parts no words
        marks = 0
        if char in KNOWN_MARKS or category[0] == "L":
            known.append(char)
        elif category == "Nd":
            known.append(str(unicodedata.decimal(char)))
        elif category[0] == "N":
            known.append(_plain_number(char))
        elif category[0] == "P":
            known.append(_plain_mark(char, category))
        else:
            known.append(" ")
    return "".join(known)


def _is_selector(char: str) -> bool:
    """Whether it only says how the character before it is drawn (an emoji's variation)."""
    return "\ufe00" <= char <= "\ufe0f" or char >= "\U000e0100"


def _plain_number(char: str) -> str:
    """A fraction, a raised or a circled number as plain ones: "½" as " 1/2"."""
    plain = unicodedata.normalize("NFKC", char).replace("\u2044", "/")
    is_plain = plain.isascii() and plain.replace("/", "").isalnum()
    return (f" {plain}" if "/" in plain else plain) if is_plain else " "


def _plain_mark(char: str, category: str) -> str:
    plain = _BY_CHARACTER.get(char) or _BY_CATEGORY.get(category) or unicodedata.normalize("NFKC", char)
    if not all(mark in KNOWN_MARKS for mark in plain):
        return " "
    return f"{plain} " if category == "Po" else plain  # their own fonts have the space in the mark
