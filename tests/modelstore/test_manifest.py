"""Manifests and profiles: what is accepted, and what an error says."""

from pathlib import Path

import msgspec
import pytest

from voiceedge.errors import ConfigError
from voiceedge.modelstore import manifest
from voiceedge.modelstore.manifest import (
    STAGES,
    NpmSource,
    PackageSource,
    PartsSource,
    PathSource,
    UrlSource,
    WheelSource,
    read_catalogue,
    read_manifest,
    shipped_folder,
)

SHA = "0" * 64
HEAD = """
id = "tiny"
stage = "stt"
engine = "whisper"
family = "whisper"
languages = ["en"]
licence = "MIT"
provenance = "made up"
memory_mb = 1
"""
FILE = f"""
[[files]]
name = "model.bin"
sha256 = "{SHA}"
bytes = 3
sources = [{{ kind = "path", path = "/tmp/model.bin" }}]
"""
PROFILE = """
id = "small"
description = "made up"
language = "en"
[models]
vad = "silero-vad-v6"
end_of_turn = "smart-turn-v3.2"
stt = "tiny"
llm = "smollm2-135m-instruct"
tts = "hibari-heart"
"""


def write(folder: Path, text: str, name: str = "tiny") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_kind_of_source_is_read_in_order(tmp_path):
    sources = """
sources = [
  { kind = "url", url = "https://hub.example/r/abc/model.bin" },
  { kind = "wheel", wheel = "some-model==1.0", member = "a/model.bin" },
  { kind = "parts", parts = [
    { kind = "wheel", wheel = "p-1==1.0", member = "a" },
    { kind = "wheel", wheel = "p-2==1.0", member = "b" },
  ] },
  { kind = "path", path = "~/model.bin" },
]
"""
    text = HEAD + FILE.replace('sources = [{ kind = "path", path = "/tmp/model.bin" }]', sources)
    found = read_manifest(write(tmp_path, text)).files[0].sources
    assert found == (
        UrlSource("https://hub.example/r/abc/model.bin"),
        WheelSource("some-model==1.0", "a/model.bin"),
        PartsSource((WheelSource("p-1==1.0", "a"), WheelSource("p-2==1.0", "b"))),
        PathSource("~/model.bin"),
    )


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (HEAD + "colour = 1" + FILE, "colour"),
        (HEAD + FILE + "colour = 1", "$.files[0]"),
        (HEAD.replace('"stt"', '"ears"') + FILE, "$.stage"),
        (HEAD.replace('engine = "whisper"', 'engine = "magic"') + FILE, "$.engine"),
        (HEAD.replace('licence = "MIT"', "") + FILE, "licence"),
        (HEAD + FILE.replace("bytes = 3", "bytes = 0"), "$.files[0].bytes"),
        (HEAD + FILE.replace(SHA, "abc"), "$.files[0].sha256"),
        (HEAD + FILE.replace('"model.bin"', '"../model.bin"'), "$.files[0].name"),
        (HEAD + FILE.replace('"path"', '"torrent"'), "torrent"),
        (HEAD + FILE.replace("/tmp/", "tmp/"), "$.files[0].sources[0].path"),
        (HEAD + FILE + FILE, "$.files"),
        (HEAD + '[build]\nkind = "gguf"\ninput = "other"\n' + FILE, "$.build.input"),
        (HEAD.replace('"tiny"', '"huge"') + FILE, "$.id"),
        (HEAD + "files = []", "$.files"),
        ("id = ", "tiny.toml"),
    ],
)
def test_an_error_names_the_file_and_the_key(tmp_path, text, key):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)
    assert key in str(caught.value)


def test_a_wheel_source_cannot_smuggle_an_option_into_pip(tmp_path):
    source = '{ kind = "wheel", wheel = "--index-url=http://evil==1", member = "a" }'
    text = HEAD + FILE.replace('{ kind = "path", path = "/tmp/model.bin" }', source)
    with pytest.raises(ConfigError, match="wheel"):
        read_manifest(write(tmp_path, text))


def test_a_package_source_must_be_the_only_one(tmp_path):
    both = '{ kind = "package", package = "p", member = "a" }, { kind = "path", path = "/a" }'
    text = HEAD + FILE.replace('{ kind = "path", path = "/tmp/model.bin" }', both)
    with pytest.raises(ConfigError, match="only one"):
        read_manifest(write(tmp_path, text))


def test_manifests_are_found_in_an_installed_wheel_and_in_a_checkout(tmp_path, monkeypatch):
    package = tmp_path / "voiceedge" / "modelstore"
    package.mkdir(parents=True)
    monkeypatch.setattr(manifest, "__file__", str(package / "manifest.py"))
    assert shipped_folder() == tmp_path / "models"
    (package / "manifests").mkdir()
    assert shipped_folder() == package / "manifests"


def test_shipped_profiles_have_a_model_of_the_right_stage_for_every_stage():
    catalogue = read_catalogue([shipped_folder()])
    assert {"nano", "standard"} <= set(catalogue.profiles)
    for profile in catalogue.profiles:
        stages = catalogue.stages(profile)
        assert tuple(stages) == STAGES
        assert all(model.stage == stage for stage, model in stages.items())


def test_shipped_hub_addresses_name_a_commit():
    catalogue = read_catalogue([shipped_folder()])
    sources = [s for m in catalogue.models.values() for f in m.files for s in f.sources]
    addresses = [source.url for source in sources if isinstance(source, UrlSource)]
    assert addresses
    for address in (address for address in addresses if "/resolve/" in address):
        revision = address.split("/resolve/")[1].split("/")[0]
        assert len(revision) == 40
        assert int(revision, 16)


def test_shipped_models_without_a_package_can_be_had_without_a_model_hub():
    catalogue = read_catalogue([shipped_folder()])
    for file in (file for model in catalogue.models.values() for file in model.files):
        assert any(isinstance(s, WheelSource | PartsSource | NpmSource | PackageSource) for s in file.sources), (
            file.name
        )


def test_a_users_own_manifest_is_added_and_may_replace_a_shipped_one(tmp_path):
    write(tmp_path, HEAD + FILE)
    replaced = HEAD.replace('"tiny"', '"whisper-base"').replace("made up", "mine")
    write(tmp_path, replaced + FILE, "whisper-base")
    write(tmp_path / "profiles", PROFILE, "small")
    catalogue = read_catalogue([shipped_folder(), tmp_path, tmp_path / "absent"])
    assert catalogue.stages("small")["stt"].id == "tiny"
    assert catalogue.model("whisper-base").provenance == "mine"
    assert "whisper-tiny.en" in catalogue.models


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('vad = "silero-vad-v6"\n', "", "vad"),
        ('"tiny"', '"absent"', "$.models.stt"),
        ('"tiny"', '"hibari-heart"', "$.models.stt"),
        ("tts =", "smell =", "smell"),
    ],
)
def test_a_profile_that_does_not_fit_its_models_is_refused(tmp_path, old, new, key):
    write(tmp_path, HEAD + FILE)
    path = write(tmp_path / "profiles", PROFILE.replace(old, new), "small")
    with pytest.raises(ConfigError) as caught:
        read_catalogue([shipped_folder(), tmp_path])
    assert str(path) in str(caught.value)
    assert key in str(caught.value)


def test_an_unknown_name_is_answered_with_the_known_ones():
    catalogue = read_catalogue([shipped_folder()])
    with pytest.raises(ConfigError, match=r"no profile 'mini'.*nano, standard"):
        catalogue.profile("mini")
    with pytest.raises(ConfigError, match=r"no model 'x'.*whisper-base"):
        catalogue.model("x")


@pytest.mark.parametrize("package", ["voices==1.0.0", "@scope/voices==2.0.0-beta.1"])
def test_npm_packages_are_named_with_their_version(package):
    assert msgspec.convert({"kind": "npm", "package": package, "member": "a/b.bin"}, NpmSource).package == package


@pytest.mark.parametrize(
    "package", ["voices", "voices==latest", "../etc==1.0.0", "a/b==1.0.0", "UPPER==1.0.0", "v==1/2"]
)
def test_what_could_lead_out_of_the_registry_is_no_npm_package(package):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"kind": "npm", "package": package, "member": "a"}, NpmSource)


def test_a_voice_of_no_model_is_refused(tmp_path):
    write(tmp_path, 'voice_of = "nobody"\n' + HEAD + FILE)
    with pytest.raises(ConfigError, match=r"nobody.*voice_of"):
        read_catalogue([tmp_path])


def test_every_shipped_model_says_what_its_weights_are_rounded_to():
    models = read_catalogue([shipped_folder()]).models.values()
    assert {m.id for m in models if m.quantisation is None} == set()


def test_a_model_is_known_by_what_it_is_built_from_or_by_its_largest_file():
    models = read_catalogue([shipped_folder()]).models
    assert models["whisper-base"].weights.name == "model.bin"
    assert models["qwen2.5-coder-0.5b-instruct"].weights.name.endswith(".gguf")
    assert models["hibari-heart"].weights.name == "hibari.onnx"


def test_a_manifest_may_leave_out_what_its_weights_are_rounded_to(tmp_path):
    assert read_manifest(write(tmp_path, HEAD + FILE)).quantisation is None
