"""Word errors: what two texts are compared as, how many words differ, how sure a difference between engines is.

The normaliser follows the rules of openai/whisper's `EnglishTextNormalizer` as far as they matter to speech: what
sounds the same counts as the same. Numbers become words, for digits do not tell "2:30" from "two thirty".
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np

ONES = re.findall(
    r"\w+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen",
)
TENS = ("zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip
FILLERS = frozenset({"hm", "hmm", "mm", "mhm", "mmm", "uh", "um"})
"""Whisper leaves them out or writes them, as it likes."""
CONTRACTIONS = (
    (r"\bwon't\b", "will not"),
    (r"\bcan't\b", "can not"),
    (r"\bcannot\b", "can not"),
    (r"\blet's\b", "let us"),
    (r"\b(it|that|there|here|what|who|how|where|he|she)'s\b", r"\1 is"),
    (r"n't\b", " not"),
    (r"'re\b", " are"),
    (r"'ll\b", " will"),
    (r"'ve\b", " have"),
    (r"'m\b", " am"),
    (r"\bgonna\b", "going to"),
    (r"\bwanna\b", "want to"),
    (r"\by'?know\b", "you know"),
)
SPELLINGS = {
    "mr": "mister", "mrs": "missus", "dr": "doctor", "st": "saint", "ok": "okay", "oz": "ounce", "iced": "ice",
    "alright": "all right", "colour": "color", "coloured": "colored", "colours": "colors", "humour": "humor",
    "favour": "favor", "favourite": "favorite", "honour": "honor", "grey": "gray", "centre": "center", "metre": "meter",
    "metres": "meters", "cosy": "cozy", "enquiries": "inquiries",
}  # fmt: skip


def words(text: str) -> list[str]:
    """The words of `text` as they are compared.

    Lower case; without punctuation, accents, fillers and what stands in brackets; hyphens part words; contractions are
    written out; numbers, ordinals, sums of money and times are in words; American spelling where British differs.
    """
    plain = unicodedata.normalize("NFKD", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    plain = re.sub(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>", " ", plain)
    plain = re.sub(r"(?<=\d):00(?!\d)", " ", plain)
    plain = re.sub(r"(?<=\d)[.:](\d\d)(?=[.\s]*[ap]\.?m\b)", r" \1", plain)
    plain = re.sub(r"\b([ap])\.m\b\.?|(?<=\d)[.\s]*([ap])m\b", lambda found: f" {found[1] or found[2]} m", plain)
    plain = re.sub(r"(?<=\d),(?=\d{3}\b)", "", plain)
    plain = re.sub(r"\$(\d+)", r"\1 dollars", plain).replace("%", " percent").replace("&", " and ")
    plain = re.sub(r"(?<=\d)\.(?=\d)", " point ", plain)
    for pattern, written_out in CONTRACTIONS:
        plain = re.sub(pattern, written_out, plain)
    plain = re.sub(r"(?<=\d)(?=[a-z])(?!st\b|nd\b|rd\b|th\b)|(?<=[a-z])(?=\d)", " ", plain)
    compared: list[str] = []
    for word in re.findall(r"[a-z0-9][a-z0-9']*", plain.replace("'s", "s")):
        compared += _in_words(word) if word[0].isdigit() else SPELLINGS.get(word, word).split()
    return [word.replace("'", "") for word in compared if word not in FILLERS]


def _in_words(digits: str) -> list[str]:
    """A number or an ordinal ("20", "1465", "3rd") as it is read out."""
    found = re.match(r"\d+", digits)
    assert found
    if not digits[found.end() :]:
        return _cardinal(found[0])
    *first, last = _cardinal(found[0])
    ordinal = ORDINALS.get(last) or (f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")
    return [*first, ordinal]


def _cardinal(digits: str) -> list[str]:
    number = int(digits)
    if len(digits) > 6 or (digits[0] == "0" and len(digits) > 1):
        return [ONES[int(digit)] for digit in digits]
    if number < 20:
        return [ONES[number]]
    if number < 100:
        return [TENS[number // 10], *([ONES[number % 10]] if number % 10 else [])]
    is_year = 1100 <= number < 2000 or 2010 <= number < 2100
    if is_year and number % 100 >= 10:
        return [*_cardinal(str(number // 100)), *_cardinal(str(number % 100))]
    unit, name = (100, "hundred") if number < 1000 or is_year else (1000, "thousand")
    return [*_cardinal(str(number // unit)), name, *(_cardinal(str(number % unit)) if number % unit else [])]


def errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """Substitutions, insertions and deletions that turn one into the other (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


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
