"""Kokoro's voices: made-up weights for what is promised, real ones for what is heard."""

import json
import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests import real
from voiceedge.audio.pcm import first_audible, level_dbfs
from voiceedge.audio.resample import resample
from voiceedge.engines.kokoro import DURATIONS, VOCABULARY, KokoroTts, read_voice
from voiceedge.engines.whisper import Whisper
from voiceedge.errors import ModelCorrupt, ModelMissing

SENTENCE = "The weather is lovely today, so we walked along the river and had lunch in the garden."
VOICES = ("af_heart", "af_bella", "am_fenrir", "am_michael", "bf_emma", "bm_george")


def write_voice(path, level=0.1):
    np.full((510, 1, 256), level, "<f4").tofile(path)
    return path


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """A model whose audio is 4 frames (2,400 samples) a token, as loud as the style says."""
    nodes = [
        helper.make_node("Cast", ["tokens"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "none"], ["zero"]),
        helper.make_node("Add", ["zero", "frames"], ["long"]),
        helper.make_node("Round", ["long"], ["rounded"]),
        helper.make_node("Clip", ["rounded", "shortest"], [DURATIONS]),
        helper.make_node("Shape", ["tokens"], ["shape"]),
        helper.make_node("ReduceProd", ["shape"], ["length"], keepdims=1),
        helper.make_node("Mul", ["length", "step"], ["size"]),
        helper.make_node("ReduceMean", ["style"], ["level"], keepdims=0),
        helper.make_node("Mul", ["level", "speed"], ["scaled"]),
        helper.make_node("Expand", ["scaled", "size"], ["audio"]),
    ]
    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, [1, "length"]),
        helper.make_tensor_value_info("style", TensorProto.FLOAT, [1, 256]),
        helper.make_tensor_value_info("speed", TensorProto.FLOAT, [1]),
    ]
    outputs = [helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["samples"])]
    step = helper.make_tensor("step", TensorProto.INT64, [1], [2_400])
    constants = [
        step,
        *(
            helper.make_tensor(name, TensorProto.FLOAT, [], [value])
            for name, value in {"none": 0.0, "frames": 4.2, "shortest": 1.0}.items()
        ),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "made-up", inputs, outputs, constants), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    path = tmp_path_factory.mktemp("kokoro") / "kokoro.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def tts(graph, tmp_path):
    voices = {"af_loud": write_voice(tmp_path / "a.bin", 0.5), "af_soft": write_voice(tmp_path / "b.bin", 0.05)}
    return KokoroTts(graph, voices)


def test_phonemes_have_the_numbers_that_kokoro_was_trained_with():
    numbers = json.loads(VOCABULARY.read_text(encoding="utf-8"))
    known = {";": 1, ".": 4, " ": 16, "A": 24, "a": 43, "h": 50, "ð": 81, "ə": 83, "ɹ": 123, "ᵻ": 177}
    assert {phoneme: numbers[phoneme] for phoneme in known} == known
    assert (len(numbers), max(numbers.values())) == (114, 177)


def test_the_first_voice_is_the_default_and_each_has_its_own_style(tts):
    assert tts.voices == ("af_loud", "af_soft")
    loud, soft = (level_dbfs(np.concatenate(list(tts.speak("Hello.", voice, 1.0)))) for voice in tts.voices)
    assert loud == pytest.approx(soft + 20, abs=0.5)


def test_a_style_goes_with_the_number_of_phonemes_and_tokens_are_padded(graph, tmp_path, monkeypatch):
    np.arange(510, dtype="<f4").repeat(256).tofile(tmp_path / "v.bin")
    tts = KokoroTts(graph, {"af_v": tmp_path / "v.bin"})
    asked = []

    class Session:
        def run(self, _, inputs):
            asked.append(inputs)
            return [np.zeros(0, np.float32), np.ones(inputs["tokens"].size, np.float32)]

    monkeypatch.setattr(tts, "_session", Session())
    assert list(tts.speak("Hello there.", "af_v", 0.75)) == []
    (inputs,) = asked
    tokens = inputs["tokens"]
    assert (tokens.dtype, tokens[0, 0], tokens[0, -1]) == (np.int64, 0, 0)
    assert (tokens[0, 1:-1] > 0).all()
    assert inputs["style"].shape == (1, 256)
    assert inputs["style"][0, 0] == tokens.size - 2
    assert inputs["speed"].tolist() == [0.75]


def test_what_stands_before_and_behind_is_not_heard(tts):
    alone = speak(tts, "Hello there", "af_loud")
    within = speak(tts, "Hello there", "af_loud", before="Well then and", goes_on=True)
    pads, space, joints = 2 * 2_400, 2_400, 2 * round(0.007 * 24_000)
    assert within.size == pytest.approx(alone.size - pads + space + joints, abs=1)


def test_an_unknown_voice_is_refused_and_the_known_are_named(tts):
    with pytest.raises(ValueError, match="af_loud, af_soft"):
        list(tts.speak("Hello.", "alloy", 1.0))


@pytest.mark.parametrize("text", ["", "...", "\N{CJK UNIFIED IDEOGRAPH-65E5}"])
def test_nothing_comes_of_text_that_cannot_be_pronounced(tts, text):
    assert list(tts.speak(text, "af_loud", 1.0)) == []


def test_a_sentence_without_end_stays_within_what_the_model_takes(tts):
    pieces = list(tts.speak("and another word " * 60, "af_loud", 1.0))
    assert len(pieces) > 3
    assert max(piece.size for piece in pieces) <= 152 * 2_400


def test_audio_never_leaves_its_range(graph, tmp_path):
    (audio,) = KokoroTts(graph, {"af_v": write_voice(tmp_path / "v.bin", 3.0)}).speak("Hello.", "af_v", 1.0)
    assert audio.max() == 1.0


def test_files_that_are_missing_or_no_voices_are_told(graph, tmp_path):
    with pytest.raises(ModelMissing, match="has no voices"):
        KokoroTts(graph, {})
    with pytest.raises(ModelMissing, match=r"v\.bin is missing"):
        read_voice(tmp_path / "v.bin")
    (tmp_path / "v.bin").write_bytes(bytes(100))
    with pytest.raises(ModelCorrupt, match=r"has 100 bytes; .*\[510, 1, 256\], has 522240"):
        read_voice(tmp_path / "v.bin")
    with pytest.raises(ModelCorrupt, match="not finite"):
        read_voice(write_voice(tmp_path / "v.bin", np.nan))


# ── real weights ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def kokoro():
    files = real.local_model("kokoro-82m-v1.0").files
    return KokoroTts(files["kokoro.onnx"], {voice: files[f"{voice}.bin"] for voice in VOICES})


@pytest.fixture(scope="module")
def ears():
    return Whisper(real.local_model("whisper-base").folder)


def speak(tts, text, voice, speed=1.0, **around):
    return np.concatenate(list(tts.speak(text, voice, speed, **around)))


def words(text):
    return re.findall(r"[a-z]+", text.lower())


@pytest.mark.models
@pytest.mark.parametrize("voice", VOICES)
def test_what_a_voice_says_is_understood(kokoro, ears, voice):
    audio = speak(kokoro, SENTENCE, voice)
    assert first_audible(audio, 24_000) <= 0.03 * 24_000
    heard = " ".join(segment.text for segment in ears.transcribe(resample(audio, 24_000, 16_000)))
    assert words(heard) == words(SENTENCE)


@pytest.mark.models
def test_voices_sound_different(kokoro):
    heart, george = (speak(kokoro, "Good morning.", voice) for voice in ("af_heart", "bm_george"))
    assert heart.size != george.size or not np.allclose(heart, george, atol=0.05)


@pytest.mark.models
def test_the_british_say_it_their_way(kokoro):
    assert kokoro._g2p[True]("bath") != kokoro._g2p[False]("bath")


@pytest.mark.models
def test_speed_changes_how_long_it_takes(kokoro):
    slow, normal, fast = (speak(kokoro, "Good morning to you.", "af_heart", speed).size for speed in (0.5, 1.0, 1.5))
    assert slow > 1.6 * normal
    assert fast < 0.8 * normal
