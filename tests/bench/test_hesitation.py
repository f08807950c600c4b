import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voiceedge.audio.pcm import level_dbfs
from voiceedge.bench.hesitation import hesitating, quiet_place
from voiceedge.bench.interval import Interval
from voiceedge.bench.recording import WIRE_RATE_HZ, Recording, last_voiced_sample


def word(seconds, level=0.3):
    t = np.arange(round(seconds * WIRE_RATE_HZ)) / WIRE_RATE_HZ
    return (level * np.sin(2 * np.pi * 200 * t)).astype(np.float32)


def quiet(seconds):
    return np.zeros(round(seconds * WIRE_RATE_HZ), np.float32)


def recording(*parts, name="r"):
    audio = np.concatenate(parts)
    return Recording(name, audio, last_voiced_sample(audio), "some words")


def test_the_place_is_the_gap_between_words_nearest_the_middle():
    said = recording(word(0.4), quiet(0.1), word(0.8), quiet(0.1), word(0.8), quiet(0.1), word(0.3), quiet(0.5))
    assert quiet_place(said) / WIRE_RATE_HZ == pytest.approx(1.35, abs=0.06)


def test_quiet_before_and_after_the_words_is_no_place():
    said = recording(quiet(2.0), word(0.7), quiet(0.1), word(0.7), quiet(3.0))
    assert quiet_place(said) / WIRE_RATE_HZ == pytest.approx(2.75, abs=0.06)


@pytest.mark.parametrize(
    "said", [recording(word(2.0)), recording(word(0.2), quiet(0.1), word(0.2)), Recording("short", word(0.005), 120)]
)
def test_what_is_one_sound_or_one_word_is_left_out(said):
    assert quiet_place(said) is None
    assert hesitating([said], Interval(1.0, 1.0)) == []


def test_a_pause_as_faint_as_the_room_is_put_in_and_speech_ends_with_the_second_part():
    said = recording(word(0.7), quiet(0.1), word(0.7), quiet(0.2))
    (paused,) = hesitating([said], Interval(0.8, 0.8))
    pause = round(0.8 * WIRE_RATE_HZ)
    assert len(paused.audio) == len(said.audio) + pause
    assert paused.last_voiced == said.last_voiced + pause
    assert (paused.name, paused.expected_text, paused.hesitates_s) == ("r", "some words", 0.8)
    assert said.hesitates_s is None
    inside = paused.audio[quiet_place(said) + 100 :][: pause - 200]
    assert -72 < level_dbfs(inside) < -68
    assert np.array_equal(paused.audio[-len(word(0.5)) :], said.audio[-len(word(0.5)) :])


def test_where_it_is_cut_there_is_no_click():
    def murmur(seconds):  # 14 dB below the words: cut in the middle of a wave
        return word(seconds, 0.05) + np.float32(0.02)

    said = recording(word(0.7), murmur(0.1), word(0.7))
    (paused,) = hesitating([said], Interval(0.5, 0.5))
    place = quiet_place(said)
    assert abs(paused.audio[place - 1]) < 0.002
    assert abs(paused.audio[place + round(0.5 * WIRE_RATE_HZ)]) < 0.002


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_pauses_are_drawn_from_the_range_and_the_same_for_the_same_seed(seed):
    said = [recording(word(0.7), quiet(0.1), word(0.7), name=name) for name in "abc"]
    first, again = (hesitating(said, Interval(0.3, 1.2), seed) for _ in range(2))
    assert all(0.3 <= one.hesitates_s <= 1.2 for one in first)
    assert len({one.hesitates_s for one in first}) == 3
    assert all(np.array_equal(a.audio, b.audio) for a, b in zip(first, again, strict=True))


def test_a_recording_that_is_left_out_does_not_change_the_others_pauses():
    said, hum = recording(word(0.7), quiet(0.1), word(0.7)), recording(word(2.0))
    alone = hesitating([said, said], Interval(0.3, 1.2))[1]
    behind = hesitating([hum, said], Interval(0.3, 1.2))[0]
    assert alone.hesitates_s == behind.hesitates_s
