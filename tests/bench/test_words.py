import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.bench.words import errors, is_wrong, transcripts, words

TEXTS = st.text("abc 1230.:-'’%$&äXY[]", max_size=30)


def test_case_punctuation_and_figures_are_no_errors():
    assert words("It’s 2:30 p.m., isn't it?") == words("it is two thirty p m is not it")
    assert words("100 % of $5") == ["one", "hundred", "percent", "of", "five", "dollars"]


@pytest.mark.parametrize(
    ("text", "compared"),
    [
        ("What time is it?", "what time is it"),
        ("It's 2:30 p.m.", "it is two thirty p m"),
        ("2:30pm", "two thirty p m"),
        ("2.30. PM", "two thirty p m"),
        ("2:00 p.m.", "two p m"),
        ("10:00 a.m.", "ten a m"),
        ("I am", "i am"),
        ("In 1465, the 21st ne-plus-ultra", "in fourteen sixty five the twenty first ne plus ultra"),
        ("a 16-ounce mocha, 8oz of milk", "a sixteen ounce mocha eight ounce of milk"),
        ("$5, 10,000 and 120", "five dollars ten thousand and one hundred twenty"),
        ("1905, 2005, 007", "nineteen hundred five two thousand five zero zero seven"),
        ("I can’t; we'll", "i can not we will"),
        ("Linnell's colour", "linnells color"),
        ("um, forced [laughter] aligner <unk> (coughs)", "forced aligner"),
        ("Café", "cafe"),
        ("3.5%", "three point five percent"),
        ("the 20th, the 3rd", "the twentieth the third"),
        ("", ""),
    ],
)
def test_what_sounds_the_same_is_compared_as_the_same(text, compared):
    assert words(text) == compared.split()


@pytest.mark.parametrize(
    ("said", "heard", "count"),
    [("a b c", "a b c", 0), ("a b c", "a x c", 1), ("a b c", "a c", 1), ("a b c", "a b b c", 1), ("a b", "", 2)],
)
def test_substitutions_omissions_and_additions_are_counted(said, heard, count):
    assert errors(words(said), words(heard)) == count


@given(TEXTS, TEXTS)
def test_what_is_the_same_has_no_errors_and_errors_are_bounded(said, heard):
    assert errors(words(said), words(said)) == 0
    assert errors(words(said), words(heard)) <= max(len(words(said)), len(words(heard)))


def test_the_error_rate_is_over_all_words():
    found = transcripts(
        [("What time is it?", "what time is it"), ("Two words", "to words"), ("One two", ""), (None, "hm")]
    )
    assert (found.turns, found.exact, found.wrong, found.words, found.errors) == (3, 1, 1, 8, 3)
    assert found.error_rate_percent == 37.5


def test_without_known_words_nothing_is_compared():
    assert transcripts([]) is None
    assert transcripts([(None, "hello"), ("…", "hello"), ("Что это?", "hello")]) is None


def test_a_turn_is_wrong_when_more_than_half_of_its_words_are():
    assert not is_wrong("one two three four", "one two")
    assert is_wrong("one two three four", "one")
    assert is_wrong("one two", "")
    assert is_wrong("hello", "hello and more words")
    assert not is_wrong(None, "whatever")
