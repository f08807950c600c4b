import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.audio.pcm import PCM
from voiceedge.audio.room import FAINTEST_DBFS, Room

FRAME = 512
RATE_HZ = 16_000


def noise(dbfs: float, frames: int = 3, seed: int = 0) -> PCM:
    audio = np.random.default_rng(seed).standard_normal((frames, FRAME)) * 10 ** (dbfs / 20)
    return audio.astype(np.float32)


def tone(dbfs: float, hz: float, frames: int = 3) -> PCM:
    at = np.arange(frames * FRAME).reshape(frames, FRAME) / RATE_HZ
    return (np.sin(2 * np.pi * hz * at) * 2**0.5 * 10 ** (dbfs / 20)).astype(np.float32)


def a_room(*heard: PCM) -> Room:
    room = Room()
    for audio in heard:
        room.learn(audio)
    return room


def steady(dbfs: float) -> Room:
    return a_room(*(noise(dbfs, seed=seed) for seed in range(20)))


@given(st.floats(-75, -20), st.integers(100, 200))
def test_a_steady_noise_is_the_room(dbfs: float, seed: int):
    assert steady(dbfs).holds(noise(dbfs, seed=seed))


def test_what_is_louder_is_not_even_in_one_frame_of_three():
    audio = noise(-50, seed=100)
    audio[2] *= 10 ** (3 / 20)
    assert not steady(-50).holds(audio)


def test_before_anything_was_heard_only_what_nobody_could_hear_is_the_room():
    assert Room().holds(np.zeros((3, FRAME), np.float32))
    assert Room().holds(noise(FAINTEST_DBFS - 4))
    assert not Room().holds(noise(FAINTEST_DBFS + 3))


def test_what_nobody_could_hear_is_the_room_even_where_there_was_nothing_at_all():
    room = a_room(*[np.zeros((3, FRAME), np.float32)] * 20)
    assert room.holds(noise(FAINTEST_DBFS - 12))
    assert not room.holds(noise(FAINTEST_DBFS + 3))


@pytest.mark.parametrize("hum", [tone(-30, 50), np.full((3, FRAME), 0.03, np.float32)])
def test_a_voice_20_db_below_a_hum_or_a_constant_is_not_hidden_by_it(hum: PCM):
    room = a_room(*[hum + noise(-75)] * 20)
    assert room.holds(hum + noise(-75, seed=1))
    assert not room.holds(hum + noise(-75, seed=1) + tone(-50, 400))


def test_a_deep_voice_is_not_hidden_by_a_hiss():
    room = steady(-50)
    assert not room.holds(noise(-50, seed=100) + tone(-50, 150))


def test_a_room_that_falls_silent_hides_nothing():
    room = steady(-40)
    assert room.holds(noise(-70))
    assert not room.holds(noise(-65))


def test_one_loud_noise_hides_nothing_that_is_not_as_quiet_as_the_room():
    room = a_room(*(noise(-60, seed=seed) for seed in range(20)), noise(-20))
    assert not room.holds(noise(-54))


def test_a_room_grows_louder_only_by_what_is_known_to_be_nobody():
    room = steady(-70)
    for seed in range(50):
        assert not room.holds(noise(-60, seed=seed))
    for seed in range(20):
        room.learn(noise(-60, seed=seed))
    assert room.holds(noise(-60, seed=100))
