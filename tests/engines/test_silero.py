import numpy as np
import pytest

from voiceedge.engines.silero import SileroVad
from voiceedge.errors import ModelCorrupt, ModelMissing


def frames(audio):
    return audio[: audio.size // 512 * 512].reshape(-1, 512)


@pytest.fixture(scope="module")
def vad(weights):
    return SileroVad(weights("silero-vad-v6", "silero_vad_v6.onnx"))


@pytest.mark.models
def test_speech_is_heard_and_the_noise_around_it_is_not(vad, spoken):
    stream = vad.open()
    probabilities = [stream.probability(frame) for frame in frames(spoken("What is the capital of France?"))]
    assert max(probabilities) > 0.95
    assert max(probabilities[:6]) < 0.3  # the first 192 ms
    assert probabilities[-1] < 0.3


@pytest.mark.models
def test_streams_do_not_hear_each_other(vad, spoken):
    audio = frames(spoken("Hello there, how are you?"))
    alone = vad.open()
    expected = [alone.probability(frame) for frame in audio]
    stream, other = vad.open(), vad.open()
    mixed = []
    for frame in audio:
        mixed.append(stream.probability(frame))
        other.probability(frame[::-1].copy())
    assert mixed == expected


@pytest.mark.models
def test_a_frame_of_another_length_is_refused(vad):
    with pytest.raises(ValueError, match="512"):
        vad.open().probability(np.zeros(480, dtype=np.float32))


def test_a_missing_and_a_damaged_model_are_told_apart(tmp_path):
    with pytest.raises(ModelMissing, match=r"vad\.onnx"):
        SileroVad(tmp_path / "vad.onnx")
    (tmp_path / "vad.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelCorrupt, match=r"vad\.onnx"):
        SileroVad(tmp_path / "vad.onnx")
