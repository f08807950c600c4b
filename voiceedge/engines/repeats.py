"""Tells a phrase that was said twice from a decoder that runs in circles.

A looping decoder is sure of itself, so probabilities do not give it away. Time does: the copies that nobody
said have no audio of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

SHARE_OF_FIRST = 0.25
"""A copy is believed when it has more than this share of the first one's time: people repeat themselves faster, and
places are only known to about a tenth of a second. Copies out of a loop have next to none."""


def count_said(words: Sequence[str], starts_s: Sequence[float], audible_s: tuple[float, float]) -> int:
    """How many tokens to keep of a text that may run in circles.

    Args:
        words: one entry a token, as for `find_repeats`.
        starts_s: where each token begins in the audio, in seconds.
        audible_s: begin and end of the audible stretch, in seconds.
    """
    begin_s, end_s = audible_s
    # what is placed behind the last sound was not said
    late = (index for index, word in enumerate(words) if word and starts_s[index] >= end_s)
    kept = next(late, len(words))
    copies = find_repeats(words[:kept])
    if copies is None:
        return kept
    edges_s = [min(max(starts_s[copy], begin_s), end_s) for copy in copies] + [end_s]
    first_s, *others_s = (to_s - from_s for from_s, to_s in pairwise(edges_s))
    for copy, copy_s in zip(copies[1:], others_s, strict=True):
        if copy_s <= SHARE_OF_FIRST * first_s:
            return copy
    # the time may also be with a later copy; the last copy of a single word has the noise behind it for itself
    is_phrase = sum(1 for word in words[copies[0] : copies[1]] if word) > 1
    return copies[1] if is_phrase and first_s <= SHARE_OF_FIRST * max(others_s) else kept


def find_repeats(words: Sequence[str]) -> tuple[int, ...] | None:
    """Find the phrase that a text ends with at least twice in a row; None when there is none.

    Args:
        words: one entry a token, in lower case; empty ones (punctuation) are looked past.

    Returns:
        Index of the token at which each copy begins; the last copy may be incomplete.
    """
    spoken = [(index, word) for index, word in enumerate(words) if word]
    covered, phrase = 0, 0
    for length in range(1, len(spoken) // 2 + 1):
        run = 0
        while run < len(spoken) - length and spoken[-1 - run][1] == spoken[-1 - run - length][1]:
            run += 1
        if run >= length and run + length > covered:
            covered, phrase = run + length, length
    if not covered:
        return None
    return tuple(spoken[place][0] for place in range(len(spoken) - covered, len(spoken), phrase))
