"""A model of the user's own: its manifest written, its files brought, built, checked and tried; or nothing at all."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock

from voiceedge.errors import ConfigError, OperatorError
from voiceedge.modelstore.fetch import Progress, Step, silent
from voiceedge.modelstore.integrity import hash_of
from voiceedge.modelstore.manifest import Manifest, ModelFile, Name, PathSource, read_manifest
from voiceedge.modelstore.recognise import Candidate
from voiceedge.modelstore.store import LocalModel, ModelStore

LICENCE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9.+() -]*$")
"""The characters of an SPDX expression."""
Trial = Callable[[LocalModel], str]
"""Loads a model and uses it once; says what came of it."""


@dataclass(frozen=True, slots=True)
class Added:
    """A model that is in the store now."""

    model: LocalModel
    outcome: str
    """What came of trying it."""


def check_id(store: ModelStore, candidate: Candidate, model_id: str) -> None:
    """Whether the candidate can have this id.

    Raises:
        ConfigError: it is no id, or it is taken.
    """
    try:
        msgspec.convert(model_id, Name)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{model_id!r} cannot be an id: letters, digits, '.', '_' and '-' can be in it.") from error
    if model_id in store.catalogue.models:
        raise ConfigError(f"There is a model {model_id!r} already; choose another name with --id.")
    folder = store.folder(model_id).absolute()
    if any(path.resolve().is_relative_to(folder.resolve()) for path in candidate.files.values()):
        raise ConfigError(f"The files lie in {folder}, where the model would go; move them or choose another --id.")
    if candidate.voice_of is not None:
        base = store.catalogue.model(candidate.voice_of)
        if any(file.name == f"{model_id}.bin" for file in base.files):
            raise ConfigError(f"{base.id} has a voice {model_id!r} already; choose another name with --id.")


def add(
    store: ModelStore,
    candidate: Candidate,
    model_id: str,
    licence: str,
    attempt: Trial,
    progress: Progress = silent,
    *,
    link: bool = False,
) -> Added:
    """Add a model of the user's own to the store.

    Args:
        store: where to.
        candidate: what was recognised.
        model_id: what it is to be called.
        licence: SPDX expression.
        attempt: how to try it.
        progress: told how far it is.
        link: leave the files where they are; the store holds links to them.

    Raises:
        ConfigError: the id or the licence will not do, or the model cannot be built or does not work.
        ModelMissing: there is no room, or something cannot be written.
        ModelCorrupt: the engine cannot load it.
    """
    check_id(store, candidate, model_id)
    if not LICENCE.match(licence):
        raise ConfigError(f"{licence!r} is no licence; give an SPDX expression such as MIT or LicenseRef-mine.")
    with _undone_on_failure(store, model_id):
        manifest = _manifest(candidate, model_id, licence, progress, link=link)
        trying = store.with_model(manifest)
        try:
            model = trying.pull(model_id, progress)
        except (KeyError, NotImplementedError, TypeError, ValueError) as error:  # what a builder meets in odd files
            raise ConfigError(f"{model_id} cannot be built: {type(error).__name__}: {error}") from error
        progress(Step(model_id, "trying it"))
        try:
            outcome = attempt(model)
        except OperatorError:
            raise
        except Exception as error:  # whatever an engine raises for weights that it cannot run
            raise ConfigError(f"{model_id} was loaded but does not work: {error}") from error
        manifest = msgspec.structs.replace(manifest, memory_mb=_memory_mb(model))
        _write(store.manifest_path(model_id), manifest)
    return Added(model, outcome)


def manifest_toml(manifest: Manifest) -> str:
    """A manifest as the text that `read_manifest` reads."""
    top = {name: value for name, value in msgspec.to_builtins(manifest).items() if value is not None}
    files, build = top.pop("files"), top.pop("build", None)
    lines = [f"{name} = {_value(value)}" for name, value in top.items()]
    if build is not None:
        lines += ["", "[build]", *(f"{name} = {_value(value)}" for name, value in build.items())]
    for file in files:
        lines += ["", "[[files]]", *(f"{name} = {_value(value)}" for name, value in file.items())]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    """A value in TOML. Its strings are JSON's, but for one control character that JSON lets pass."""
    match value:
        case dict():
            return "{ " + ", ".join(f"{name} = {_value(inner)}" for name, inner in value.items()) + " }"
        case list() | tuple():
            return "[" + ", ".join(_value(inner) for inner in value) + "]"
        case bool() | int():
            return json.dumps(value)
        case _:
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _memory_mb(model: LocalModel) -> int:
    """What loading it will take, from the size of what is loaded.

    Of the shipped models, graphs take 1.1 times their size and 90 MB, and Whisper less. A voice is read as it is.
    """
    folder = model.build or model.folder
    size_mb = sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 1e6
    return round(size_mb) + 1 if model.manifest.voice_of else round(1.1 * size_mb) + 90


def _manifest(candidate: Candidate, model_id: str, licence: str, progress: Progress, *, link: bool) -> Manifest:
    files = []
    for name, path in candidate.files.items():
        progress(Step(model_id, f"hashing {path.name}"))
        real = path.resolve()  # a link into a model hub's cache may be replaced there
        try:
            str(real).encode()
            size, sha256 = real.stat().st_size, hash_of(real)
        except (OSError, UnicodeEncodeError) as error:
            raise ConfigError(f"{path!s} cannot be read: {error}") from error
        if size == 0:
            raise ConfigError(f"{path} is empty.")
        name_here = f"{model_id}.bin" if candidate.voice_of else name
        files.append(ModelFile(name_here, sha256, size, (PathSource(str(real), link),)))
    return Manifest(
        id=model_id,
        stage=candidate.stage,
        engine=candidate.engine,
        family=candidate.family,
        languages=candidate.languages,
        licence=licence,
        provenance=f"added from {next(iter(candidate.files.values())).parent}",
        memory_mb=1,
        files=tuple(files),
        build=candidate.build,
        voice_of=candidate.voice_of,
    )


@contextmanager
def _undone_on_failure(store: ModelStore, model_id: str) -> Iterator[None]:
    """Remove the model's folder if the block fails; what a process that was killed left behind goes before."""
    manifests = store.manifest_path(model_id).parent
    try:
        manifests.mkdir(parents=True, exist_ok=True)
        lock = FileLock(manifests / ".lock")  # one adds at a time: two could choose the same id
        with lock:
            if store.is_own(model_id):  # another process was quicker
                raise ConfigError(f"There is a model {model_id!r} already; choose another name with --id.")
            folder = store.folder(model_id)
            shutil.rmtree(folder, ignore_errors=True)
            try:
                yield
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
    except OSError as error:
        raise ConfigError(f"{model_id} cannot be added: {error}") from error


def _write(path: Path, manifest: Manifest) -> None:
    """Write a manifest that is there whole or not at all, and can be read."""
    arriving = path.with_name(f".{path.name}.new")
    checked = arriving.with_name(path.name)
    try:
        arriving.write_text(manifest_toml(manifest), encoding="utf-8")
        with arriving.open("rb") as file:
            os.fsync(file.fileno())
        arriving.replace(checked)
        read_manifest(checked)
    except BaseException:
        with suppress(OSError):
            arriving.unlink(missing_ok=True)
            checked.unlink(missing_ok=True)
        raise
