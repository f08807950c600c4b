"""What both voices share: from text to phonemes with hibari's G2P, and from raw speech to what is worth hearing."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from hibari import Hibari

from voiceedge.audio.pcm import AUDIBLE_DBFS, PCM, first_audible, last_audible, level_dbfs

ONSET_S = 0.0025
"""Precision with which the first audible sound is found."""
LEAD_S = 0.003
"""Kept before it, faded in. What is cut is quieter than -50 dBFS even in the breath of an h."""
FADE_S = 0.005
"""Ramp at the end, so that a cut is not heard as a click."""
PAUSES_S = {".": 0.3, "!": 0.3, "?": 0.3, "…": 0.3, ":": 0.25, ";": 0.25, ",": 0.2, "—": 0.2}
"""Silence kept behind a sentence, by the mark that it ends with; it is the pause before the next clause."""
SHORTEST_PAUSE_S = 0.08
"""Behind a text without such a mark."""
GOES_ON = " wˌɛn"
"""A word put behind an unfinished sentence, and cut off again: whatever the punctuation, a voice falls (hibari by 5
semitones) and slows down (its last four phonemes by 250 ms) at the end of its text. With a word behind it, it is
within 0.6 semitones and 50 ms of the whole sentence, also at a comma."""
BEFORE_PHONEMES = 20
"""Of what was spoken before: more of it changes nothing. Without it, a voice begins 5 semitones too high."""
JOINT_S = 0.007
"""How far a piece reaches beyond the place where it is joined to the next one, at either side of it."""

NUMERO = re.compile(r"\bNo\.\s*(?=\d)")
"""The abbreviation, which the package takes for the end of a sentence."""
FINAL_NO = re.compile(r"\bno\.", re.IGNORECASE)
"""The word at the end of a sentence, which the package reads as "number"; set apart, it does not."""
LONG_NUMBER = re.compile(r"(\d{15})(?=\d)")
"""Its names for powers of a thousand end somewhere; longer numbers are read in parts."""
CLAUSE_END = re.compile(r"(?<=[,;:—]) ")
"""Where phonemes may be cut without being noticed: the speaker would breathe."""


def phonemes_of(text: str, g2p: Callable[[str], str], *, whole: int, longest: int) -> Iterator[str]:
    """Phonemes of each part of `text` that is spoken in one step; parts without any sound are left out.

    Args:
        text: of any length.
        g2p: from a sentence to phonemes (`hibari.g2p.G2P`).
        whole: phonemes up to which a sentence stays in one part; a longer one is cut at the ends of its clauses.
        longest: phonemes at which it is cut between words, where no clause ends before.
    """
    readable = FINAL_NO.sub("no .", NUMERO.sub("number ", LONG_NUMBER.sub(r"\1 ", text)))
    for sentence in Hibari.split_sentences(readable):
        for clauses in _joined_clauses(g2p(sentence), whole):
            for part in textwrap.wrap(clauses, longest, break_on_hyphens=False):
                if any(phoneme.isalpha() for phoneme in part):  # lone punctuation comes out as a gasp
                    yield part


def last_words(parts: Iterable[str]) -> str:
    """The last `BEFORE_PHONEMES` of `parts`, from the beginning of a word and with a space behind; empty for none."""
    begun = " ".join(parts)
    if len(begun) > BEFORE_PHONEMES:
        begun = begun[begun.find(" ", len(begun) - BEFORE_PHONEMES) + 1 :]
    return f"{begun} " if begun else ""


def worth_hearing(
    audio: PCM, rate_hz: int, phonemes: str, speed: float, *, is_begun: bool = False, goes_on: bool = False
) -> PCM:
    """`audio` from just before its first audible window to the end of the pause that its last mark asks for.

    Voices begin with 0.2 to 0.4 s of silence, which the listener would wait for. Empty where nothing is audible. What
    `is_begun` or `goes_on` is not cut at that end, nor faded: it will be joined to other speech there.
    """
    first, last = first_audible(audio, rate_hz), last_audible(audio, rate_hz)
    if first is None or last is None:
        return np.zeros(0, dtype=np.float32)
    mark = phonemes.rstrip(' "”’)')[-1]
    pause_s = PAUSES_S.get(mark, SHORTEST_PAUSE_S) / speed
    begin = 0 if is_begun else max(0, _onset(audio, first, rate_hz) - round(LEAD_S * rate_hz))
    end = last + 1 + round(pause_s * rate_hz)
    trimmed = audio[begin:end].copy()
    if not is_begun:
        rise = np.linspace(0.0, 1.0, min(round(LEAD_S * rate_hz), trimmed.size), dtype=np.float32)
        trimmed[: rise.size] *= rise
    missing = end - audio.size if goes_on and mark in PAUSES_S else 0  # the joint came before the pause was over
    if not goes_on or end < audio.size or missing > 0:
        fall = np.linspace(1.0, 0.0, min(round(FADE_S * rate_hz), trimmed.size), dtype=np.float32)
        trimmed[trimmed.size - fall.size :] *= fall
    return np.pad(trimmed, (0, max(0, missing)))


def _onset(audio: PCM, first: int, rate_hz: int) -> int:
    """Where the sound begins in the audible window (10 ms) that begins at `first`."""
    step = round(ONSET_S * rate_hz)
    starts = range(first, first + 4 * step, step)
    return next((at for at in starts if level_dbfs(audio[at : at + step]) > AUDIBLE_DBFS), first)


def _joined_clauses(phonemes: str, whole: int) -> Iterator[str]:
    """Parts of at least a third of `whole`, each of one or more clauses."""
    rest = phonemes
    shortest = whole // 3
    while len(rest) > whole:
        ends = (mark.end() for mark in CLAUSE_END.finditer(rest, shortest, len(rest) - shortest))
        end = next(ends, len(rest))
        yield rest[:end].rstrip()
        rest = rest[end:]
    if rest:
        yield rest
