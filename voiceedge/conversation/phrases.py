"""Where a speaker could breathe inside an English sentence that has no punctuation yet.

A phrase ends before a word that opens the next one: a verb behind its subject, a relative pronoun, a conjunction, a
preposition. It never ends behind a word that asks for another (an article, a preposition, "very", a number), and not
inside a name, a quotation or a pair ("between five and ten"). Word lists decide, so that nothing has to be known of
what follows but the opening word itself; a word that is on no list opens nothing, and the cut comes later.
"""

from __future__ import annotations

import re

FEWEST_WORDS = 4
"""In a phrase: about a second of speech. Shorter ones sound chopped, and end before the next one is ready."""
FEWEST_WORDS_BEFORE_TO = 5
"""What stands right before "to" often asks for it ("I would like to"); later on, a breath is possible."""
LONGEST_OPENER_CHARS = 10
"""Of "throughout": what must be seen behind a place to know whether a phrase ends there, and a space."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VERBS = _words(
    "is are was were has have had can could will would should may might must lies means includes involves equals"
)
_SUBORDINATE = _words(
    "because although though while when where whereas if unless until since which who whose that before after"
)
_COORDINATE = frozenset(["and", "or", "but"])
_PREPOSITIONS = _words(
    "in on at with without for from by into through during between among against across near within throughout towards"
)
_DETERMINERS = _words("a an the my your his her its our their this these those some any no every each another")
_OPENERS = _VERBS | _SUBORDINATE | _COORDINATE | _PREPOSITIONS | {"to"}

_PRONOUNS = _words("i you he she it we they there here who which what that")
"""A verb stays with these: "that you | can" is no breath."""
_INTENSIFIERS = _words(
    "very too so quite really pretty just only even also not most more less as such almost nearly approximately"
    " around roughly ever long soon shortly right over under up out off at least about once twice"
)
_UNFINISHED = (
    _VERBS
    | _SUBORDINATE
    | _COORDINATE
    | _PREPOSITIONS
    | _DETERMINERS
    | _INTENSIFIERS
    | _words(
        "to of than like be been being am do does did i he she we they both either neither what how why all many"
        " much few several other let don't doesn't didn't can't won't isn't aren't wasn't couldn't wouldn't shouldn't"
        " i'm i'd i'll i've you're you'd you'll you've he's she's it's we're we'd we'll we've they're they'd they'll"
        " they've there's that's what's here's who's let's"
    )
)
"""Words that ask for another."""
_ASK_FOR_TO = _words(
    "want wants wanted need needs going able have used listen next close due according related similar likely ought"
    " supposed try trying like love prefer hope wish addition order regard comparison contrast response thanks back"
    " get got go goes went come came refer refers belong belongs lead leads"
)
_ASK_FOR_PREPOSITION = _words(
    "depends depend based focus focused relies rely interested involved turn log sign look looking talk talking think"
    " thinking ask asking wait waiting search known deal consist consists made feel go come get put"
    " start begin starts begins"
)
_NUMBER = re.compile(
    r".*\d.*|(?:.*-)?(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|"
    r"thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|billion|half)"
)
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_PAIRS = frozenset(["between", "both", "either", "neither"])
_QUOTING = '"*_`'
"""Marks that open and close something when they stand twice."""


def ends_phrase(phrase: str, opener: str) -> bool:
    """Whether `phrase`, from the last cut on, can be spoken alone when `opener` is the next word.

    Both are as the model wrote them; `opener` is a whole word with what clings to it.
    """
    words = phrase.replace("’", "'").split()
    if opener not in _OPENERS or len(words) < FEWEST_WORDS or _is_open(phrase):
        return False
    folded = [word.lower() for word in words]
    if _WORD.fullmatch(words[-1]) is None or folded[-1] in _UNFINISHED:
        return False
    if opener in _VERBS:
        return folded[-1] not in _PRONOUNS and not folded[-1].endswith("ly")
    if opener in _SUBORDINATE:
        return True
    is_name_or_number = words[-1][0].isupper() or _NUMBER.fullmatch(folded[-1]) is not None
    return not is_name_or_number and _stands_apart(folded, opener)


def _stands_apart(words: list[str], opener: str) -> bool:
    """Whether the last of `words` does not belong to what `opener` begins."""
    if opener in _COORDINATE:  # not in "a friendly and quick", not in "between a cat and a dog"
        pairs = sum(word in _PAIRS for word in words)
        return words[-2] not in {"a", "an"} | _INTENSIFIERS and pairs <= sum(word in _COORDINATE for word in words)
    if opener == "to":
        return len(words) >= FEWEST_WORDS_BEFORE_TO and words[-1] not in _ASK_FOR_TO
    return opener == "by" or words[-1] not in _ASK_FOR_PREPOSITION


def _is_open(phrase: str) -> bool:
    """Whether a quotation, a bracket or an emphasis has begun that has not ended."""
    if any(phrase.replace("**", "*").count(mark) % 2 for mark in _QUOTING):
        return True
    return any(phrase.count(begin) != phrase.count(end) for begin, end in ("()", "[]", "“”"))
