import unicodedata
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.conversation.speakable import (
    KNOWN_MARKS,
    LONGEST_NUMBER_DIGITS,
    LONGEST_WORD_CHARS,
    MOST_ALIKE,
    MOST_MARKS,
    speakable,
)
from voiceedge.conversation.text import LONGEST_CODE_CHARS, Clauses


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("This is **very** important.", "This is very important."),
        ("This is *so* _nice_, ***really***.", "This is so nice, really."),
        ("Use `print` and ~~this~~ that.", "Use print and this that."),
        ("# Title\nText.", "Title Text."),
        ("> quoted", "quoted"),
        ("- milk\n- eggs\n* tea\n• jam", "milk eggs tea jam"),
        ("1. Boil water.\n2. Add tea.", "1, Boil water. 2, Add tea."),
        ("See [the docs](https://example.com/a_b), please.", "See the docs, please."),
        ("![a cat](cat.png) sits.", "a cat sits."),
        ("Go to https://www.example.com/long/path?x=1 now.", "Go to example.com now."),
        ("Before ```py\nx = 1\n``` after.", "Before after."),
        ("Never closed ```py\nx = 1", "Never closed"),
        ("Great 😀! 👩‍🚀 Well 👍🏽.", "Great! Well."),
        ("a | b\n---|---\n1 | 2", "a b 1 2"),
        ("That costs $3.50, or 20% more.", "That costs $3.50, or 20% more."),
        ("It’s a “test” – isn’t it?", "It’s a “test” – isn’t it?"),
        ("snake_case stays, _ goes", "snake_case stays, goes"),
        ("_Half of an emphasis", "Half of an emphasis"),
        ("zero\u200bwidth and\u00a0hard\tspaces", "zerowidth and hard spaces"),
        ("caf\u00e9 na\u00efve 日本", "caf\u00e9 na\u00efve 日本"),
        ("2 + 2 = 4", "2 + 2 = 4"),
        ("{'name': \"Ada\", 'born': [1815]}", "'name': \"Ada\", 'born': 1815"),
        ("Wow" + "!" * 500, "Wow!!!"),
        ("x² + ½ is ①②, or Ⅳ.", "x2 + 1/2 is 12, or IV."),
        ("٣ plus ४ is 7", "3 plus 4 is 7"),
        ("He\u0301\u0302\u0303\u0304llo", "He\u0301\u0302llo"),
        ("1\ufe0f\u20e3 first", "1 first"),
        ("「東京」、駅。", "(東京), 駅."),
        ("a\x00b\x1b[31mc\ud800d\ue000e", "ab 31mcde"),
        ("pi is 3.1415926535897932384", "pi is 3. 1 4 1, 5 9 2, 6 5 3, 5 8 9, 7 9 3, 2 3 8, 4"),
        ("[say](/kat/) this", "say this"),
        ("→ ∑ ≠ ★ ═ ∀", ""),
        ("...", ""),
        ("😀", ""),
        ("---", ""),
        ("```\ncode\n```", ""),
    ],
)
def test_only_the_words_are_spoken(text, spoken):
    assert speakable(text) == spoken


def is_speakable(spoken):
    """What a voice is promised."""
    words = spoken.split(" ")
    return (
        any(char.isalnum() for char in spoken)
        and spoken == " ".join(spoken.split())
        and all(len(word) <= LONGEST_WORD_CHARS for word in words)
        and all(_is_known(char) for char in spoken if char != " ")
        and not any(mark * (MOST_ALIKE + 1) in spoken for mark in KNOWN_MARKS - {"_"})
        and not any(
            all(unicodedata.category(char)[0] == "M" for char in spoken[at : at + MOST_MARKS + 1])
            for at in range(len(spoken) - MOST_MARKS)
        )
        and not any(part.isdecimal() and len(part) > LONGEST_NUMBER_DIGITS for part in words)
    )


def _is_known(char):
    return char in KNOWN_MARKS or char in "0123456789" or unicodedata.category(char)[0] in "LM"


NASTY = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("*_`~#|<>[](){}\\.,!?:;-–—…0123456789 \n\t\u0301\u200b\ufe0f\u20e3😀½²①東aA"),
    ),
    max_size=80,
)
LONG = st.builds(
    lambda parts: "".join(text * count for text, count in parts),
    st.lists(st.tuples(NASTY, st.sampled_from([1, 1, 3, 50])), max_size=4),
)


@given(st.one_of(st.text(max_size=80), NASTY, LONG))
def test_what_is_spoken_is_empty_or_what_a_voice_knows(text):
    spoken = speakable(text)
    assert not spoken or is_speakable(spoken)
    assert len(spoken) <= 5 * len(text)


@given(st.lists(st.one_of(NASTY, LONG), max_size=6), st.booleans())
def test_whatever_a_model_writes_the_voice_gets_bounded_clauses_of_what_it_knows(chunks, whole_sentences):
    clauses = Clauses(whole_sentences=whole_sentences)
    made = [clause for chunk in chunks for clause in clauses.push(chunk)] + clauses.flush()
    for clause in made:
        assert not clause.spoken or is_speakable(clause.spoken)
        assert len(clause.spoken) <= 5 * LONGEST_CODE_CHARS
    assert "".join(clause.written for clause in made) == "".join(chunks)


@pytest.mark.parametrize(
    "unit", ["*", "_", "`", "~~", "a*", "*a ", "[", "](", "http://", "- ", "1. ", "`a", "__a", "|-", "a, "]
)
@pytest.mark.parametrize("whole_sentences", [True, False])
def test_no_text_takes_long_to_be_cut(unit, whole_sentences):
    text = unit * (1200 // len(unit))
    clauses = Clauses(whole_sentences=whole_sentences)
    begun = process_time()
    for at in range(0, len(text), 4):  # as tokens come
        clauses.push(text[at : at + 4])
    clauses.flush()
    assert process_time() - begun < 1.5


def test_degrees_are_spoken():
    assert speakable("It is **24 °C** today.") == "It is 24 °C today."
