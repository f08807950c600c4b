import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.audio.pcm import (
    SILENCE_DBFS,
    first_audible,
    from_pcm16,
    last_audible,
    level_dbfs,
    to_pcm16,
)

RATE_HZ = 16_000


@given(st.binary().map(lambda data: data[: len(data) // 2 * 2]))
def test_every_16_bit_sample_survives_the_way_there_and_back(data):
    assert to_pcm16(from_pcm16(data)) == data


def test_full_scale_is_one_and_what_lies_outside_is_clipped():
    assert from_pcm16(b"\x00\x80").tolist() == [-1.0]
    loud = np.array([2.0, 1.0, -1.0, -2.0], dtype=np.float32)
    assert np.frombuffer(to_pcm16(loud), dtype="<i2").tolist() == [32767, 32767, -32768, -32768]


def test_levels_are_relative_to_a_full_scale_square_wave():
    assert level_dbfs(np.ones(100, dtype=np.float32)) == pytest.approx(0.0)
    assert level_dbfs(np.full(100, 0.01, dtype=np.float32)) == pytest.approx(-40.0, abs=1e-3)


def test_silence_and_no_audio_have_the_lowest_level():
    assert level_dbfs(np.zeros(100, dtype=np.float32)) == SILENCE_DBFS
    assert level_dbfs(np.zeros(0, dtype=np.float32)) == SILENCE_DBFS


@given(first=st.integers(0, 3_000), length=st.integers(320, 3_000))
def test_the_audible_stretch_is_found_to_ten_milliseconds_and_never_cut(first, length):
    audio = np.full(8_000, 0.0005, dtype=np.float32)  # -66 dBFS
    audio[first : first + length] = 0.1
    found, last = first_audible(audio, RATE_HZ), last_audible(audio, RATE_HZ)
    assert first - 160 < found <= first
    assert first + length - 1 <= last < first + length + 160


def test_nothing_can_be_heard_in_silence():
    quiet = np.full(1_000, 0.003, dtype=np.float32)  # -50.5 dBFS
    assert first_audible(quiet, RATE_HZ) is None
    assert last_audible(quiet, RATE_HZ) is None
    assert first_audible(quiet[:0], RATE_HZ) is None


def test_the_last_window_may_be_short():
    audio = np.zeros(165, dtype=np.float32)
    audio[163:] = 0.1
    assert first_audible(audio, RATE_HZ) == 160
    assert last_audible(audio, RATE_HZ) == 164
