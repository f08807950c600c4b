import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.conversation.ending import CLASSES, NEVER_LAST, SELDOM_LAST, Ending, ending


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Could you book a table for the", Ending.OPEN),
        ("Could you book a table for the.", Ending.OPEN),
        ("I would like tea and", Ending.OPEN),
        ("I would like, um.", Ending.OPEN),
        ("If it rains tomorrow,", Ending.OPEN),
        ("Show me the photos from our last...", Ending.OPEN),
        ("She left her um-", Ending.OPEN),
        ("What is the capital of", Ending.UNMARKED),
        ("Set a timer for.", Ending.SELDOM),
        ("I want.", Ending.SELDOM),
        ("When is the next?", Ending.SELDOM),
        ("my number is 555 12", Ending.DICTATED),
        ("It's five five five one.", Ending.DICTATED),
        ("J-O-H", Ending.DICTATED),
        ("john dot", Ending.DICTATED),
        ("My email is", Ending.DICTATED),
        ("42.", Ending.DICTATED),
        ("My train leaves", Ending.UNMARKED),
        ("The apples.", Ending.UNCLEAR),
        ("How do you say grapefruit in French?", Ending.WHOLE),
        ("what time is it?", Ending.WHOLE),
        ("What are you looking for?", Ending.WHOLE),
        ("Turn on the living room lamp.", Ending.WHOLE),
        ("My favourite colour is green.", Ending.WHOLE),
        ("Yes, I do.", Ending.BRIEF),
        ("yes", Ending.BRIEF),
        ("2:30 p.m.", Ending.BRIEF),
        ("Good morning!", Ending.BRIEF),
        ("Thank you.", Ending.BRIEF),
    ],
)
def test_the_last_words_tell(text, expected):
    assert ending(text) is expected


@pytest.mark.parametrize("text", ["", "   ", "...", "?", "♪"])
def test_nothing_is_not_clear(text):
    assert ending(text) is Ending.UNCLEAR


@pytest.mark.parametrize("name", NEVER_LAST)
def test_no_sentence_ends_on_a_word_of_these_classes(name):
    marked = {"that", "this", "these", "those"} if name == "determiners" or name == "conjunctions" else set()
    for word in set(CLASSES[name].split()) - marked:
        assert ending(f"give them {word}.") is Ending.OPEN, word


@pytest.mark.parametrize("name", SELDOM_LAST)
def test_few_sentences_end_on_a_word_of_these(name):
    for word in CLASSES[name].split():
        assert ending(f"apples {word}.") in {Ending.SELDOM, Ending.OPEN}, word


def test_a_pointing_word_ends_a_marked_sentence():
    assert ending("What is this?") is Ending.WHOLE
    assert ending("What is this") is Ending.OPEN


@given(st.text(max_size=60))
def test_any_text_has_an_ending(text):
    assert isinstance(ending(text), Ending)
