"""What engines for speech-to-text are compared by beside word errors, and how sure a difference between them is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

import numpy as np

from voiceedge.bench.words import words


def slots(notes: str) -> list[list[str]]:
    """What a coffee order must get across, as words; none when the notes of the manifest name no slots."""
    found = re.search(r"source gives slots only: (\{.*?\})", notes)
    return [words(value) for value in json.loads(found[1]).values()] if found else []


def missed(wanted: Sequence[Sequence[str]], heard: Sequence[str]) -> int:
    """How many of `wanted` do not occur in `heard`, word by word and in order."""
    return sum(not _holds(heard, phrase) for phrase in wanted)


def _holds(heard: Sequence[str], phrase: Sequence[str]) -> bool:
    size = len(phrase)
    return any(list(heard[at : at + size]) == list(phrase) for at in range(len(heard) - size + 1))


def runs_in_circles(said: Sequence[str] | None, heard: Sequence[str]) -> bool:
    """Whether `heard` repeats a phrase more often in a row than anything was said; three times where that is unknown.

    A single word may come once too often: that is a word misheard ("five five" for "nine five").
    """
    spoken = 2 if said is None else max((copies for _, copies in _phrases(said)), default=1)
    return any(copies > spoken + (size == 1 and said is not None) for size, copies in _phrases(heard))


def _phrases(text: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Every phrase of a text: how many words it has, and how often it comes in a row."""
    for size in range(1, len(text) + 1):
        for at in range(len(text) - size + 1):
            copies = 1
            while text[at + copies * size : at + (copies + 1) * size] == text[at : at + size]:
                copies += 1
            yield size, copies


def interval(first: Sequence[int], second: Sequence[int], counted: Sequence[int]) -> tuple[float, float]:
    """95 % bootstrap interval of the difference of two error rates (first - second), in points: clips are drawn again.

    Args:
        first: errors of the one engine, a clip each.
        second: errors of the other on the same clips.
        counted: words (or slots) in each clip.
    """
    more, size = np.subtract(first, second), np.asarray(counted)
    drawn = np.random.default_rng(0).integers(0, size.size, (10_000, size.size))
    points = 100 * more[drawn].sum(axis=1) / size[drawn].sum(axis=1)
    low, high = np.percentile(points, [2.5, 97.5])
    return float(low), float(high)
