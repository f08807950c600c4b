"""Phonemes in parts that a voice speaks in one step, and speech without the silence around it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.audio.pcm import last_audible
from voiceedge.engines.spoken import BEFORE_PHONEMES, last_words, phonemes_of, worth_hearing

RATE_HZ = 24_000


def parts(text, *, whole=60, longest=150):
    """Letters stand for their own phonemes."""
    return list(phonemes_of(text, lambda sentence: sentence, whole=whole, longest=longest))


def test_a_short_text_is_one_part_a_sentence():
    assert parts("Well, yes. No, not at all!") == ["Well, yes.", "No, not at all!"]


def test_a_long_sentence_is_cut_where_its_clauses_end():
    text = "one two three four five, six seven eight nine ten eleven; twelve thirteen fourteen fifteen."
    assert parts(text) == [
        "one two three four five,",
        "six seven eight nine ten eleven;",
        "twelve thirteen fourteen fifteen.",
    ]


def test_clauses_that_would_be_too_short_stay_with_their_neighbours():
    text = "Oh, well, in the end it was never more than a long and rather winding road, so."
    assert parts(text) == [text]


def test_a_sentence_without_clauses_is_cut_between_words_and_only_where_it_must_be():
    text = "word " * 29 + "word"
    assert parts(text) == [text]
    assert [len(part) for part in parts(f"{text} {text}")] == [149, 149]


@pytest.mark.parametrize("text", ["", " ", "...", "— !", "\n\n"])
def test_what_has_no_sound_is_left_out(text):
    assert parts(text) == []


@given(st.text(st.sampled_from("ab ,;:—.!?"), max_size=400), st.integers(3, 80), st.integers(80, 200))
def test_no_sound_is_lost_and_no_part_is_too_long(text, whole, longest):
    found = parts(text, whole=whole, longest=longest)
    assert [c for c in "".join(found) if c.isalpha()] == [c for c in text if c.isalpha()]
    assert all(len(part) <= longest for part in found)


@pytest.mark.parametrize(
    ("text", "same"), [("It is no.", "It is no ."), ("No. 5", "number 5"), (f"n {'1' * 20}", f"n {'1' * 15} 11111")]
)
def test_what_the_package_would_misread_is_written_differently(text, same):
    assert parts(text) == [same]


def speech(before_s, sound_s, after_s):
    sound = np.sin(np.arange(round(sound_s * RATE_HZ)) * 0.1).astype(np.float32) * 0.3
    before, after = (np.zeros(round(seconds * RATE_HZ), np.float32) for seconds in (before_s, after_s))
    return np.concatenate([before, sound, after])


@pytest.mark.parametrize(("phonemes", "pause_s"), [("a.", 0.3), ("a?”", 0.3), ("a,", 0.2), ("a", 0.08)])
@pytest.mark.parametrize("speed", [0.5, 1.0, 1.5])
def test_the_silence_in_front_is_cut_and_the_one_behind_fits_mark_and_speed(phonemes, pause_s, speed):
    heard = worth_hearing(speech(0.4, 0.5, 1.0), RATE_HZ, phonemes, speed)
    assert np.flatnonzero(np.abs(heard) > 0.01)[0] <= 0.006 * RATE_HZ  # audible within 6 ms
    assert heard.size - 1 - last_audible(heard, RATE_HZ) == pytest.approx(pause_s / speed * RATE_HZ, abs=240)
    assert (heard[0], heard[-1]) == (0, 0)


def test_nothing_is_worth_hearing_in_silence():
    assert worth_hearing(speech(1, 0, 0), RATE_HZ, "a.", 1.0).size == 0
    assert worth_hearing(np.zeros(0, np.float32), RATE_HZ, "a.", 1.0).size == 0


def test_what_was_begun_or_goes_on_is_neither_cut_nor_faded_at_that_end():
    audio = speech(0.0, 0.5, 0.0)
    whole = worth_hearing(audio, RATE_HZ, "a", 1.0, is_begun=True, goes_on=True)
    assert np.array_equal(whole, audio)
    behind = worth_hearing(speech(0.1, 0.5, 0.0), RATE_HZ, "a", 1.0, is_begun=True)
    assert behind.size == round(0.6 * RATE_HZ)
    assert behind[-1] == 0


def test_a_pause_before_what_goes_on_is_as_short_as_any():
    heard = worth_hearing(speech(0.0, 0.5, 0.5), RATE_HZ, "a", 1.0, goes_on=True)
    assert heard.size == pytest.approx(0.58 * RATE_HZ, abs=240)
    assert heard[-1] == 0


def test_a_comma_has_its_pause_also_where_the_joint_comes_early():
    heard = worth_hearing(speech(0.0, 0.5, 0.05), RATE_HZ, "a,", 1.0, goes_on=True)
    assert heard.size == pytest.approx(0.7 * RATE_HZ, abs=240)


def test_of_what_was_said_before_the_last_words_count():
    assert last_words([]) == ""
    assert last_words(["ab", "cd"]) == "ab cd "
    words = last_words(["alpha beta gamma delta epsilon zeta"])
    assert words == "delta epsilon zeta "
    assert len(words) <= BEFORE_PHONEMES + 1
