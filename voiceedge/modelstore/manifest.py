"""What the store knows about a model before a byte of it is here: one TOML manifest a model, one a profile.

    id = "whisper-base"            # also the file's name
    stage = "stt"
    [[files]]
    name = "model.bin"
    sha256 = "d01c…"               # makes the file trusted, wherever it comes from
    bytes = 145217532
    sources = [{ kind = "url", url = "https://…" }, { kind = "wheel", wheel = "pkg==1.0", member = "a/b" }]

Unknown keys are refused; an error names the file and the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Literal, TypeVar, get_args

import msgspec

from voiceedge.errors import ConfigError

Stage = Literal["vad", "end_of_turn", "stt", "llm", "tts"]
STAGES: tuple[Stage, ...] = get_args(Stage)
EngineName = Literal["silero", "smart_turn", "whisper", "onnx_llm", "hibari", "kokoro"]

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=128)]
"""An id or a file's name: one path component that is never hidden, so it cannot leave the model's folder."""
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Positive = Annotated[int, msgspec.Meta(gt=0)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Member = Annotated[str, msgspec.Meta(pattern=r"^[^/].*$")]
"""Path inside a wheel, a tarball or a package, with forward slashes."""

T = TypeVar("T")


class UrlSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="url"):
    """Plain HTTP. The address carries a revision, so that what it names cannot change."""

    url: Annotated[str, msgspec.Meta(pattern=r"^https?://[^/]+/.+$")]

    def __str__(self) -> str:
        return self.url


class WheelSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="wheel"):
    """A member of a wheel, fetched through the user's own pip configuration."""

    # begins with a letter or digit: pip must never read it as an option
    wheel: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+_-]+$")]
    """`package==version`."""
    member: Member

    def __str__(self) -> str:
        return f"{self.member} in the PyPI wheel {self.wheel}"


class PartsSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="parts"):
    """Members of several wheels whose bytes follow each other in this order."""

    parts: Annotated[tuple[WheelSource, ...], msgspec.Meta(min_length=1)]

    def __str__(self) -> str:
        return "parts in the PyPI wheels " + " + ".join(part.wheel for part in self.parts)


class NpmSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="npm"):
    """A member of an npm package, fetched over plain HTTP from the registry that the user's npm is set to."""

    # the characters that npm allows, none of which can lead out of the registry's address
    package: Annotated[
        str, msgspec.Meta(pattern=r"^(@[a-z0-9~-][a-z0-9._~-]*/)?[a-z0-9~-][a-z0-9._~-]*==[0-9][0-9A-Za-z.+-]*$")
    ]
    """`name==version` or `@scope/name==version`."""
    member: Member
    """Without the folder that every tarball begins with (`package/`)."""

    def __str__(self) -> str:
        return f"{self.member} in the npm package {self.package}"


class PathSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="path"):
    """A file on this machine, copied into the store."""

    path: Annotated[str, msgspec.Meta(pattern=r"^[/~].+$")]
    """Absolute, or below `~`."""
    link: bool = False
    """Leave it where it is: the store holds a symbolic link."""

    def __str__(self) -> str:
        return self.path


class PackageSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="package"):
    """A data file of an installed Python package, used where it lies: the package itself reads it there."""

    package: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """Import name."""
    member: Member

    def __str__(self) -> str:
        return f"{self.member} in the installed Python package {self.package}"


Source = UrlSource | WheelSource | PartsSource | NpmSource | PathSource | PackageSource


class ModelFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a model and where it may come from."""

    name: Name
    sha256: Sha256
    bytes: Positive
    sources: Annotated[tuple[Source, ...], msgspec.Meta(min_length=1)]
    """Tried in this order."""

    @property
    def package(self) -> PackageSource | None:
        """The package that the file is used in, None for a file that lies in the store."""
        first = self.sources[0]
        return first if isinstance(first, PackageSource) else None


class BuildStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is made of the files once they are here."""

    kind: Literal["gguf", "ctranslate2"]
    """What it is made from. `gguf`: graphs of an LLM; `ctranslate2`: of Whisper's decoder (modelstore/build)."""
    input: Name
    """Name of the file that it is made from."""
    output: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]*$")] = "build"
    """The folder is called `<output>-<hash of input and builder version>`."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model."""

    id: Name
    stage: Stage
    engine: EngineName
    family: Text
    """Architecture, as the engine tells its variants apart: `whisper`, `llama`, `qwen2`, …"""
    languages: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]
    """ISO 639 codes; `mul` (ISO 639-2, several languages) where the weights know too many to list."""
    licence: Text
    """SPDX expression."""
    provenance: Text
    """Who trained, converted and packed it."""
    memory_mb: Positive
    """Resident memory, in 10^6 bytes, that loading it and one run add to the process (x86-64, one thread). An
    LLM's KV cache comes on top: it grows with the sessions."""
    files: Annotated[tuple[ModelFile, ...], msgspec.Meta(min_length=1)]
    build: BuildStep | None = None
    quantisation: Text | None = None
    """What its weights are rounded to where they run, and what they were rounded to before; None where nobody said."""
    voice_of: Name | None = None
    """For a voice, the model that speaks with it; it shows up among that model's voices."""

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def weights(self) -> ModelFile:
        """The file that a model is known by: what is built from, else the largest."""
        return max(self.files, key=lambda file: file.bytes) if self.build is None else self.file(self.build.input)

    def file(self, name: str) -> ModelFile:
        """The file called `name`.

        Raises:
            KeyError: there is none.
        """
        for file in self.files:
            if file.name == name:
                return file
        raise KeyError(name)


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model a stage, chosen to go together."""

    id: Name
    description: Text
    language: Text
    """ISO 639-1. Speech-to-text is pinned to it: a multilingual Whisper would follow an accent into a
    language that the voice cannot speak."""
    models: dict[Stage, Name]


class Catalogue(msgspec.Struct, frozen=True):
    """All models and profiles that this node knows, by id."""

    models: dict[str, Manifest]
    profiles: dict[str, Profile]

    def model(self, model_id: str) -> Manifest:
        """The model called `model_id`.

        Raises:
            ConfigError: it is unknown; the message lists the known ones.
        """
        return _known(self.models, model_id, "model")

    def profile(self, profile_id: str) -> Profile:
        """The profile called `profile_id`.

        Raises:
            ConfigError: it is unknown; the message lists the known ones.
        """
        return _known(self.profiles, profile_id, "profile")

    def stages(self, profile_id: str) -> dict[Stage, Manifest]:
        """The models of a profile, in the order the audio walks.

        Raises:
            ConfigError: the profile is unknown.
        """
        chosen = self.profile(profile_id).models
        return {stage: self.models[chosen[stage]] for stage in STAGES}


def shipped_folder() -> Path:
    """Where VoiceEdge's own manifests lie: inside the wheel, or `models/` in a checkout."""
    installed = Path(__file__).with_name("manifests")
    return installed if installed.is_dir() else Path(__file__).parents[2] / "models"


def read_catalogue(folders: Iterable[Path]) -> Catalogue:
    """Read `FOLDER/*.toml` and `FOLDER/profiles/*.toml`.

    A later folder may replace a model or profile of an earlier one (a private mirror, a smaller file); a
    folder that does not exist is empty.

    Raises:
        ConfigError: a file is not what it should be; the message names the file and the key.
    """
    models: dict[str, Manifest] = {}
    profiles: dict[str, tuple[Path, Profile]] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            models[path.stem] = read_manifest(path)
        for path in sorted((folder / "profiles").glob("*.toml")):
            profiles[path.stem] = (path, _read(path, Profile, lambda profile: profile.id))
    for path, profile in profiles.values():
        _check_profile(path, profile, models)
    for model in models.values():
        if model.voice_of is not None and model.voice_of not in models:
            raise ConfigError(f"{model.id} is a voice of {model.voice_of!r}, which is no model - at `$.voice_of`")
    return Catalogue(models, {name: profile for name, (_, profile) in profiles.items()})


def read_manifest(path: Path) -> Manifest:
    """Read one model's manifest.

    Raises:
        ConfigError: it is not what it should be; the message names the file and the key.
    """
    manifest = _read(path, Manifest, lambda model: model.id)
    names = [file.name for file in manifest.files]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{path}: two files are called {name!r} - at `$.files`")
    if manifest.build is not None and manifest.build.input not in names:
        raise ConfigError(f"{path}: {manifest.build.input!r} is none of the files - at `$.build.input`")
    for file in manifest.files:
        packaged = [isinstance(source, PackageSource) for source in file.sources]
        if any(packaged) and len(packaged) > 1:
            raise ConfigError(f"{path}: a `package` source of {file.name!r} must be its only one - at `$.files`")
    return manifest


def _read(path: Path, kind: type[T], identity: Callable[[T], str]) -> T:
    try:
        value = msgspec.toml.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError, OSError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if identity(value) != path.stem:
        raise ConfigError(f"{path}: the id must be the file's name, {path.stem!r} - at `$.id`")
    return value


def _check_profile(path: Path, profile: Profile, models: dict[str, Manifest]) -> None:
    for stage in STAGES:
        model_id = profile.models.get(stage)
        if model_id is None:
            raise ConfigError(f"{path}: no model for the stage {stage!r} - at `$.models`")
        if model_id not in models:
            raise ConfigError(f"{path}: there is no model {model_id!r} - at `$.models.{stage}`")
        if models[model_id].stage != stage:
            found = models[model_id].stage
            raise ConfigError(f"{path}: {model_id!r} is for the stage {found!r} - at `$.models.{stage}`")


def _known(entries: dict[str, T], name: str, noun: str) -> T:
    if name not in entries:
        raise ConfigError(f"There is no {noun} {name!r}; known are: {', '.join(sorted(entries))}.")
    return entries[name]
