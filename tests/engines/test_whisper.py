import re

import numpy as np
import pytest

from voiceedge.engines.whisper import BRIEF_S, LONGEST_AUDIO_S, Whisper, _pad, _windows
from voiceedge.errors import ConfigError, ModelCorrupt, ModelMissing

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def tiny(weights):
    return Whisper(weights("whisper-tiny.en"))


@pytest.fixture(scope="module")
def base(weights):
    return Whisper(weights("whisper-base"))


@pytest.fixture(params=["tiny", "base"])
def whisper(request):
    return request.getfixturevalue(request.param)


def words(segments):
    return re.findall(r"\w+", " ".join(segment.text for segment in segments).lower())


@pytest.mark.models
def test_what_was_said_is_heard(whisper, spoken):
    segments = list(whisper.transcribe(spoken("What is the capital of France?")))
    assert words(segments) == ["what", "is", "the", "capital", "of", "france"]
    assert segments[0].mean_log_probability > -0.5
    assert segments[0].no_speech_probability < 0.5


@pytest.mark.models
@pytest.mark.parametrize("text", ["Yes.", "Stop, stop!", "Bye bye."])
def test_a_word_or_two_do_not_loop(whisper, spoken, text):
    assert words(whisper.transcribe(spoken(text))) == words_of(text)


def words_of(text):
    return re.findall(r"\w+", text.lower())


@pytest.mark.models
@pytest.mark.parametrize(
    "audio",
    [
        np.zeros(3 * RATE_HZ, dtype=np.float32),
        np.random.default_rng(0).normal(0, 0.01, 3 * RATE_HZ).astype(np.float32),
        np.random.default_rng(0).normal(0, 0.2, RATE_HZ).astype(np.float32),
        (0.1 * np.sin(np.arange(4 * RATE_HZ) * 2 * np.pi * 50 / RATE_HZ)).astype(np.float32),
    ],
    ids=["silence", "hiss", "loud hiss", "hum"],
)
def test_no_words_are_made_out_of_silence_and_noise(whisper, audio):
    assert words(whisper.transcribe(audio)) == []


@pytest.mark.models
def test_long_audio_comes_as_several_segments_and_loses_no_word_at_the_cuts(tiny, spoken):
    numbers = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    sentence = "The train number {} leaves the station in the early morning."
    audio = np.concatenate([spoken(sentence.format(number)) for number in numbers])
    segments = list(tiny.transcribe(audio))
    assert len(segments) > 1
    assert words(segments).count("station") == len(numbers)


@pytest.mark.models
def test_no_audio_has_no_segments(tiny):
    assert list(tiny.transcribe(np.zeros(0, dtype=np.float32))) == []


@pytest.mark.models
def test_a_language_that_the_model_does_not_know_is_refused(weights):
    with pytest.raises(ConfigError, match="English"):
        Whisper(weights("whisper-tiny.en"), language="de")
    with pytest.raises(ConfigError, match="xx"):
        Whisper(weights("whisper-base"), language="xx")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelMissing, match=r"model\.bin"):
        Whisper(tmp_path)


def test_a_damaged_file_is_reported_with_its_folder(tmp_path):
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes(b"not a model")
    with pytest.raises(ModelCorrupt, match=tmp_path.name):
        Whisper(tmp_path)


@pytest.mark.parametrize(("seconds", "window_s"), [(0.3, 5.0), (4.0, 5.0), (4.01, 5.1), (10.0, 11.0), (29.5, 30.0)])
def test_a_window_is_as_long_as_its_audio_and_a_second(seconds, window_s):
    audio = np.ones(round(seconds * RATE_HZ), dtype=np.float32)
    padded = _pad(audio, 5.0)
    assert padded.size == window_s * RATE_HZ
    assert padded.sum() == audio.size
    assert BRIEF_S < 5.0


def test_long_audio_is_cut_at_its_quietest_place_and_nothing_is_lost():
    audio = np.random.default_rng(0).normal(0, 0.1, 70 * RATE_HZ).astype(np.float32)
    pauses = [round(25.3 * RATE_HZ), round(47.1 * RATE_HZ)]
    for pause in pauses:
        audio[pause - 2_000 : pause + 2_000] *= 0.01
    windows = list(_windows(audio))
    assert np.array_equal(np.concatenate(windows), audio)
    assert max(window.size for window in windows) <= LONGEST_AUDIO_S * RATE_HZ
    cuts = np.cumsum([window.size for window in windows])[:-1]
    assert cuts.tolist() == pytest.approx(pauses, abs=600)
