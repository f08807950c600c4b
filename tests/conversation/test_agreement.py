import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.conversation.agreement import Agreement

SPELLINGS = [
    " what",
    " What",
    " what,",
    " is",
    " the",
    " capital",
    " of",
    " France",
    " France.",
    " it’s",
    " it's",
    "-odd",
]
TEXTS = st.lists(st.sampled_from(SPELLINGS), max_size=8).map("".join)


def words(text):
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.casefold().replace("’", "'"))


def deltas(*texts):
    agreement = Agreement()
    return [agreement.push(text) for text in texts]


def test_what_two_hypotheses_agree_on_is_shown_but_for_the_last_word():
    assert deltas("What is the cap", "What is the capital of", "What is the capital of France?") == [
        "",
        "What is the",
        " capital",
    ]


def test_one_hypothesis_is_no_agreement():
    assert deltas("What is the capital of France?") == [""]


def test_what_differs_is_held_back_until_two_in_a_row_agree():
    said = deltas(
        "I need to weights now", "I need two weighs now", "I need two weights now", "I need two weights now ok"
    )
    assert said == ["", "I need", " two", " weights"]


def test_case_and_punctuation_do_not_keep_words_apart():
    assert deltas("the rain, in Spain stays", "The rain in spain stays") == ["", "The rain in spain"]
    assert deltas("a medium-roast cappuccino please", "a medium roast cappuccino please") == [
        "",
        "a medium roast cappuccino",
    ]


def test_punctuation_comes_with_the_word_behind_it():
    assert deltas("Well, I think. So", "Well, I think so too", "Well, I think so, too. Yes") == [
        "",
        "Well, I think",
        " so",
    ]


def test_who_contradicts_what_was_shown_adds_nothing_until_it_is_taken_back():
    agreement = Agreement()
    for text in ("one two three four", "one two three four"):
        agreement.push(text)
    assert [agreement.push("one too three four five six")] * 2 == [""] * 2
    assert agreement.push("one too three four five six seven") == ""
    assert agreement.said == "one two three"
    assert agreement.push("one two three four five six") == ""
    assert agreement.push("one two three four five six") == " four five"


@pytest.mark.parametrize(
    ("whole", "rest"),
    [
        ("What is the capital of France?", " capital of France?"),
        ("what is the, capital", ", capital"),
        ("What is the", ""),
        ("What is a capital", None),
        ("What is", None),
        ("", None),
    ],
)
def test_the_end_is_what_was_not_shown_yet(whole, rest):
    agreement = Agreement()
    for text in ("What is the capital", "What is the capital"):
        agreement.push(text)
    assert agreement.said == "What is the"
    assert agreement.finish(whole) == rest


def test_with_nothing_shown_the_end_is_everything():
    assert Agreement().finish("  Hello.") == "  Hello."


@given(st.lists(TEXTS, max_size=6))
def test_deltas_only_grow_a_beginning_of_a_hypothesis(texts):
    agreement = Agreement()
    shown = ""
    for before, text in zip(["", *texts], texts, strict=False):
        delta = agreement.push(text)
        shown += delta
        assert agreement.said == shown
        if delta:
            assert text.find(delta) >= 0
            count = len(words(shown))
            assert words(shown) == words(text)[:count] == words(before)[:count]
            assert count < min(len(words(text)), len(words(before)))


@given(st.lists(TEXTS, max_size=6), TEXTS)
def test_the_end_fits_what_was_shown_or_there_is_none(texts, whole):
    agreement = Agreement()
    for text in texts:
        agreement.push(text)
    rest = agreement.finish(whole)
    begins = words(whole)[: len(words(agreement.said))] == words(agreement.said)
    assert (rest is not None) == begins
    if rest is not None:
        assert whole.endswith(rest)
        assert words(agreement.said + rest) == words(whole)


@given(TEXTS)
def test_the_same_hypothesis_again_and_again_is_shown_once(text):
    agreement = Agreement()
    for _ in range(4):
        agreement.push(text)
    assert words(agreement.said) == words(text)[:-1]
    assert agreement.finish(text) is not None
    assert agreement.said + agreement.finish(text) == text
