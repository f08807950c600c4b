"""How many words a node hears wrongly. Pure.

The normaliser follows the rules of openai/whisper's `EnglishTextNormalizer` as far as they matter to speech: what
sounds the same counts as the same. Numbers become words, for digits do not tell "2:30" from "two thirty".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

WRONG_ABOVE = 0.5
"""Word errors for each word said: with more, the answer is one to another question."""

_ONES = re.findall(
    r"\w+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen",
)
_TENS = ("zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip
_FILLERS = frozenset({"hm", "hmm", "mm", "mhm", "mmm", "uh", "um"})
"""Whisper leaves them out or writes them, as it likes."""
_CONTRACTIONS = (
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
_SPELLINGS = {
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
    for pattern, written_out in _CONTRACTIONS:
        plain = re.sub(pattern, written_out, plain)
    plain = re.sub(r"(?<=\d)(?=[a-z])(?!st\b|nd\b|rd\b|th\b)|(?<=[a-z])(?=\d)", " ", plain)
    compared: list[str] = []
    for word in re.findall(r"[a-z0-9][a-z0-9']*", plain.replace("'s", "s")):
        compared += _in_words(word) if word[0].isdigit() else _SPELLINGS.get(word, word).split()
    return [word.replace("'", "") for word in compared if word not in _FILLERS]


def _in_words(digits: str) -> list[str]:
    """A number or an ordinal ("20", "1465", "3rd") as it is read out."""
    found = re.match(r"\d+", digits)
    assert found
    if not digits[found.end() :]:
        return _cardinal(found[0])
    *first, last = _cardinal(found[0])
    ordinal = _ORDINALS.get(last) or (f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th")
    return [*first, ordinal]


def _cardinal(digits: str) -> list[str]:
    number = int(digits)
    if len(digits) > 6 or (digits[0] == "0" and len(digits) > 1):
        return [_ONES[int(digit)] for digit in digits]
    if number < 20:
        return [_ONES[number]]
    if number < 100:
        return [_TENS[number // 10], *([_ONES[number % 10]] if number % 10 else [])]
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


def is_wrong(expected: str | None, heard: str) -> bool:
    """Whether more than half of what was said was heard wrongly; never where nobody knows what was said."""
    said = words(expected or "")
    return bool(said) and errors(said, words(heard)) > WRONG_ABOVE * len(said)


@dataclass(frozen=True, slots=True)
class Transcripts:
    """What became of the words that the recordings are known to hold."""

    turns: int
    """Turns whose words are known."""
    exact: int
    """Of those, without any word error."""
    wrong: int
    """Of those, with more than half of the words wrong."""
    words: int
    errors: int

    @property
    def error_rate_percent(self) -> float:
        """Word errors for each hundred words said; above 100 where many are made up."""
        return 100.0 * self.errors / self.words


def transcripts(turns: Iterable[tuple[str | None, str]]) -> Transcripts | None:
    """Compare what was said with what was heard.

    Args:
        turns: (expected, heard) of each turn; expected is None where nobody knows what was said. A turn that was
            not transcribed has all of its words wrong.

    Returns:
        None when nothing can be compared: no words are known, or none in letters that the comparison knows.
    """
    pairs = [(said, words(heard)) for expected, heard in turns if (said := words(expected or ""))]
    if not pairs:
        return None
    missed = [errors(said, heard) for said, heard in pairs]
    return Transcripts(
        turns=len(pairs),
        exact=missed.count(0),
        wrong=sum(count > WRONG_ABOVE * len(said) for count, (said, _) in zip(missed, pairs, strict=True)),
        words=sum(len(said) for said, _ in pairs),
        errors=sum(missed),
    )
