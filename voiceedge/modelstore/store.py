"""The models on this machine.

    ROOT/models/<id>/<file>                     as the manifest names it
    ROOT/models/<id>/build-<hash>/…             what was built out of it, with build.json
    ROOT/models/<id>/.partial-…                 what has arrived of a download that broke off
    ROOT/manifests/*.toml, profiles/*.toml      the user's own, beside those that VoiceEdge ships

One lock a model: of two processes that pull the same model, the second waits and finds it done. What is
complete needs no lock and no writable folder.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from voiceedge.errors import ConfigError, ModelCorrupt, ModelMissing
from voiceedge.modelstore import graphs
from voiceedge.modelstore.download import discard_partials
from voiceedge.modelstore.fetch import (
    Progress,
    Step,
    by_hand,
    check_space,
    fetch,
    megabytes,
    needed_bytes,
    silent,
)
from voiceedge.modelstore.graphs import Builder, onnx_builder
from voiceedge.modelstore.integrity import Expected, examine
from voiceedge.modelstore.manifest import (
    Catalogue,
    EngineName,
    Manifest,
    ModelFile,
    Stage,
    read_catalogue,
    shipped_folder,
)
from voiceedge.modelstore.sources import Sources, locate
from voiceedge.modelstore.web import SourceFailed

State = Literal["missing", "present"]
SCRATCH = ".pull-"
OFFLINE = "nothing may be fetched offline"


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model that is here: what an engine is loaded from."""

    id: str
    stage: Stage
    engine: EngineName
    folder: Path
    files: dict[str, Path]
    """By the name in the manifest. A file of a Python package lies there, not in `folder`; an added voice comes
    with the files of the model that speaks with it."""
    build: Path | None
    """The built graph's folder, None for a model without a build step."""
    manifest: Manifest = field(repr=False)


@dataclass(frozen=True, slots=True)
class Problem:
    """A file or a build that is not what it should be."""

    model: str
    file: str
    path: Path
    expected: str
    found: str
    repair: str
    """The command that puts it right."""

    def __str__(self) -> str:
        return (
            f"{self.model}: {self.path} is not what it should be: expected {self.expected}, found {self.found}. "
            f"Repair it with `{self.repair}`."
        )


class ModelStore:
    """Models below one root folder, by the ids of a catalogue."""

    def __init__(
        self, root: Path, catalogue: Catalogue | None = None, builder: Callable[[], Builder] = onnx_builder
    ) -> None:
        """Open the store; nothing is written yet.

        Args:
            root: the folder of the user's cache that is VoiceEdge's.
            catalogue: the models and profiles; None reads the shipped ones and the user's own.
            builder: gives the builder for manifests with a build step.

        Raises:
            ConfigError: a manifest is not what it should be.
        """
        self.root = root
        self.catalogue = catalogue or read_catalogue([shipped_folder(), root / "manifests"])
        self._builder = builder

    def folder(self, model_id: str) -> Path:
        """Where a model's files lie, or would."""
        return self.root / "models" / model_id

    def state(self, model_id: str) -> State:
        """Whether every file and the build are here. Their contents are not looked at.

        Raises:
            ConfigError: the model is unknown.
        """
        manifest = self.catalogue.model(model_id)
        return "missing" if self._missing(manifest) or self._unbuilt(manifest) else "present"

    def path(self, model_id: str) -> LocalModel:
        """A model that is here. Its contents are not looked at.

        Raises:
            ConfigError: the model is unknown.
            ModelMissing: a file or the build is not here.
        """
        manifest = self.catalogue.model(model_id)
        if missing := self._missing(manifest):
            raise self._absent(manifest, missing, f"`voiceedge models pull {model_id}` fetches it")
        if self._unbuilt(manifest):
            raise ModelMissing(f"{model_id} is not built yet; run `voiceedge models pull {model_id}`.")
        return self._local(manifest)

    def resolve(
        self,
        profile_id: str,
        progress: Progress = silent,
        *,
        offline: bool = False,
        instead: Mapping[Stage, str] | None = None,
    ) -> dict[Stage, LocalModel]:
        """The models of a profile, in the order the audio walks; what is missing is pulled and built.

        Args:
            profile_id: the profile.
            progress: told how far it is.
            offline: never touch the network.
            instead: models by stage that replace the profile's.

        Raises:
            ConfigError: the profile or a model is unknown, or a model is for another stage.
            ModelMissing: a model is not here and could not be brought, or `offline` forbids it.
            ModelCorrupt: a file is not what its manifest says.
        """
        manifests = self.catalogue.stages(profile_id)
        for stage, model_id in (instead or {}).items():
            manifests[stage] = self.catalogue.model(model_id)
            if manifests[stage].stage != stage:
                raise ConfigError(f"{model_id!r} is a model for {manifests[stage].stage}, not for {stage}.")
        if offline:  # one error for all of them: whoever carries files by hand goes once
            needed = [part for m in manifests.values() for part in self._parts(m)]
            absent = [(m, missing) for m in needed if (missing := self._missing(m))]
            if absent:
                raise ModelMissing("\n".join(str(self._absent(m, missing, OFFLINE)) for m, missing in absent))
        unreachable: dict[str, str] = {}
        return {stage: self._bring(m, progress, unreachable, offline=offline) for stage, m in manifests.items()}

    def pull(
        self, model_id: str, progress: Progress = silent, *, offline: bool = False, repair: bool = False
    ) -> LocalModel:
        """Bring what is missing of a model, and build it.

        Args:
            model_id: the model.
            progress: told how far it is.
            offline: never touch the network. A model that only has to be built is built.
            repair: hash every file first and replace what differs.

        Raises:
            ConfigError: the model is unknown.
            ModelMissing: it could not be brought, or `offline` forbids it.
            ModelCorrupt: a file is not what its manifest says, and `repair` is off or cannot help.
        """
        manifest = self.catalogue.model(model_id)
        if repair:
            self._discard_corrupted(manifest, progress)
        return self._bring(manifest, progress, {}, offline=offline)

    def verify(self, model_id: str, progress: Progress = silent) -> list[Problem]:
        """Hash every file and every output of the build. What is missing is a problem too.

        Raises:
            ConfigError: the model is unknown.
        """
        return self._examine(self.catalogue.model(model_id), progress, full=True)

    def remove(self, model_id: str) -> None:
        """Remove a model's files, and its manifest if it is one of the user's own.

        Raises:
            ConfigError: it is unknown, something depends on it, or its folder cannot be written.
        """
        manifest = self.catalogue.model(model_id)
        if self.is_own(model_id):
            users = [f"the profile {p.id!r}" for p in self.catalogue.profiles.values() if model_id in p.models.values()]
            users += [f"the voice {m.id!r}" for m in self.catalogue.models.values() if m.voice_of == model_id]
            if users and not (shipped_folder() / f"{model_id}.toml").is_file():
                raise ConfigError(f"{model_id} is used by {', '.join(users)}; remove that first.")
        if not self.folder(model_id).exists() and not self.is_own(model_id):
            return
        with self._locked(manifest, silent) as folder:
            try:
                self.manifest_path(model_id).unlink(missing_ok=True)
                shutil.rmtree(folder)
            except OSError as error:
                raise ConfigError(f"{folder} cannot be removed: {error.strerror or error}.") from error

    def is_own(self, model_id: str) -> bool:
        """Whether the user brought the manifest, not VoiceEdge."""
        return self.manifest_path(model_id).is_file()

    def manifest_path(self, model_id: str) -> Path:
        """Where the user's own manifest of a model lies, or would."""
        return self.root / "manifests" / f"{model_id}.toml"

    def with_model(self, manifest: Manifest) -> ModelStore:
        """The same store, which also knows `manifest`."""
        models = {**self.catalogue.models, manifest.id: manifest}
        return ModelStore(self.root, Catalogue(models, self.catalogue.profiles), self._builder)

    def _parts(self, manifest: Manifest) -> list[Manifest]:
        """What has to be here for `manifest` to work: a voice needs its model, a model takes the voices that are here.

        The one that was asked for comes first, so that an added voice that is asked for by name is the default.
        """
        base = manifest if manifest.voice_of is None else self.catalogue.model(manifest.voice_of)
        voices = [m for m in self.catalogue.models.values() if m.voice_of == base.id and not self._missing(m)]
        parts = [manifest, base, *voices]
        return list({part.id: part for part in parts}.values())

    def _bring(
        self,
        manifest: Manifest,
        progress: Progress,
        unreachable: dict[str, str],
        *,
        offline: bool,
    ) -> LocalModel:
        for part in self._parts(manifest):
            self._bring_part(part, progress, unreachable, offline=offline)
        return self._local(manifest)

    def _bring_part(
        self,
        manifest: Manifest,
        progress: Progress,
        unreachable: dict[str, str],
        *,
        offline: bool,
    ) -> None:
        if missing := self._missing(manifest):
            if offline:
                raise self._absent(manifest, missing, OFFLINE)
            with self._locked(manifest, progress) as folder:
                self._fetch_missing(manifest, folder, progress, unreachable)
        # before building: a graph must not be built out of a corrupted file
        if problems := self._examine(manifest, progress):
            raise ModelCorrupt("\n".join(str(problem) for problem in problems))
        if self._unbuilt(manifest):
            with self._locked(manifest, progress):
                self._build(manifest, progress)

    def _fetch_missing(self, manifest: Manifest, folder: Path, progress: Progress, unreachable: dict[str, str]) -> None:
        missing = self._missing(manifest)  # again: whoever held the lock may have brought them
        if not missing:
            return
        for leftover in folder.glob(f"{SCRATCH}*"):  # of a process that was killed: we hold its lock
            shutil.rmtree(leftover, ignore_errors=True)
        discard_partials(folder, missing)
        check_space(folder, needed_bytes(folder, missing), f"pulling {manifest.id}")
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=folder) as scratch:
            sources = Sources(Path(scratch), lambda what: progress(Step(manifest.id, what)), unreachable)
            for file in missing:
                fetch(manifest.id, file, folder / file.name, sources, progress)
        discard_partials(folder)

    def _build(self, manifest: Manifest, progress: Progress) -> None:
        step = manifest.build
        target = self._build_folder(manifest)
        if step is None or target is None or graphs.outputs(target) is not None:
            return
        source = self._place(manifest, manifest.file(step.input))
        graphs.build(manifest, step, source, target, self._builder(), progress)

    def _discard_corrupted(self, manifest: Manifest, progress: Progress) -> None:
        with self._locked(manifest, progress) as folder:
            for problem in self._examine(manifest, progress, full=True):
                if not problem.path.is_relative_to(folder):
                    raise ModelCorrupt(str(problem))
                build = self._build_folder(manifest)
                if build is not None and problem.path.is_relative_to(build):
                    shutil.rmtree(build, ignore_errors=True)
                else:
                    problem.path.unlink(missing_ok=True)

    def _examine(self, manifest: Manifest, progress: Progress, *, full: bool = False) -> list[Problem]:
        def tell(name: str) -> None:
            progress(Step(manifest.id, f"checking {name}"))

        folder = self.folder(manifest.id)
        files = {f.name: Expected(self._place(manifest, f), f.bytes, f.sha256) for f in manifest.files}
        problems = [
            self._problem(manifest, name, files[name], found)
            for name, found in examine(files, folder, full=full, tell=tell).items()
        ]
        build = self._build_folder(manifest)
        if build is None:
            return problems
        built = graphs.outputs(build)
        if built is not None:
            problems += [
                self._problem(manifest, f"{build.name}/{name}", built[name], found)
                for name, found in examine(built, build, full=full, tell=tell).items()
            ]
        elif full:
            repair = f"voiceedge models pull {manifest.id}"
            problems.append(Problem(manifest.id, build.name, build, "a finished build", "none", repair))
        return problems

    def _problem(self, manifest: Manifest, name: str, expected: Expected, found: str) -> Problem:
        repair = f"voiceedge models pull --repair {manifest.id}"
        packages = [f.package.package for f in manifest.files if f.name == name and f.package is not None]
        if packages:
            distributions = importlib.metadata.packages_distributions().get(packages[0], packages)
            repair = f"pip install --force-reinstall --no-deps {distributions[0]}"
        return Problem(manifest.id, name, expected.path, str(expected), found, repair)

    def _missing(self, manifest: Manifest) -> list[ModelFile]:
        return [file for file in manifest.files if not self._place(manifest, file).is_file()]

    def _unbuilt(self, manifest: Manifest) -> bool:
        build = self._build_folder(manifest)
        return build is not None and graphs.outputs(build) is None

    def _place(self, manifest: Manifest, file: ModelFile) -> Path:
        """Where a file lies, or would."""
        if file.package is not None:
            # a package that is not installed leaves the file missing, and `fetch` says why
            with suppress(SourceFailed):
                return locate(file.package)
        return self.folder(manifest.id) / file.name

    def _build_folder(self, manifest: Manifest) -> Path | None:
        if manifest.build is None:
            return None
        version = self._builder().version
        return graphs.build_folder(self.folder(manifest.id), manifest, manifest.build, version)

    def _local(self, manifest: Manifest) -> LocalModel:
        files: dict[str, Path] = {}
        for part in self._parts(manifest):
            for file in part.files:
                files.setdefault(file.name, self._place(part, file))
        build = self._build_folder(manifest)
        return LocalModel(
            manifest.id, manifest.stage, manifest.engine, self.folder(manifest.id), files, build, manifest
        )

    def _absent(self, manifest: Manifest, missing: list[ModelFile], remark: str) -> ModelMissing:
        lines = [f"{manifest.id} is not on this machine; {remark}."]
        for file in missing:
            lines.append(f"  missing {file.name} ({megabytes(file.bytes)}, sha256 {file.sha256})")
            lines += [f"    would come from {source}" for source in file.sources]
        lines += by_hand(manifest.id, missing, self.folder(manifest.id))
        return ModelMissing("\n".join(lines))

    @contextmanager
    def _locked(self, manifest: Manifest, progress: Progress) -> Iterator[Path]:
        """Hold the model's lock; gives its folder, which exists then."""
        folder = self.folder(manifest.id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / ".lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                progress(Step(manifest.id, "waiting for another process that is at it"))
                lock.acquire()
        except OSError as error:
            raise ConfigError(f"{folder} cannot be written: {error.strerror or error}.") from error
        try:
            yield folder
        finally:
            lock.release()
