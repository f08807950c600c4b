"""The store as its users see it: pull, verify, repair, resolve, alone and beside another process."""

import os
import shutil
import threading
from types import SimpleNamespace

import pytest
from filelock import FileLock
from msgspec import structs

from voiceedge.errors import ConfigError, ModelCorrupt, ModelMissing
from voiceedge.modelstore import STAGES, ModelStore
from voiceedge.modelstore.graphs import Builder
from voiceedge.modelstore.manifest import (
    BuildStep,
    Catalogue,
    Manifest,
    PackageSource,
    PathSource,
    Profile,
    UrlSource,
    WheelSource,
)

CONTENT = b"weights"


class Compiler:
    """A builder that counts its runs."""

    def __init__(self, version="1"):
        self.runs = 0
        self.version = version

    def __call__(self) -> Builder:
        return Builder(self.version, self.build)

    def build(self, source, target, progress):
        self.runs += 1
        progress(1.0, "done")
        (target / "model.onnx").write_bytes(source.read_bytes().upper())


@pytest.fixture
def compiler() -> Compiler:
    return Compiler()


@pytest.fixture
def store(site, make_file, make_catalogue, tmp_path) -> ModelStore:
    """One model of one file, on the web site."""
    site.pages["/w"] = CONTENT
    return ModelStore(tmp_path / "home", make_catalogue(make_file(CONTENT, UrlSource(site.url("/w")))))


@pytest.fixture
def building(site, make_file, make_catalogue, tmp_path, compiler) -> ModelStore:
    """The same with a build step."""
    site.pages["/w"] = CONTENT
    file = make_file(CONTENT, UrlSource(site.url("/w")))
    catalogue = make_catalogue(file, build=BuildStep("gguf", "weights.bin"))
    return ModelStore(tmp_path / "home", catalogue, compiler)


def damage(path) -> None:
    """Change a byte; neither size nor time of modification tell."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_pulled_model_is_present_and_only_its_files_are_visible(store):
    assert store.state("tiny") == "missing"
    local = store.pull("tiny")
    assert store.state("tiny") == "present"
    assert store.path("tiny") == local
    assert (local.id, local.stage, local.engine, local.build) == ("tiny", "llm", "onnx_llm", None)
    assert local.folder == store.root / "models" / "tiny"
    assert local.files["weights.bin"].read_bytes() == CONTENT
    assert [path.name for path in local.folder.glob("[!.]*")] == ["weights.bin"]
    assert list(local.folder.glob(".pull-*")) == []


def test_what_is_here_is_not_fetched_again(store, site):
    store.pull("tiny")
    store.pull("tiny")
    assert site.asked == ["/w"]


def test_offline_says_what_is_missing_from_where_and_how_to_bring_it_without_touching_the_network(store, site):
    with pytest.raises(ModelMissing) as caught:
        store.pull("tiny", offline=True)
    text = str(caught.value)
    assert "missing weights.bin" in text
    assert store.catalogue.model("tiny").files[0].sha256 in text
    assert f"would come from {site.url('/w')}" in text
    assert f"put it into {store.folder('tiny')}" in text
    assert site.asked == []
    assert not store.root.exists()


def test_a_file_brought_by_hand_is_taken(store, site):
    store.folder("tiny").mkdir(parents=True)
    (store.folder("tiny") / "weights.bin").write_bytes(CONTENT)
    assert store.pull("tiny", offline=True).files["weights.bin"].read_bytes() == CONTENT
    assert site.asked == []


def test_the_path_of_a_model_that_is_not_here_is_an_error_that_names_the_command(store, building):
    with pytest.raises(ModelMissing, match="`voiceedge models pull tiny` fetches it"):
        store.path("tiny")
    store.pull("tiny")
    with pytest.raises(ModelMissing, match="not built yet; run `voiceedge models pull tiny`"):
        building.path("tiny")


def test_unknown_models_and_profiles_are_the_operators_error(store):
    with pytest.raises(ConfigError, match="known are: tiny"):
        store.pull("huge")
    with pytest.raises(ConfigError, match="no profile"):
        store.resolve("huge")


def test_of_two_that_pull_the_second_waits_and_finds_it_done(store, site):
    folder = store.folder("tiny")
    folder.mkdir(parents=True)
    waiting = threading.Event()
    steps = []

    def note(step):
        steps.append(step.what)
        waiting.set()

    second = threading.Thread(target=store.pull, args=("tiny", note))
    with FileLock(folder / ".lock"):
        second.start()
        assert waiting.wait(10)
        (folder / "weights.bin").write_bytes(CONTENT)
    second.join(10)
    assert steps[0] == "waiting for another process that is at it"
    assert store.state("tiny") == "present"
    assert site.asked == []


def test_of_two_that_build_the_second_waits_and_finds_it_done(building, compiler):
    build = building.pull("tiny").build
    build.rename(build.with_name("aside"))
    waiting = threading.Event()

    def note(step):
        if step.what.startswith("waiting"):
            waiting.set()

    second = threading.Thread(target=building.pull, args=("tiny", note))
    with FileLock(building.folder("tiny") / ".lock"):
        second.start()
        assert waiting.wait(10)
        build.with_name("aside").rename(build)
    second.join(10)
    assert compiler.runs == 1


def test_an_interrupted_pull_leaves_only_what_has_arrived_and_the_next_one_works(store):
    def interrupt(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.pull("tiny", interrupt)
    assert list(store.folder("tiny").glob("[!.]*")) == []
    assert list(store.folder("tiny").glob(".pull-*")) == []
    store.pull("tiny")


def test_what_a_killed_pull_left_is_cleared_away(store):
    leftover = store.folder("tiny") / ".pull-abc"
    leftover.mkdir(parents=True)
    (leftover / "weights.bin").write_bytes(b"wei")
    store.pull("tiny")
    assert not leftover.exists()


@pytest.mark.parametrize("change", [damage, lambda path: path.write_bytes(b"short")])
def test_a_corrupted_file_stops_the_start_and_names_expectation_and_repair(store, change):
    local = store.pull("tiny")
    change(local.files["weights.bin"])
    with pytest.raises(ModelCorrupt) as caught:
        store.pull("tiny", offline=True)
    text = str(caught.value)
    assert str(local.files["weights.bin"]) in text
    assert store.catalogue.model("tiny").files[0].sha256 in text
    assert "voiceedge models pull --repair tiny" in text


def test_repair_replaces_what_differs_and_nothing_else(site, make_file, make_catalogue, tmp_path):
    site.pages |= {"/a": b"aaa", "/b": b"bbb"}
    files = [make_file(site.pages[f"/{n}"], UrlSource(site.url(f"/{n}")), name=n) for n in "ab"]
    store = ModelStore(tmp_path / "home", make_catalogue(*files))
    damage(store.pull("tiny").files["b"])
    assert [problem.file for problem in store.verify("tiny")] == ["b"]
    store.pull("tiny", repair=True)
    assert store.verify("tiny") == []
    assert site.asked == ["/a", "/b", "/b"]


def test_verify_names_what_is_missing_and_what_is_not_built(building):
    missing, unbuilt = building.verify("tiny")
    assert (missing.file, missing.found) == ("weights.bin", "no file")
    assert (unbuilt.expected, unbuilt.found) == ("a finished build", "none")
    building.pull("tiny")
    assert building.verify("tiny") == []


def test_a_build_is_made_once_for_an_input_and_a_builder(building, compiler):
    first = building.pull("tiny").build
    assert building.pull("tiny").build == first
    assert (first / "model.onnx").read_bytes() == CONTENT.upper()
    assert compiler.runs == 1
    compiler.version = "2"
    assert building.state("tiny") == "missing"
    assert building.pull("tiny", offline=True).build != first
    assert compiler.runs == 2


def test_nothing_is_built_out_of_a_corrupted_file(building, compiler):
    building.folder("tiny").mkdir(parents=True)
    (building.folder("tiny") / "weights.bin").write_bytes(b"wEights")
    with pytest.raises(ModelCorrupt):
        building.pull("tiny")
    assert compiler.runs == 0


def test_a_corrupted_build_is_found_and_repaired_without_fetching(building, compiler, site):
    build = building.pull("tiny").build
    damage(build / "model.onnx")
    with pytest.raises(ModelCorrupt, match=r"model\.onnx is not what it should be"):
        building.pull("tiny")
    (problem,) = building.verify("tiny")
    assert problem.file == f"{build.name}/model.onnx"
    building.pull("tiny", repair=True, offline=True)
    assert building.verify("tiny") == []
    assert compiler.runs == 2
    assert site.asked == ["/w"]


def test_a_packages_file_is_used_where_it_lies(make_file, make_catalogue, tmp_path, monkeypatch):
    package = tmp_path / "made_up_voice"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "voice.onnx").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(str(tmp_path))
    file = make_file(CONTENT, PackageSource("made_up_voice", "voice.onnx"))
    store = ModelStore(tmp_path / "home", make_catalogue(file))
    assert store.pull("tiny", offline=True).files["weights.bin"] == package / "voice.onnx"
    damage(package / "voice.onnx")
    with pytest.raises(ModelCorrupt, match="pip install --force-reinstall --no-deps made_up_voice"):
        store.pull("tiny", repair=True)
    assert (package / "voice.onnx").exists()


def test_a_package_that_is_not_installed_is_missing(make_file, make_catalogue, tmp_path):
    store = ModelStore(tmp_path, make_catalogue(make_file(CONTENT, PackageSource("never_installed", "a"))))
    assert store.state("tiny") == "missing"
    with pytest.raises(ModelMissing, match="install the Python package never_installed"):
        store.pull("tiny")


def test_too_little_space_is_refused_before_anything_is_fetched(store, site, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=len(CONTENT) - 1))
    with pytest.raises(ModelMissing, match="pulling tiny needs"):
        store.pull("tiny")
    assert site.asked == []


def test_a_root_that_cannot_be_written_is_the_operators_error(make_file, make_catalogue, tmp_path):
    (tmp_path / "file").touch()
    store = ModelStore(tmp_path / "file", make_catalogue(make_file(CONTENT, PathSource("/nowhere"))))
    with pytest.raises(ConfigError, match="cannot be written"):
        store.pull("tiny")


def test_a_model_out_of_wheels_needs_one_download_a_wheel(make_wheel, make_file, make_catalogue, tmp_path):
    make_wheel("one", {"a": b"aaa", "b": b"bbb"})
    files = [make_file(c, WheelSource("one==1.0", n), name=n) for n, c in (("a", b"aaa"), ("b", b"bbb"))]
    store = ModelStore(tmp_path / "home", make_catalogue(*files))
    steps = []
    store.pull("tiny", steps.append)
    assert [step.what for step in steps].count("pip download one==1.0") == 1
    assert store.verify("tiny") == []


@pytest.fixture
def whole(site, make_file, tmp_path) -> ModelStore:
    """A profile, `small`, whose models are called like their stages."""
    site.pages["/w"] = CONTENT
    file = make_file(CONTENT, UrlSource(site.url("/w")))
    engine = {"vad": "silero", "end_of_turn": "smart_turn", "stt": "whisper", "llm": "onnx_llm", "tts": "hibari"}
    models = {s: Manifest(s, s, engine[s], "x", ("en",), "MIT", "made up", 1, (file,)) for s in STAGES}
    profile = Profile("small", "made up", "en", {stage: stage for stage in reversed(STAGES)})
    return ModelStore(tmp_path / "home", Catalogue(models, {"small": profile}))


def test_resolve_pulls_every_stage_in_the_order_the_audio_walks(whole):
    chosen = whole.resolve("small")
    assert tuple(chosen) == STAGES
    assert all(model.stage == stage for stage, model in chosen.items())
    assert whole.resolve("small", offline=True) == chosen


def test_resolving_offline_tells_of_every_missing_model_at_once(whole, site):
    whole.pull("stt")
    site.asked.clear()
    with pytest.raises(ModelMissing) as caught:
        whole.resolve("small", offline=True)
    firsts = [line for line in str(caught.value).splitlines() if not line.startswith(" ")]
    assert [line.split()[0] for line in firsts] == ["vad", "end_of_turn", "llm", "tts"]
    assert site.asked == []


def test_a_corrupted_file_does_not_start_a_profile(whole):
    damage(whole.resolve("small")["stt"].files["weights.bin"])
    with pytest.raises(ModelCorrupt, match=r"^stt: .*pull --repair stt"):
        whole.resolve("small")


def test_the_shipped_manifests_and_the_users_own_are_known(tmp_path):
    shipped = ModelStore(tmp_path)
    assert shipped.catalogue.profile("standard").models["stt"] == "whisper-base"
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "mine.toml").write_text("id = 1", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.toml"):
        ModelStore(tmp_path)


# ── other models than the profile's, added voices, removing ───────────────────────────────────────────────


def test_a_model_can_be_chosen_instead_of_the_profiles(whole):
    other = structs.replace(whole.catalogue.model("stt"), id="better")
    store = whole.with_model(other)
    chosen = store.resolve("small", instead={"stt": "better"})
    assert [model.id for model in chosen.values()] == ["vad", "end_of_turn", "better", "llm", "tts"]
    assert store.state("stt") == "missing"


def test_a_model_of_another_stage_or_an_unknown_one_cannot_be_chosen(whole):
    with pytest.raises(ConfigError, match="'llm' is a model for llm, not for stt"):
        whole.resolve("small", instead={"stt": "llm"})
    with pytest.raises(ConfigError, match="no model 'nobody'"):
        whole.resolve("small", instead={"stt": "nobody"})


@pytest.fixture
def voiced(whole, make_file, tmp_path) -> ModelStore:
    """The same with two added voices for the model `tts`."""
    for name in ("ann", "bob"):
        (tmp_path / name).write_bytes(name.encode())
        file = make_file(name.encode(), PathSource(str(tmp_path / name)), name=f"{name}.bin")
        base = whole.catalogue.model("tts")
        whole = whole.with_model(structs.replace(base, id=name, files=(file,), voice_of="tts"))
    return whole


def test_a_model_takes_the_voices_that_are_here_and_goes_without_the_others(voiced):
    assert list(voiced.pull("tts").files) == ["weights.bin"]
    voiced.pull("bob")
    files = voiced.resolve("small")["tts"].files
    assert list(files) == ["weights.bin", "bob.bin"]
    assert files["bob.bin"].read_bytes() == b"bob"


def test_a_voice_brings_the_model_that_speaks_with_it_and_comes_first(voiced):
    voiced.pull("bob")
    local = voiced.resolve("small", instead={"tts": "ann"})["tts"]
    assert list(local.files) == ["ann.bin", "weights.bin", "bob.bin"]
    assert (local.id, voiced.state("tts")) == ("ann", "present")


def test_a_voice_offline_says_that_its_model_is_missing(voiced):
    voiced.folder("ann").mkdir(parents=True)
    (voiced.folder("ann") / "ann.bin").write_bytes(b"ann")
    with pytest.raises(ModelMissing, match="tts is not on this machine"):
        voiced.resolve("small", instead={"tts": "ann"}, offline=True)


def test_a_corrupted_voice_does_not_start(voiced):
    damage(voiced.pull("ann").files["ann.bin"])
    with pytest.raises(ModelCorrupt, match=r"^ann: "):
        voiced.pull("tts")


def test_of_a_shipped_model_only_the_files_are_removed(store):
    store.pull("tiny")
    store.remove("tiny")
    assert not store.folder("tiny").exists()
    assert store.state("tiny") == "missing"
    store.remove("tiny")
    with pytest.raises(ConfigError, match="no model 'huge'"):
        store.remove("huge")


def test_of_a_users_own_model_the_manifest_goes_too(store):
    store.pull("tiny")
    store.manifest_path("tiny").parent.mkdir()
    store.manifest_path("tiny").write_text("", encoding="utf-8")
    assert store.is_own("tiny")
    store.remove("tiny")
    assert not store.folder("tiny").exists()
    assert not store.is_own("tiny")


@pytest.mark.parametrize(("model", "user"), [("llm", "the profile 'small'"), ("tts", "the voice 'ann'")])
def test_what_something_else_needs_is_not_removed(voiced, model, user):
    voiced.pull(model)
    voiced.manifest_path(model).parent.mkdir()
    voiced.manifest_path(model).write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"{model} is used by .*{user}"):
        voiced.remove(model)
    assert voiced.state(model) == "present"
    assert voiced.is_own(model)


def test_a_download_that_broke_off_is_continued_by_the_next_pull_and_leaves_nothing(store, site):
    site.tags["/w"] = '"t"'
    site.breaks["/w"] = [3, 0]
    with pytest.raises(ModelMissing, match="broke off"):
        store.pull("tiny")
    assert store.pull("tiny").files["weights.bin"].read_bytes() == CONTENT
    assert site.ranges[-1] == ("bytes=3-", '"t"')
    assert list(store.folder("tiny").glob(".partial-*")) == []


def test_partials_of_files_that_the_manifest_no_longer_has_are_cleared_away(store):
    store.folder("tiny").mkdir(parents=True)
    stale = store.folder("tiny") / ".partial-0123"
    stale.write_bytes(b"stale")
    store.pull("tiny")
    assert not stale.exists()
