import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.audio.joint import FADE_S, SLIDE_S, Joints

RATE_HZ = 24_000


def tone(seconds, *, phase=0.0, frequency_hz=200.0):
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (0.3 * np.sin(2 * np.pi * frequency_hz * times + phase)).astype(np.float32)


def joined(*clauses, goes_on=True):
    joints = Joints(RATE_HZ)
    sent = []
    for number, parts in enumerate(clauses):
        if number:
            joints.next_clause(goes_on=goes_on)
        sent += [joints.push(part) for part in parts]
    return np.concatenate([*sent, joints.flush()])


@given(st.lists(st.integers(0, 2_000), min_size=1, max_size=6))
def test_parts_of_a_clause_follow_each_other_unchanged(sizes):
    parts = [np.random.default_rng(size).standard_normal(size).astype(np.float32) for size in sizes]
    assert np.array_equal(joined(parts), np.concatenate(parts))


def test_whole_sentences_follow_each_other_unchanged():
    one, two = tone(0.1), tone(0.2)
    assert np.array_equal(joined([one], [two], goes_on=False), np.concatenate([one, two]))


@pytest.mark.parametrize("phase", [0.5, 2.0, 3.1, 4.5, 6.0])
@pytest.mark.parametrize("frequency_hz", [125.0, 200.0, 310.0])
def test_two_waves_out_of_step_become_one(phase, frequency_hz):
    one, two = tone(0.2, frequency_hz=frequency_hz), tone(0.2, phase=phase, frequency_hz=frequency_hz)
    whole = joined([one], [two])
    steepest = np.abs(np.diff(one)).max()
    assert np.abs(np.diff(np.concatenate([one, two]))).max() > 1.5 * steepest or phase > 5.5  # what would be heard
    assert np.abs(np.diff(whole)).max() < 1.1 * steepest
    windows = whole[: whole.size // 480 * 480].reshape(-1, 480)
    assert np.sqrt(np.square(windows).mean(axis=1)).min() > 0.15  # no hole either: the tone has 0.21


def test_a_joint_takes_as_long_as_the_pieces_overlap():
    one, two = tone(0.2), tone(0.2, phase=1.0)
    lost = one.size + two.size - joined([one], [two]).size
    assert FADE_S <= lost / RATE_HZ <= FADE_S + SLIDE_S


def test_what_is_sent_is_never_far_behind():
    joints, held_s = Joints(RATE_HZ), FADE_S + SLIDE_S
    assert joints.push(tone(0.1)).size == round((0.1 - held_s) * RATE_HZ)
    assert joints.push(tone(0.1)).size == round(0.1 * RATE_HZ)
    assert joints.flush().size == round(held_s * RATE_HZ)
    assert joints.flush().size == 0


def test_a_sentence_that_breaks_off_ends_without_a_click():
    joints = Joints(RATE_HZ)
    joints.push(tone(0.1, phase=1.0))
    joints.next_clause(goes_on=True)
    assert abs(joints.flush()[-1]) < 1e-3


@pytest.mark.parametrize("samples", [1, 100, 239, 300])
def test_pieces_shorter_than_a_joint_are_not_lost(samples):
    piece = np.full(samples, 0.5, np.float32)
    whole = joined([piece], [piece])
    assert whole.size >= samples
    assert whole[samples // 2] == pytest.approx(0.5)


def test_silence_is_joined_to_silence():
    silence = np.zeros(2_400, np.float32)
    assert not joined([silence], [silence]).any()
