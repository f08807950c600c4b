"""What the doctor says of the models of a store."""

import hashlib

import pytest

from voiceedge.doctor.models import choices, disk_finding, take_inventory
from voiceedge.errors import ConfigError
from voiceedge.modelstore.manifest import STAGES, Catalogue, Manifest, ModelFile, PathSource, Profile
from voiceedge.modelstore.store import ModelStore

ENGINES = {"vad": "silero", "end_of_turn": "smart_turn", "stt": "whisper", "llm": "onnx_llm", "tts": "kokoro"}


def manifest(model_id, stage, source, size=None):
    content = model_id.encode()
    file = ModelFile("m.bin", hashlib.sha256(content).hexdigest(), size or len(content), (PathSource(str(source)),))
    return Manifest(model_id, stage, ENGINES[stage], "f", ("en",), "MIT", "made up", 10, (file,))


@pytest.fixture
def store(tmp_path):
    """Two profiles that share all but their LLM; nothing is here yet."""
    ids = {**{stage: stage for stage in STAGES}, "llm2": "llm"}
    models = {}
    for model_id, stage in ids.items():
        source = tmp_path / f"{model_id}.src"
        source.write_bytes(model_id.encode())
        models[model_id] = manifest(model_id, stage, source)
    small = Profile("small", "s", "en", {stage: stage for stage in STAGES})
    large = Profile("large", "l", "en", {**small.models, "llm": "llm2"})
    return ModelStore(tmp_path / "home", Catalogue(models, {"small": small, "large": large}))


def look(store, configured="small", instead=None, **options):
    return take_inventory(store, choices(store, configured, instead or {}), configured, **options)


def lines(inventory):
    return [(finding.level, finding.text, finding.advice) for finding in inventory.findings]


def test_without_models_it_says_how_to_pull_them(store):
    found = look(store)
    assert found.sound == {}
    absent = "vad, end_of_turn, stt, llm, tts"
    assert lines(found)[0] == ("warning", f"profile small: not here: {absent}", "voiceedge models pull small")
    assert lines(found)[1][0] == "ok"  # nobody wants the other profile


def test_offline_a_missing_model_is_a_problem(store):
    assert look(store, offline=True).findings[0].level == "problem"


def test_what_is_here_and_right_is_told_and_handed_on(store):
    store.resolve("small")
    found = look(store)
    assert lines(found)[0] == ("ok", "profile small: 5 models are here, each file's sha256 is right", "")
    assert lines(found)[1] == ("ok", "profile large: not here: llm2", "voiceedge models pull large")
    assert set(found.sound) == set(STAGES)


def test_a_file_that_is_not_what_it_should_be_is_a_problem_with_its_repair(store):
    store.resolve("small")
    (store.folder("stt") / "m.bin").write_bytes(b"sxx")
    found = look(store)
    (problem,) = [f for f in found.findings if f.level == "problem"]
    assert problem.text.startswith("stt: m.bin is not what it should be (sha256 ")
    assert problem.advice == "voiceedge models pull --repair stt"
    assert "stt" not in found.sound
    assert "are here" not in " ".join(f.text for f in found.findings)


def test_a_model_in_the_place_of_the_profiles_counts_for_that_profile(store):
    store.resolve("small")
    found = look(store, "small", {"llm": "llm2"})
    assert lines(found)[0] == ("warning", "profile small: not here: llm2", "voiceedge models pull small llm2")


@pytest.mark.parametrize(("configured", "instead"), [("none", {}), ("small", {"llm": "none"})])
def test_what_is_unknown_is_the_operators_mistake(store, configured, instead):
    with pytest.raises(ConfigError, match="There is no"):
        choices(store, configured, instead)


def test_memory_is_that_of_all_its_models(store):
    assert choices(store, "small", {})[0].memory_bytes == 5 * 10_000_000


@pytest.mark.parametrize(("free_gb", "level"), [(100, "ok"), (0.1, "warning")])
def test_room_on_the_disk_is_told(store, monkeypatch, free_gb, level):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free_gb * 1e9}))
    finding = disk_finding(store, choices(store, "small", {})[0])
    assert finding.level == level
    assert f"{free_gb:.1f} GB of disk free" in finding.text


def test_too_little_room_for_what_is_missing_is_a_problem(store, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 3}))
    assert disk_finding(store, choices(store, "small", {})[0]).level == "problem"
