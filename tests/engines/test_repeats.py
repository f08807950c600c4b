import pytest

from voiceedge.engines.repeats import count_said, find_repeats


@pytest.mark.parametrize(
    ("text", "copies"),
    [
        ("", None),
        ("yes", None),
        ("what time is it", None),
        ("very very good", None),
        ("bye bye", (0, 1)),
        ("yes . yes .", (0, 2)),
        ("no no no", (0, 1, 2)),
        ("ten of clubs ten of clubs", (0, 3)),
        ("and ten of clubs ten of clubs ten of", (1, 4, 7)),
    ],
)
def test_the_phrase_that_a_text_ends_with_is_found(text, copies):
    assert find_repeats([word if word.isalnum() else "" for word in text.split()]) == copies


def test_a_word_that_was_said_twice_is_kept_twice():
    assert count_said(["bye", "bye"], [0.0, 0.5], (0.1, 0.9)) == 2


def test_copies_without_time_of_their_own_are_cut():
    # "ten of clubs" three times; the copies all begin where the audio ends (measured with tiny.en)
    words = ["ten", "of", "clubs"] * 3
    starts_s = [0.0, 0.4, 0.6, 0.84, 0.84, 0.84, 0.88, 0.88, 0.88]
    assert count_said(words, starts_s, (0.0, 1.1)) == 3


def test_what_is_placed_behind_the_last_sound_was_not_said():
    assert count_said(["two", "", "thank", "you"], [0.0, 0.6, 0.95, 1.2], (0.2, 0.9)) == 2


def test_a_text_without_repeats_is_kept_whole():
    assert count_said(["what", "time", "is", "it", ""], [0.0, 0.3, 0.5, 0.7, 0.9], (0.1, 0.9)) == 5


def test_of_copies_that_are_squeezed_into_the_first_one_keeps_one():
    # "Montreal, uh, forced aligner." twice, said once (measured with tiny.en)
    words = ["montreal", "", "uh", "", "forced", "align", "er", ""] * 2
    starts_s = [0.0, *[1.88] * 9, 2.22, 2.88, 3.88, 4.08, 4.38, 5.86]
    assert count_said(words, starts_s, (1.27, 4.53)) == 8


def test_a_word_said_twice_before_noise_is_kept_twice():
    assert count_said(["no", "no"], [0.1, 0.4], (0.1, 2.5)) == 2
