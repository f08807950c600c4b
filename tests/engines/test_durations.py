from pathlib import Path

import hibari
import numpy as np
import pytest
from hibari import dsp

from voiceedge.engines.durations import FRAME_S, open_with_durations
from voiceedge.engines.hibari import DURATIONS
from voiceedge.errors import ModelCorrupt, ModelMissing


@pytest.fixture(scope="module")
def package():
    return hibari.Hibari()


@pytest.mark.models
def test_a_voice_says_how_long_each_phoneme_is(package):
    session = open_with_durations(Path(package.model_path), DURATIONS, threads=1)
    ids = package.ids("haj.")
    inputs = {"ids": np.asarray([ids], np.int64), "speed": np.asarray([1.0], np.float32)}
    *layers, f0, durations = session.run(None, inputs)
    assert [output.name for output in session.get_outputs()][-1] == DURATIONS
    assert durations.size == len(ids)
    assert durations.sum() * FRAME_S == pytest.approx(f0.size * dsp.HOP / dsp.SR)
    assert len(layers) == 5


def test_a_model_without_durations_is_refused(package):
    with pytest.raises(ModelCorrupt, match="cannot load"):
        open_with_durations(Path(package.model_path), "/Nothing_output_0", threads=1)


def test_a_missing_file_and_one_that_is_no_graph_are_told(tmp_path):
    with pytest.raises(ModelMissing):
        open_with_durations(tmp_path / "voice.onnx", DURATIONS, threads=1)
    (tmp_path / "voice.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelCorrupt, match="cannot load"):
        open_with_durations(tmp_path / "voice.onnx", DURATIONS, threads=1)
