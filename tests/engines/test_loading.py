from dataclasses import dataclass, field
from pathlib import Path

import pytest

from voiceedge.engines import loading
from voiceedge.engines.loading import STAGES, ThreadPlan, load_engines, load_stage, thread_plan
from voiceedge.engines.renewal import parts_of
from voiceedge.errors import ConfigError, ModelMissing


@dataclass
class Model:
    id: str
    engine: str
    folder: Path = Path()
    files: dict = field(default_factory=dict)
    build: Path | None = None


NANO = {
    "vad": Model("silero", "silero"),
    "end_of_turn": Model("turn", "smart_turn"),
    "stt": Model("tiny", "whisper"),
    "llm": Model("smol", "onnx_llm"),
    "tts": Model("voice", "hibari"),
}


def load(models):
    return load_engines(models, slots=2, context_tokens=256, threads=ThreadPlan())


def test_engines_are_found_by_stage_and_name(monkeypatch):
    for stage, engine in list(loading.LOADERS):
        monkeypatch.setitem(loading.LOADERS, (stage, engine), lambda model, _: f"engine of {model.id}")
    engines = load(NANO)
    assert engines.llm == "engine of smol"
    assert engines.names == {"vad": "silero", "end_of_turn": "turn", "stt": "tiny", "llm": "smol", "tts": "voice"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_can_be_loaded_once_more_and_no_other_is(monkeypatch, stage):
    loaded = []

    def load_one(model, options):
        loaded.append((model.id, options.slots, options.context_tokens))
        return f"engine of {model.id}"

    for key in list(loading.LOADERS):
        monkeypatch.setitem(loading.LOADERS, key, load_one)
    before = load(NANO)
    loaded.clear()
    parts = load_stage(stage, NANO, slots=2, context_tokens=256, threads=ThreadPlan())
    assert loaded == [(NANO[stage].id, 2, 256)]
    assert parts == parts_of(before, stage)


@pytest.mark.parametrize("stage", STAGES)
def test_a_profile_without_a_stage_is_refused(stage):
    with pytest.raises(ConfigError, match=stage):
        load({name: model for name, model in NANO.items() if name != stage})


def test_an_engine_of_another_stage_is_refused_and_the_right_ones_are_named():
    with pytest.raises(ConfigError, match=r"whisper.*vad.*silero"):
        load({**NANO, "vad": Model("odd", "whisper")})


def test_a_model_without_its_file_or_its_build_is_missing():
    with pytest.raises(ModelMissing, match=r"silero.*\.onnx"):
        load(NANO)
    with pytest.raises(ModelMissing, match="smol"):
        loading.LOADERS["llm", "onnx_llm"](NANO["llm"], None)


def test_a_kokoro_model_gets_its_voices_by_name_and_in_order(monkeypatch):
    made = []
    monkeypatch.setattr("voiceedge.engines.kokoro.KokoroTts", lambda *given: made.append(given))
    files = {"mine.bin": Path("m"), "oov.onnx": Path("o"), "kokoro.onnx": Path("k"), "af_heart.bin": Path("h")}
    options = loading._Options(1, 256, ThreadPlan(tts=2), "en")
    loading.LOADERS["tts", "kokoro"](Model("k", "kokoro", files=files), options)
    assert made == [(Path("k"), {"mine": Path("m"), "af_heart": Path("h")}, 2)]
    assert list(made[0][1]) == ["mine", "af_heart"]


@pytest.mark.parametrize("cores", range(1, 65))
def test_every_core_has_work_and_no_engine_has_more_threads_than_cores(cores):
    plan = thread_plan(cores)
    assert 1 <= plan.workers <= cores
    assert plan.workers >= cores - 1
    assert max(plan.vad, plan.end_of_turn, plan.stt, plan.llm, plan.tts) <= cores
