import numpy as np
import pytest

from voiceedge.audio.pcm import level_dbfs
from voiceedge.engines.windows import LONGEST_AUDIO_S, pad, raised, windows

RATE_HZ = 16_000


@pytest.mark.parametrize(("seconds", "window_s"), [(0.3, 5.0), (4.0, 5.0), (4.01, 5.1), (10.0, 11.0), (29.5, 30.0)])
def test_a_window_is_as_long_as_its_audio_and_a_second(seconds, window_s):
    audio = np.ones(round(seconds * RATE_HZ), dtype=np.float32)
    padded = pad(audio, 5.0)
    assert padded.size == window_s * RATE_HZ
    assert padded.sum() == audio.size


def test_long_audio_is_cut_at_its_quietest_place_and_nothing_is_lost():
    audio = np.random.default_rng(0).normal(0, 0.1, 70 * RATE_HZ).astype(np.float32)
    pauses = [round(25.3 * RATE_HZ), round(47.1 * RATE_HZ)]
    for pause in pauses:
        audio[pause - 2_000 : pause + 2_000] *= 0.01
    pieces = list(windows(audio))
    assert np.array_equal(np.concatenate(pieces), audio)
    assert max(window.size for window in pieces) <= LONGEST_AUDIO_S * RATE_HZ
    cuts = np.cumsum([window.size for window in pieces])[:-1]
    assert cuts.tolist() == pytest.approx(pauses, abs=600)


def test_only_what_is_faint_is_raised_and_silence_stays_silence():
    tone = np.sin(np.arange(RATE_HZ) * 0.2).astype(np.float32)
    assert level_dbfs(raised(tone * np.float32(1e-3))) == pytest.approx(-20, abs=0.5)
    for untouched in (tone * np.float32(0.02), np.zeros(RATE_HZ, dtype=np.float32), tone[:100], tone[:0]):
        assert raised(untouched) is untouched
    hiss = np.random.default_rng(0).integers(-1, 2, RATE_HZ).astype(np.float32) / 32768  # the last bit
    assert raised(hiss) is hiss


def test_the_cuts_do_not_depend_on_what_comes_later():
    audio = np.random.default_rng(1).normal(0, 0.1, 95 * RATE_HZ).astype(np.float32)
    whole = list(windows(audio))
    for seconds in (30, 41.3, 77):
        earlier = list(windows(audio[: round(seconds * RATE_HZ)]))
        assert len(earlier) > 1
        for before, after in zip(earlier[:-1], whole, strict=False):
            assert np.array_equal(before, after)
