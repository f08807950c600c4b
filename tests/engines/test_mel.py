import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor

from voiceedge.engines.mel import log_mel


@pytest.mark.parametrize("seconds", [0.1, 5, 8])
@pytest.mark.parametrize("level", [0.0, 1e-3, 0.3])
def test_it_is_the_spectrogram_that_whisper_was_trained_on(seconds, level):
    samples = round(16_000 * seconds)
    audio = np.random.default_rng(0).normal(0, level, samples).astype(np.float32)
    audio[: samples // 2] += np.sin(np.arange(samples // 2) * 0.2).astype(np.float32) * np.float32(level)
    mel = log_mel(audio)
    assert (mel.shape, mel.dtype) == ((80, samples // 160), np.float32)
    assert np.allclose(mel, FeatureExtractor()(audio, padding=0), atol=1e-4)


def test_a_tone_lights_up_the_filter_that_covers_it():
    tone = np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000).astype(np.float32)
    # Slaney: 1 kHz is mel 15 of 45.2, so about a third of the way up
    assert log_mel(tone)[:, 50].argmax() == pytest.approx(80 * 15 / 45.2, abs=1)
