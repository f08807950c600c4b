"""A model that was brought is used once, and what it does is told."""

import numpy as np
import pytest

from tests import real
from voiceedge.engines import Finished, Piece, Prefilled, Segment, loading
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.trial import answer, hear, say, try_model
from voiceedge.errors import ConfigError


class Mute:
    """Does its work, and nothing comes of it."""

    sample_rate_hz = 24_000
    voices = ("mute",)
    closed = False

    def open(self):
        return self

    def generate(self, prompt, sampling):
        yield Prefilled(3, 0)
        yield Piece(1, " \n")
        yield Finished("stop", 3, 0, 1)

    def close(self):
        self.closed = True

    def transcribe(self, audio):
        yield Segment("")

    def speak(self, text, voice, speed, **context):
        yield np.zeros(100, np.float32)


def test_nothing_as_an_answer_is_no_model_that_works():
    mute = Mute()
    with pytest.raises(ConfigError, match="answers a question with nothing"):
        answer(mute)
    assert mute.closed


def test_hearing_nothing_is_no_model_that_works():
    with pytest.raises(ConfigError, match="hears nothing"):
        hear(Mute())


def test_a_voice_without_sound_is_no_voice():
    with pytest.raises(ConfigError, match="cannot be heard"):
        say(Mute())


def test_what_comes_of_it_is_told_for_each_stage(monkeypatch):
    engines = fake_engines()
    for stage in ("llm", "stt", "tts"):
        monkeypatch.setitem(loading.LOADERS, (stage, "made_up"), lambda model, _: getattr(engines, model.stage))

    class Model:
        id = "mine"
        engine = "made_up"

        def __init__(self, stage):
            self.stage = stage

    assert "it answers “" in try_model("llm", Model("llm"))
    assert "it hears “" in try_model("stt", Model("stt"))
    assert "it says “Good morning. How are you?” in " in try_model("tts", Model("tts"))


@pytest.mark.models
@pytest.mark.parametrize(
    ("stage", "model", "outcome"),
    [
        ("llm", "smollm2-135m-instruct", "Paris"),
        ("stt", "whisper-tiny.en", "it hears “Good morning"),
        ("tts", "kokoro-82m-v1.0", "it says “Good morning"),
    ],
)
def test_real_models_pass(stage, model, outcome):
    assert outcome in try_model(stage, real.local_model(model))
