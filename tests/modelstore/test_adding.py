"""A user's own model is in the store whole, tried and listed, or not at all."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.modelstore.build.tiny import write_tiny
from tests.modelstore.test_recognise import write_voice, write_whisper
from voiceedge.errors import ConfigError, EngineFailed, ModelCorrupt, ModelMissing
from voiceedge.modelstore import fetch
from voiceedge.modelstore.adding import add, manifest_toml
from voiceedge.modelstore.graphs import Builder
from voiceedge.modelstore.manifest import BuildStep, Manifest, ModelFile, PathSource, read_manifest
from voiceedge.modelstore.recognise import recognise
from voiceedge.modelstore.store import ModelStore


@pytest.fixture
def store(tmp_path) -> ModelStore:
    """The shipped catalogue, nothing of it here."""
    return ModelStore(tmp_path / "home")


@pytest.fixture
def ears(tmp_path):
    return recognise(write_whisper(tmp_path / "ears"))


def works(model) -> str:
    return f"{model.id} works"


def everything_in(store) -> set[str]:
    """Files and folders of the store, but for the lock of its manifests."""
    found = {str(path.relative_to(store.root)) for path in store.root.rglob("*")} if store.root.exists() else set()
    return found - {"manifests", "manifests/.lock", "models"}


def test_what_was_added_is_listed_present_and_verified_at_the_next_start(store, ears):
    added = add(store, ears, "mine", "MIT", works)
    assert added.outcome == "mine works"
    again = ModelStore(store.root)
    manifest = again.catalogue.model("mine")
    assert (manifest.stage, manifest.engine, manifest.licence) == ("stt", "whisper", "MIT")
    assert again.path("mine").files["model.bin"].read_bytes() == ears.files["model.bin"].read_bytes()
    assert not again.path("mine").files["model.bin"].is_symlink()
    assert again.verify("mine") == []


def test_linked_files_stay_where_they_are(store, ears):
    add(store, ears, "mine", "MIT", works, link=True)
    again = ModelStore(store.root)
    assert again.path("mine").files["model.bin"].readlink() == ears.files["model.bin"]
    assert again.verify("mine") == []
    ears.files["model.bin"].unlink()
    assert again.state("mine") == "missing"


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_gguf_file_is_built_and_its_memory_is_that_of_the_graph(store, tmp_path, family):
    candidate = recognise(write_tiny(tmp_path / "little.gguf", family))
    seen = []
    add(store, candidate, "little", "LicenseRef-none", lambda model: seen.append(model.build) or "fine")
    local = ModelStore(store.root).path("little")
    assert seen == [local.build]
    assert {"model.onnx", "model.weights", "tokenizer.json"} <= {path.name for path in local.build.iterdir()}


def test_a_gguf_file_that_cannot_be_built_leaves_nothing_and_says_why(store, tmp_path):
    candidate = recognise(write_tiny(tmp_path / "little.gguf", "llama", model="llama"))
    with pytest.raises(ConfigError, match="no byte-level BPE tokenizer"):
        add(store, candidate, "little", "MIT", works)
    assert everything_in(store) == set()


def test_a_voice_is_called_as_it_was_added_and_speaks_with_its_model(store, tmp_path, monkeypatch):
    candidate = recognise(write_voice(tmp_path / "recorded.bin"))
    base = store.catalogue.model("kokoro-82m-v1.0")
    kept = [file for file in base.files if file.package is not None]
    store.catalogue.models[base.id] = msgspec.structs.replace(base, files=tuple(kept))  # nothing to pull
    seen = []
    add(store, candidate, "bf_mine", "MIT", lambda model: seen.append(next(iter(model.files))) or "fine")
    assert seen == ["bf_mine.bin"]
    assert ModelStore(store.root).catalogue.model("bf_mine").voice_of == base.id


def fails(error):
    def attempt(_):
        raise error

    return attempt


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ConfigError("it answers nothing"), ConfigError, "it answers nothing"),
        (ModelCorrupt("cannot load it"), ModelCorrupt, "cannot load it"),
        (EngineFailed("shapes differ"), ConfigError, "mine was loaded but does not work: shapes differ"),
        (RuntimeError("odd"), ConfigError, "mine was loaded but does not work: odd"),
        (KeyboardInterrupt("stopped"), KeyboardInterrupt, "stopped"),
    ],
)
def test_what_does_not_work_leaves_nothing(store, ears, error, kind, message):
    with pytest.raises(kind, match=message):
        add(store, ears, "mine", "MIT", fails(error))
    assert everything_in(store) == set()


def test_a_full_disk_leaves_nothing(store, ears, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetch.os, "fsync", full)
    with pytest.raises((ConfigError, ModelMissing), match="No space left"):
        add(store, ears, "mine", "MIT", works)
    assert everything_in(store) == set()


def test_an_id_that_is_taken_is_refused_and_what_has_it_stays(store, ears):
    add(store, ears, "mine", "MIT", works)
    before = everything_in(store)
    for known in (ModelStore(store.root), store):  # the second read its catalogue before
        with pytest.raises(ConfigError, match="There is a model 'mine' already; choose another name with --id"):
            add(known, ears, "mine", "MIT", works)
    with pytest.raises(ConfigError, match="'whisper-base' already"):
        add(store, ears, "whisper-base", "MIT", works)
    assert everything_in(store) == before


def test_a_voice_cannot_have_the_name_of_another(store, tmp_path):
    with pytest.raises(ConfigError, match="has a voice 'af_heart' already"):
        add(store, recognise(write_voice(tmp_path / "v.bin")), "af_heart", "MIT", works)


@pytest.mark.parametrize("model_id", ["", "..", "../x", "a/b", ".hidden", "-rf", "a b", "x" * 200])
def test_what_cannot_be_a_folders_name_is_no_id(store, ears, model_id):
    with pytest.raises(ConfigError, match="cannot be an id"):
        add(store, ears, model_id, "MIT", works)


@pytest.mark.parametrize("licence", ["", " ", "©", "MIT\nevil = 1", '"'])
def test_what_is_no_licence_is_refused(store, ears, licence):
    with pytest.raises(ConfigError, match="is no licence"):
        add(store, ears, "mine", licence, works)
    assert everything_in(store) == set()


def test_what_a_killed_process_left_is_cleared_away(store, ears):
    store.folder("mine").mkdir(parents=True)
    (store.folder("mine") / "model.bin").write_bytes(b"half")
    add(store, ears, "mine", "MIT", works)
    assert ModelStore(store.root).verify("mine") == []


def test_files_that_lie_where_the_model_would_go_are_left_alone(store):
    store.folder("mine").parent.mkdir(parents=True)
    candidate = recognise(write_whisper(store.folder("mine")))
    with pytest.raises(ConfigError, match=r"lie in .*mine, where the model would go"):
        add(store, candidate, "mine", "MIT", works)
    assert candidate.files["model.bin"].exists()
    add(store, candidate, "other", "MIT", works)


@pytest.mark.parametrize("error", [NotImplementedError("IQ4_NL"), KeyError("token_embd"), ValueError("odd shape")])
def test_what_a_builder_cannot_do_is_the_operators_error_and_leaves_nothing(store, tmp_path, error):
    def build(source, target, progress):
        raise error

    building = ModelStore(store.root, store.catalogue, lambda: Builder("1", build))
    candidate = recognise(write_tiny(tmp_path / "little.gguf", "llama"))
    with pytest.raises(ConfigError, match=f"little cannot be built: {type(error).__name__}"):
        add(building, candidate, "little", "MIT", works)
    assert everything_in(store) == set()


def test_a_file_that_goes_away_or_is_empty_is_named(store, ears):
    ears.files["config.json"].write_bytes(b"")
    with pytest.raises(ConfigError, match=r"config\.json is empty"):
        add(store, ears, "mine", "MIT", works)
    ears.files["config.json"].unlink()
    with pytest.raises(ConfigError, match=r"config\.json cannot be read"):
        add(store, ears, "mine", "MIT", works)
    assert everything_in(store) == set()


def test_a_manifest_that_cannot_be_written_leaves_nothing(store, ears):
    store.manifest_path("mine").with_name(".mine.toml.new").mkdir(parents=True)
    with pytest.raises(ConfigError, match="mine cannot be added"):
        add(store, ears, "mine", "MIT", works)
    assert everything_in(store) == {"manifests/.mine.toml.new"}


def test_a_store_that_cannot_be_written_is_the_operators_error(ears, tmp_path):
    (tmp_path / "home").touch()
    with pytest.raises(ConfigError, match="mine cannot be added"):
        add(ModelStore(tmp_path / "home"), ears, "mine", "MIT", works)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@given(TEXT, TEXT, st.booleans(), st.sampled_from([None, BuildStep("gguf", "m")]), st.sampled_from([None, "base"]))
def test_a_manifest_that_is_written_reads_as_it_was(tmp_path_factory, text, path, link, build, voice_of):
    file = ModelFile("m", "0" * 64, 5, (PathSource(f"/{path}", link),))
    manifest = Manifest("x", "llm", "onnx_llm", text, (text, "en"), text, text, 7, (file,), build, voice_of)
    target = tmp_path_factory.mktemp("toml") / "x.toml"
    target.write_bytes(manifest_toml(manifest).encode())
    if "\n" not in path and "\r" not in path:  # the pattern of paths takes one line
        assert read_manifest(target) == manifest
