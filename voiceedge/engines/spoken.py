"""What both voices share: from text to phonemes with hibari's G2P, and from raw speech to what is worth hearing."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator

import numpy as np
from hibari import Hibari

from voiceedge.audio.pcm import PCM, first_audible, last_audible

LEAD_S = 0.015
"""Kept before the first audible window: the onset of a soft consonant is below what counts as audible."""
FADE_S = 0.005
"""Ramp at both ends, so that a cut is not heard as a click."""
PAUSES_S = {".": 0.3, "!": 0.3, "?": 0.3, "…": 0.3, ":": 0.2, ";": 0.2, ",": 0.15, "—": 0.15}
"""Silence kept behind a sentence, by the mark that it ends with; it is the pause before the next clause."""
SHORTEST_PAUSE_S = 0.08
"""Behind a text without such a mark."""

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


def worth_hearing(audio: PCM, rate_hz: int, phonemes: str, speed: float) -> PCM:
    """`audio` from just before its first audible window to the end of the pause that its last mark asks for.

    Voices begin with 0.2 to 0.4 s of silence, which the listener would wait for. Empty where nothing is audible.
    """
    first, last = first_audible(audio, rate_hz), last_audible(audio, rate_hz)
    if first is None or last is None:
        return np.zeros(0, dtype=np.float32)
    pause_s = PAUSES_S.get(phonemes.rstrip(' "”’)')[-1], SHORTEST_PAUSE_S) / speed
    begin = max(0, first - round(LEAD_S * rate_hz))
    trimmed = audio[begin : last + 1 + round(pause_s * rate_hz)].copy()
    ramp = np.linspace(0.0, 1.0, min(round(FADE_S * rate_hz), trimmed.size), dtype=np.float32)
    trimmed[: ramp.size] *= ramp
    trimmed[trimmed.size - ramp.size :] *= ramp[::-1]
    return trimmed


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
