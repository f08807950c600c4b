import pytest

from tests.engines.word_errors import interval, missed, runs_in_circles, slots
from voiceedge.bench.words import words


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
