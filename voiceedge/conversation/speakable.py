"""What of a written text can be spoken: the words, without what is only meant for the eye."""

from __future__ import annotations

import re
import unicodedata

FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
"""A code block; one that is not closed yet goes on to the end."""

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


def speakable(text: str) -> str:
    """Take out markdown, links, code blocks and emoji; keep the words."""
    text = FENCE.sub(" ", text)
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
