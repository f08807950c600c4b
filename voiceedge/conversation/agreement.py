"""What can be shown of a transcript while the user is still talking.

Every hypothesis is made of a beginning of the utterance, and each may change its mind about the last words of the one
before. What two in a row agree on is hardly ever taken back (local agreement: Liu, Spanakis and Niehues 2020,
"Low-latency sequence-to-sequence speech recognition and translation by partial hypothesis selection").
"""

from __future__ import annotations

import re
from itertools import takewhile

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
"""Letters and digits. A hyphen parts words: "medium-roast" and "medium roast" are the same two."""


class Agreement:
    """The part of a growing transcript on which two successive hypotheses agree.

    Words agree whatever their case and the punctuation around them, and are shown as the later hypothesis has them.
    Held back are the last word of either hypothesis, which its audio may have cut off, and the punctuation behind the
    last word shown, which depends on what comes next.
    """

    def __init__(self) -> None:
        self.said = ""
        """All that was shown so far: the deltas, one behind the other. It only ever grows."""
        self._words: list[str] = []
        self._before: list[str] = []

    def push(self, text: str) -> str:
        """Take the next hypothesis; return what can be shown now, empty when there is nothing new."""
        words = _words(text)
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(self._before, words, strict=False)))
        stable = min(shared, len(self._before) - 1, len(words) - 1)
        self._before = words
        shown = len(self._words)
        if stable <= shown or words[:shown] != self._words:
            return ""
        delta = text[_end(text, shown) : _end(text, stable)]
        self._words = words[:stable]
        self.said += delta
        return delta

    def finish(self, text: str) -> str | None:
        """What the whole transcript `text` has behind that which was shown.

        None when it contradicts what was shown: then only the whole can be right.
        """
        shown = len(self._words)
        return text[_end(text, shown) :] if _words(text)[:shown] == self._words else None


def _words(text: str) -> list[str]:
    """Words as they are compared."""
    return [word.casefold().replace("’", "'") for word in _WORD.findall(text)]


def _end(text: str, count: int) -> int:
    """Where the first `count` words of `text` end; it has as many."""
    ends = [0, *(match.end() for match in _WORD.finditer(text))]
    return ends[count]
