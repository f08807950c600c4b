import pytest

from tests.engines.word_errors import errors, interval, missed, runs_in_circles, slots, words


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
    ("said", "heard", "wrong"),
    [
        ("a b c", "a b c", 0),
        ("a b c", "a x c", 1),
        ("a b c", "a c", 1),
        ("a b", "a b b", 1),
        ("", "a b", 2),
        ("a", "", 1),
    ],
)
def test_errors_are_substitutions_insertions_and_deletions(said, heard, wrong):
    assert errors(said.split(), heard.split()) == wrong


def test_an_order_is_held_against_its_slots():
    notes = 'source gives slots only: {"coffeeDrink": "iced mocha", "size": "eight ounce"}; transcript by tiny.en'
    wanted = slots(notes)
    assert wanted == [["ice", "mocha"], ["eight", "ounce"]]
    assert missed(wanted, words("An 8-ounce iced mocha, please.")) == 0
    assert missed(wanted, words("A mocha, iced, eight ounces")) == 2
    assert slots("crowd-sourced") == []


@pytest.mark.parametrize(
    ("said", "heard", "loops"),
    [
        ("ten of clubs", "ten of clubs ten of clubs", True),
        ("what time is it", "what time is it what time is it what time", True),
        ("five five", "five five", False),
        ("nine five", "five five", False),
        ("nine five", "five five five", True),
        ("bye", "bye bye bye", True),
        ("no no no", "no no no", False),
        (None, "thank you thank you", False),
        (None, "thank you thank you thank you", True),
    ],
)
def test_a_phrase_more_often_in_a_row_than_it_was_said_is_a_loop(said, heard, loops):
    assert runs_in_circles(said.split() if said else said, heard.split()) is loops


def test_the_interval_holds_the_difference_and_is_narrow_where_the_engines_agree():
    assert interval([1, 2, 3], [1, 2, 3], [10, 10, 10]) == (0.0, 0.0)
    low, high = interval([1] * 50 + [0] * 50, [0] * 100, [10] * 100)
    assert 2.0 < low < 5.0 < high < 8.0
