import numpy as np
import pytest

from tests.modelstore.build.tiny_whisper import write
from voiceedge.errors import ConfigError
from voiceedge.modelstore.build.ctranslate2_weights import CTranslate2Weights

ARRAYS = {
    "a/weight": np.arange(6, dtype=np.float16).reshape(2, 3),
    "b": np.array(7, np.int16),
    "c": np.array([[1.5, -2.5]], np.float32),
    "d": np.array([-3], np.int8),
    "e": np.array([[127, -127], [0, 127]], np.int8),
    "e_scale": np.array([127, 254], np.float32),
}


@pytest.fixture
def model(tmp_path):
    return write(tmp_path / "model.bin", ARRAYS, aliases=[("second", "a/weight")])


def test_arrays_come_back_as_they_were_written(model):
    read = CTranslate2Weights(model)
    assert read.kind == "WhisperSpec"
    for name, array in ARRAYS.items():
        assert np.array_equal(read.array(name), array)
        assert (read.array(name).dtype, read.array(name).shape) == (array.dtype, array.shape)
    assert np.array_equal(read.array("second"), ARRAYS["a/weight"])
    assert read.has("second")
    assert not read.has("third")


def test_what_was_rounded_to_int8_row_by_row_comes_back_as_floats(model):
    assert CTranslate2Weights(model).floats("e").tolist() == [[1.0, -1.0], [0.0, 0.5]]


def test_floats_are_float32_and_nothing_else_is_a_float(model):
    read = CTranslate2Weights(model)
    assert read.floats("a/weight").dtype == np.float32
    with pytest.raises(ConfigError, match="d is int8"):
        read.floats("d")
    with pytest.raises(ConfigError, match="has no f"):
        read.floats("f")


@pytest.mark.parametrize("kept", [0, 3, 10, 40, -30, -1])
def test_half_a_file_is_refused(model, kept):
    model.write_bytes(model.read_bytes()[:kept])
    with pytest.raises(ConfigError, match=r"model\.bin"):
        CTranslate2Weights(model)


def test_another_version_or_another_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="version 6"):
        CTranslate2Weights(write(tmp_path / "old.bin", ARRAYS, version=5))
    (tmp_path / "text").write_text("not a model at all, but long enough")
    with pytest.raises(ConfigError, match="version 6"):
        CTranslate2Weights(tmp_path / "text")
