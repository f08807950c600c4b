import re
from math import exp

import numpy as np
import pytest

from voiceedge.audio.pcm import level_dbfs
from voiceedge.engines.whisper import (
    LONGEST_AUDIO_S,
    NO_SPEECH_ODDS,
    SILENCE_S,
    WINDOW_S,
    Whisper,
    _Heard,
    _is_nothing,
    _pad,
    _raised,
    _windows,
)
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
@pytest.mark.parametrize("gain_db", [-30, -45])
def test_a_microphone_that_is_turned_down_is_heard(whisper, spoken, gain_db):
    speech = spoken("What is the capital of France?")
    faint = np.round(speech * 10 ** (gain_db / 20) * 32768).astype(np.float32) / 32768  # as 16 bits bring it
    assert words(whisper.transcribe(faint)) == ["what", "is", "the", "capital", "of", "france"]


@pytest.mark.models
@pytest.mark.parametrize("seconds", [0.3, 2.0, 19.5, 20.5, 28.9, 29.0])
def test_audio_of_every_length_finds_silence_behind_it(tiny, seconds, monkeypatch):
    # as much as the model has places for; the decoder must never be given more than its 30 s
    given = []
    generate = tiny._model.generate

    def spy(features, *arguments, **options):
        given.append(features.shape[1])
        return generate(features, *arguments, **options)

    class Model:
        encode, align = tiny._model.encode, tiny._model.align

    Model.generate = staticmethod(spy)
    monkeypatch.setattr(tiny, "_model", Model)
    audio = np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE_HZ)).astype(np.float32)
    list(tiny.transcribe(audio))
    assert 50 * min(seconds + SILENCE_S, WINDOW_S) - 5 <= given[0] <= 50 * WINDOW_S


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


def test_only_what_is_faint_is_raised_and_silence_stays_silence():
    tone = np.sin(np.arange(RATE_HZ) * 0.2).astype(np.float32)
    assert level_dbfs(_raised(tone * np.float32(1e-3))) == pytest.approx(-20, abs=0.5)
    for untouched in (tone * np.float32(0.02), np.zeros(RATE_HZ, dtype=np.float32), tone[:100], tone[:0]):
        assert _raised(untouched) is untouched
    hiss = np.random.default_rng(0).integers(-1, 2, RATE_HZ).astype(np.float32) / 32768  # the last bit
    assert _raised(hiss) is hiss


@pytest.mark.parametrize(
    ("text", "mean_log_probability", "no_speech", "nothing"),
    [
        ("...", -0.1, 0.0, True),
        ("Yes.", -0.7, 0.6, False),
        ("Seven.", -1.04, 0.68, False),
        ("I'm going to do that.", -1.7, 0.94, True),
        ("you", -1.0, NO_SPEECH_ODDS * exp(-1.0) + 0.01, True),
        ("you", -1.0, NO_SPEECH_ODDS * exp(-1.0) - 0.01, False),
    ],
)
def test_words_that_are_less_likely_than_nothing_are_nothing(text, mean_log_probability, no_speech, nothing):
    assert _is_nothing(text, _Heard((1,), 1, mean_log_probability, no_speech)) is nothing
