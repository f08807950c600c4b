"""What is built out of a model's files, kept by what it was built from."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from voiceedge.errors import ModelMissing
from voiceedge.modelstore.fetch import Progress, Step, check_space, sync_folder
from voiceedge.modelstore.integrity import Expected, hash_of
from voiceedge.modelstore.manifest import BuildStep, Manifest

RECORD = "build.json"


@dataclass(frozen=True, slots=True)
class Builder:
    """Turns a file of weights into a folder."""

    version: str
    """Part of the folder's name: another version builds anew."""
    build: Callable[[Path, Path, Callable[[float, str], None]], None]
    """(input, an empty folder to fill, told the share done in [0, 1] and what is being done)"""


def onnx_builder() -> Builder:
    """The builder of onnxruntime graphs."""
    # imported only where a model has a build step
    from voiceedge.modelstore.build import BUILDER_VERSION, build_graphs  # noqa: PLC0415

    return Builder(str(BUILDER_VERSION), build_graphs)


class BuiltFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One output of a build."""

    bytes: int
    sha256: str


class BuildRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`build.json`: what a folder was built from and what came out, so that it can be verified too."""

    builder: str
    input: str
    files: dict[str, BuiltFile]


_RECORD = msgspec.json.Decoder(BuildRecord)


def build_folder(folder: Path, manifest: Manifest, step: BuildStep, version: str) -> Path:
    """Where the build of `manifest` by this version of the builder lies inside the model's `folder`."""
    key = f"{step.kind} {version} {manifest.file(step.input).sha256}"
    return folder / f"{step.output}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def outputs(build: Path) -> dict[str, Expected] | None:
    """What a build folder should hold, by name; None where no finished build lies."""
    try:
        record = _RECORD.decode((build / RECORD).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return {name: Expected(build / name, file.bytes, file.sha256) for name, file in record.files.items()}


def build(
    manifest: Manifest, step: BuildStep, source: Path, target: Path, builder: Builder, progress: Progress
) -> None:
    """Build `target` out of `source`. It appears by rename when it is whole and on the disk.

    The caller holds the model's lock; what lies at `target` is replaced.

    Raises:
        ModelMissing: there is no room, or the folder cannot be written.
    """
    # a graph with 8-bit layers and a float16 embedding is larger than the 4-bit file that it comes from
    check_space(target.parent, 2 * source.stat().st_size, f"building {manifest.id}")
    arriving = target.with_name(f".{target.name}.new")
    shutil.rmtree(arriving, ignore_errors=True)
    arriving.mkdir()
    try:
        builder.build(
            source,
            arriving,
            lambda share, what: progress(
                Step(manifest.id, f"building: {what}", round(100 * share), 100, unit="percent")
            ),
        )
        files = {path.name: BuiltFile(path.stat().st_size, hash_of(path)) for path in sorted(arriving.iterdir())}
        record = BuildRecord(builder.version, manifest.file(step.input).sha256, files)
        (arriving / RECORD).write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1))
        for path in arriving.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        shutil.rmtree(target, ignore_errors=True)
        arriving.replace(target)
        sync_folder(target.parent)
        _prune(target, step)
    except OSError as error:
        raise ModelMissing(f"{manifest.id} cannot be built at {target}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(arriving, ignore_errors=True)


def _prune(target: Path, step: BuildStep) -> None:
    """Remove what earlier versions of the builder made; whoever has it loaded keeps it until it ends."""
    for older in target.parent.glob(f"{step.output}-*"):
        if older != target:
            shutil.rmtree(older, ignore_errors=True)
