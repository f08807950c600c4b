"""Where the real weights lie."""

from pathlib import Path

import platformdirs
import pytest


@pytest.fixture(scope="session")
def weights():
    """Finds a file of a model in the user's model store; skips the test when it has not been pulled."""
    store = Path(platformdirs.user_cache_dir("voiceedge")) / "models"

    def find(model, file=""):
        path = store / model / file
        if not path.exists():
            pytest.skip(f"{path} is missing: run `voiceedge models pull {model}`")
        return path

    return find


@pytest.fixture(scope="session")
def voice():
    """The default voice, to speak test sentences with: its weights come with its package."""
    from voiceedge.engines.hibari import HibariTts  # noqa: PLC0415

    return HibariTts()


@pytest.fixture(scope="session")
def spoken(voice):
    """Speaks a text at 16 kHz between two stretches of faint noise, as a microphone would hear it."""
    import numpy as np  # noqa: PLC0415

    from voiceedge.audio.resample import resample  # noqa: PLC0415

    def speak(text):
        speech = resample(np.concatenate(list(voice.speak(text, "heart", 1.0))), voice.sample_rate_hz, 16_000)
        noise = np.random.default_rng(0).normal(0, 1e-4, speech.size + 8_000).astype(np.float32)
        noise[4_000 : 4_000 + speech.size] += speech
        return noise

    return speak
