"""What the last words of a turn say about whether it is finished: syntax, not meaning, for English.

Speech-to-text puts a full stop behind almost anything, so that a mark proves little; the absence of one says more.
What says most is the last word: nobody ends on "the". A text in another language mostly reads as `UNCLEAR`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto


class Ending(Enum):
    """How a text ends."""

    OPEN = auto()
    """On a word, or a mark, that cannot end anything: "for the", "and", "um", a comma, dots."""
    DICTATED = auto()
    """In the middle of a number, a spelling or an address that is being dictated."""
    SELDOM = auto()
    """On a word that now and then ends something: "get", "was", "very", "next"."""
    UNMARKED = auto()
    """Without a final mark, although speech-to-text writes them: it heard no end either."""
    UNCLEAR = auto()
    """Anything else."""
    WHOLE = auto()
    """On a mark, and shaped like a whole sentence or request that its last word may end."""
    BRIEF = auto()
    """It is one of the short answers, greetings and thanks that are whole turns: "yes", "2:30 p.m.", "thank you"."""


CLASSES = {
    "determiners": "a an the this these those every each another no my your his her its our their whose some any",
    "conjunctions": "and or but nor because if unless although though while whereas whether until than as that so",
    "prepositions": "of to for from with at into onto by about between among against during without within toward "
    "towards upon via per like",
    "subjects": "i he she we they who which what where when why how",
    "auxiliaries": "is are was were be am been being has have had do does did can could will would shall should may "
    "might must i'm you're he's she's it's we're they're that's there's i'd i've i'll you'd you've you'll we'd we've "
    "we'll they'd they've they'll what's where's who's let's don't doesn't didn't can't couldn't won't wouldn't isn't "
    "aren't wasn't weren't hasn't haven't hadn't cannot gonna wanna gotta",
    "transitive verbs": "want wants wanted need needs make makes get gets give gives take takes put puts bring brings "
    "tell tells set sets add adds send sends find finds show shows says said think thinks thought let lets",
    "degrees": "very quite rather really pretty most more less least such only just also even almost mostly mainly",
    "attributes": "next upper lower half quarter second third same whole own favourite favorite nearest latest",
    "fillers": "um uh uhm erm er ah hmm hm mm well",
}
"""Words by class. Only the last word is looked up."""
NEVER_LAST = ("determiners", "conjunctions", "subjects", "fillers")
"""Classes that end no sentence."""
SELDOM_LAST = ("prepositions", "auxiliaries", "transitive verbs", "degrees", "attributes")
"""Classes that end one only now and then: "What are you looking for?", "Yes, I do."."""


def _words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


_OPEN_WORDS = _words(*(CLASSES[name] for name in NEVER_LAST))
_SELDOM_WORDS = _words(*(CLASSES[name] for name in SELDOM_LAST))
_AUXILIARIES = _words(CLASSES["auxiliaries"])
_POINTING = _words("that this these those")
"""Determiners that also stand alone: "What is this?"."""
_STRANDED = _words("of to for from with at into by about like is are was were do does did have has can will would")
"""Words that a question with a question word may end on: "What is it for?"."""
_PRONOUNS = _words("i you he she it we they there") | _POINTING
_QUESTION_WORDS = _words("what who whose which where when why how what's who's where's how's")
_REQUESTS = _words(
    "add answer ask book bring call cancel change check close count create delete describe explain find give go help",
    "keep leave let list make mix mute open order pause pick play please put read remember remind repeat save say",
    "search send set show sing skip speak spell start stop switch take tell translate turn wait wake write",
)
_BRIEF_TURNS = (
    "yes|no|yeah|yep|nope|yup|sure|okay|ok|right|correct|exactly|fine|good|great|never|maybe|perhaps|none|nothing"
    "|hello|hi|hey|hello there|hi there|good morning|good afternoon|good evening|good night|bye|goodbye|bye bye|see you"
    "|thanks|thank you|thank you very much|thanks a lot|thank you so much|many thanks|you're welcome|please|yes please"
    "|no thanks|no thank you|of course|that's all|that's it|that is all|stop|cancel|pause|continue|go on|go ahead|next"
    "|sorry|pardon|excuse me|all right|alright|not yet|not really|i don't know|i do|i am|i will|yes i do|no i don't"
    "|yes it is|no it isn't|me too|both|neither|today|tomorrow|tonight|later|now"
)
_BRIEF = frozenset(_BRIEF_TURNS.split("|"))
_TIME = re.compile(r"(?:at |around |about )?\d{1,2}(?:[:.]\d\d)?(?: ?[ap]\.?m\.?| o'clock)", re.IGNORECASE)
_DIGITS = _words("zero oh one two three four five six seven eight nine double triple")
_NUMBERS = _DIGITS | _words(
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen",
    "twenty thirty forty fifty sixty seventy eighty ninety hundred thousand",
)
_DICTATION = re.compile(
    r"(?:\b(?:\d{1,4}[ ,.-]+){2,}\d{1,4}"  # groups of digits: 555 12 34
    r"|\b\d{3,}[ -]\d{1,4}"  # 0171-23
    r"|\b(?:[A-Za-z][ .,-]+){2,}[A-Za-z]"  # a spelling: J-O-H
    r"|\b(?:dot|underscore|hyphen|dash|slash|at sign)"  # an address
    r"|\b(?:number|code|name|address|e-?mail) is"
    r")\W*$",
    re.IGNORECASE,
)
DICTATED_DIGITS = 3
"""So many spoken digits in a row are a number that is read out."""
SHORTEST_WHOLE_WORDS = 3
"""A sentence with a subject and a verb, or a verb and its object, nearly always has at least so many words."""
_MARKS = (".", "?", "!")
_OPEN_MARKS = (",", "...", "…", "-", "–", "—", ":", ";")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@dataclass(frozen=True, slots=True)
class _Said:
    text: str
    """Without quotation marks at its end."""
    words: tuple[str, ...]
    """Lower case, without marks."""

    @property
    def is_marked(self) -> bool:
        return self.text.endswith(_MARKS)

    def stops_at_a_mark_of_more(self) -> bool:
        return self.text.endswith(_OPEN_MARKS)

    def is_brief(self) -> bool:
        return " ".join(self.words) in _BRIEF or _TIME.fullmatch(self.text.rstrip(".?!")) is not None

    def is_dictation(self) -> bool:
        """Whether it ends in pieces of something longer that is said piece by piece, as every bare number may be."""
        if all(word.isdigit() or word in _NUMBERS for word in self.words):
            return True
        digits = all(word in _DIGITS for word in self.words[-DICTATED_DIGITS:])
        return (digits and len(self.words) >= DICTATED_DIGITS) or _DICTATION.search(self.text) is not None

    def ends_on_open_word(self) -> bool:
        return self.words[-1] in _OPEN_WORDS and not (self.words[-1] in _POINTING and self.is_marked)

    def ends_on_seldom_word(self) -> bool:
        """Unless a question or a short answer may well end on it."""
        *before, last = self.words
        stranded = last in _STRANDED and any(word in _QUESTION_WORDS for word in before[:-1])
        answers = last in _AUXILIARIES and len(before) in {1, 2} and before[-1] in _PRONOUNS
        return last in _SELDOM_WORDS and not (stranded or answers)

    def is_unmarked(self) -> bool:
        return not self.is_marked

    def is_whole(self) -> bool:
        """Whether there is a question, a request, or a subject with something behind it."""
        if len(self.words) < SHORTEST_WHOLE_WORDS:
            return False
        begins = self.words[0] in _QUESTION_WORDS | _AUXILIARIES | _REQUESTS
        return begins or any(word in _AUXILIARIES | _PRONOUNS for word in self.words[:-1])


RULES: tuple[tuple[Callable[[_Said], bool], Ending], ...] = (
    (_Said.stops_at_a_mark_of_more, Ending.OPEN),
    (_Said.is_brief, Ending.BRIEF),
    (_Said.is_dictation, Ending.DICTATED),
    (_Said.ends_on_open_word, Ending.OPEN),
    (_Said.ends_on_seldom_word, Ending.SELDOM),
    (_Said.is_unmarked, Ending.UNMARKED),
    (_Said.is_whole, Ending.WHOLE),
)
"""The first that holds tells the ending."""


def ending(text: str) -> Ending:
    """How `text`, the transcript of a turn so far, ends."""
    text = text.strip().rstrip("\"'”’)")
    words = tuple(word.replace("’", "'") for word in _WORD.findall(text.lower()))
    if not words:
        return Ending.UNCLEAR
    said = _Said(text, words)
    return next((ending for holds, ending in RULES if holds(said)), Ending.UNCLEAR)
