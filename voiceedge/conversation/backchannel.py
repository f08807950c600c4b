"""Sounds by which a listener says "go on": no turn is asked for, and the speaker should not stop (Yngve 1970)."""

from __future__ import annotations

import re

_SOUNDS = (
    "mm mmm mhm mmhm mmhmm hm hmm hmmm uh huh uhuh uhhuh uhum um ah aha ahh oh ooh yeah yep yup yes ya ok okay k right "
    "sure alright cool nice wow great good fine true exactly indeed really gotcha absolutely totally"
)
SOUNDS = frozenset(_SOUNDS.split())
"""Words that do so alone or together: "uh-huh", "yeah, right", "oh really"."""
_PHRASES = (
    "i see|got it|of course|all right|sounds good|that's right|that's true|makes sense|good to know|i know|fair enough"
    "|go on"
)
PHRASES = frozenset(_PHRASES.split("|"))
"""And these."""
LONGEST_WORDS = 4
"""Who says more takes the floor."""
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def is_backchannel(text: str) -> bool:
    """Whether `text` says no more than "go on".

    A question mark ("Really?") makes it a question; "no" and "stop" object.
    """
    words = [word.replace("’", "'") for word in _WORD.findall(text.lower())]
    if not words or len(words) > LONGEST_WORDS or "?" in text:
        return False
    return all(word in SOUNDS for word in words) or " ".join(_without_sounds(words)) in PHRASES


def _without_sounds(words: list[str]) -> list[str]:
    """What remains of "oh, I see" without its first sounds."""
    while words and words[0] in SOUNDS - {"all", "good"} and " ".join(words) not in PHRASES:
        words = words[1:]
    return words
