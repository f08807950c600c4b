"""From sources to a file that is here, whole and what the manifest says; or not here at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from voiceedge.errors import ModelMissing
from voiceedge.modelstore.manifest import (
    ModelFile,
    PackageSource,
    PartsSource,
    PathSource,
    Source,
    UrlSource,
    WheelSource,
)
from voiceedge.modelstore.sources import SourceFailed, Sources


@dataclass(frozen=True, slots=True)
class Step:
    """How far the store's work is."""

    model: str
    what: str
    """What is being done, for a person: `model.bin from https://…`, `pip download …`, `waiting for …`."""
    done: int = 0
    total: int | None = None
    """None where the end cannot be known: pip, waiting."""
    unit: Literal["bytes", "percent"] = "bytes"


Progress = Callable[[Step], None]


def silent(_: Step) -> None:
    """Progress that nobody looks at."""


def fetch(model_id: str, file: ModelFile, target: Path, sources: Sources, progress: Progress) -> None:
    """Bring `file` to `target` from the first source that delivers it.

    `target` appears by rename, after its bytes have been hashed and are on the disk.

    Raises:
        ModelMissing: no source delivered it (each is named with what failed), or it cannot be written.
    """
    failures: list[str] = []
    arriving = sources.scratch / file.name
    for source in file.sources:
        try:
            _receive(model_id, file, source, arriving, sources, progress)
            arriving.replace(target)
            sync_folder(target.parent)
        except SourceFailed as error:
            failures.append(f"{source}: {error}")
        except OSError as error:
            raise ModelMissing(f"{target} cannot be written: {error.strerror or error}.") from error
        else:
            return
    tried = [f"  tried {failure}" for failure in failures]
    remedy = by_hand(model_id, [file], target.parent)
    raise ModelMissing("\n".join([f"{model_id}: no source delivered {file.name}.", *tried, *remedy]))


def _receive(
    model_id: str, file: ModelFile, source: Source, arriving: Path, sources: Sources, progress: Progress
) -> None:
    """Stream `source` into `arriving`, hashing on the way."""
    digest = hashlib.sha256()
    done = 0
    what = f"{file.name} from {_brief(source)}"
    with arriving.open("wb") as out:
        for chunk in sources.read(source):
            done += len(chunk)
            if done > file.bytes:  # whatever this is, it must not fill the disk
                raise SourceFailed(f"is longer than the {file.bytes} bytes it should have")
            digest.update(chunk)
            out.write(chunk)
            progress(Step(model_id, what, done, file.bytes))
        out.flush()
        os.fsync(out.fileno())
    if done < file.bytes:
        raise SourceFailed(f"ended after {done} of {file.bytes} bytes")
    if digest.hexdigest() != file.sha256:
        raise SourceFailed(f"has sha256 {digest.hexdigest()}, not {file.sha256}")


def by_hand(model_id: str, files: Sequence[ModelFile], folder: Path) -> list[str]:
    """How a person brings `files` into `folder`, a line for each way."""
    sources = [source for file in files for source in file.sources]
    lines: list[str] = []
    if any(isinstance(source, UrlSource | PathSource) for source in sources):
        names = ", ".join(file.name for file in files)
        lines.append(f"  by hand: fetch {names} elsewhere and put it into {folder}")
    if wheels := wheels_of(files):
        lines.append(
            f"  by hand: run `pip download --no-deps --only-binary=:all: {' '.join(sorted(wheels))}` elsewhere, "
            f"copy the wheels into a folder DIR here and run "
            f"`PIP_NO_INDEX=1 PIP_FIND_LINKS=DIR voiceedge models pull {model_id}`"
        )
    packages = {source.package for source in sources if isinstance(source, PackageSource)}
    lines += [f"  by hand: install the Python package {package} again" for package in sorted(packages)]
    return lines


def wheels_of(files: Iterable[ModelFile]) -> set[str]:
    """Every wheel that the files may come from, as `package==version`."""
    wheels: set[str] = set()
    for source in (source for file in files for source in file.sources):
        if isinstance(source, WheelSource):
            wheels.add(source.wheel)
        elif isinstance(source, PartsSource):
            wheels.update(part.wheel for part in source.parts)
    return wheels


def check_space(folder: Path, needed_bytes: int, purpose: str) -> None:
    """Refuse early what would fill the disk.

    Raises:
        ModelMissing: `folder` has less free than `needed_bytes`.
    """
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise ModelMissing(
            f"{purpose} needs {megabytes(needed_bytes)} free at {folder}, where {megabytes(free)} are; make "
            f"room or choose another folder with VOICEEDGE_HOME."
        )


def megabytes(size_bytes: int) -> str:
    """A size as people read it, in 10^6 bytes."""
    return f"{size_bytes / 1e6:,.1f} MB"


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _brief(source: Source) -> str:
    return f"{len(source.parts)} wheels" if isinstance(source, PartsSource) else str(source)
