"""How bytes come out of each kind of source. Nothing here knows what the bytes should be."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO

import msgspec

from voiceedge.config import npm_registry
from voiceedge.modelstore.manifest import (
    NpmSource,
    PackageSource,
    PartsSource,
    PathSource,
    Source,
    UrlSource,
    WheelSource,
)
from voiceedge.modelstore.web import CHUNK_BYTES, SourceFailed, Web


class Tarball(msgspec.Struct, frozen=True):
    """What an npm registry says about one version's file."""

    tarball: str
    integrity: str = ""
    """Hashes as of W3C's Subresource Integrity; registries give sha512."""


class NpmVersion(msgspec.Struct, frozen=True):
    """`REGISTRY/name/version`, the part of it that is needed."""

    dist: Tarball


_VERSION = msgspec.json.Decoder(NpmVersion)


class Sources:
    """What one pull has fetched so far: a wheel or tarball that holds several files is downloaded once."""

    def __init__(self, scratch: Path, tell: Callable[[str], None], unreachable: dict[str, str]) -> None:
        """Open.

        Args:
            scratch: an empty folder, on the store's own disk, that the caller removes.
            tell: told what is going on where no bytes can be counted.
            unreachable: hosts that did not answer, with the reason; shared by the pulls of a profile.
        """
        self.scratch = scratch
        self.web = Web(unreachable)
        self._tell = tell
        self._wheels: dict[str, Path] = {}
        self._tarballs: dict[str, Path] = {}

    def read(self, source: Source) -> Iterator[bytes]:
        """The bytes of `source` in chunks.

        Raises:
            SourceFailed: it cannot deliver, or stopped half-way.
        """
        match source:
            case UrlSource():
                with closing(self.web.get(source.url)) as answer:
                    yield from answer.chunks()
            case WheelSource():
                yield from self._read_member(source)
            case PartsSource():
                for part in source.parts:
                    yield from self._read_member(part)
            case NpmSource():
                yield from self._read_npm(source)
            case PathSource():
                yield from _read_path(Path(source.path).expanduser())
            case PackageSource():
                yield from _read_path(locate(source))

    def _read_member(self, source: WheelSource) -> Iterator[bytes]:
        wheel = self._wheels.get(source.wheel)
        if wheel is None:
            wheel = self._wheels[source.wheel] = self._download(source.wheel)
        try:
            with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as member:
                yield from _chunks(member)
        except KeyError as error:
            raise SourceFailed(f"{wheel.name} has no member {source.member}") from error
        except (OSError, zipfile.BadZipFile) as error:
            raise SourceFailed(f"{wheel.name} cannot be read: {error}") from error

    def _download(self, requirement: str) -> Path:
        if importlib.util.find_spec("pip") is None:
            raise SourceFailed("this Python has no pip (`python -m ensurepip` installs it)")
        self._tell(f"pip download {requirement}")
        target = self.scratch / f"wheel-{len(self._wheels)}"
        # --only-binary: of a source distribution pip would run the build code, even with --no-deps
        options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--progress-bar=off"]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(target), requirement]
        run = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603 - the manifest's pattern keeps options out
        wheels = sorted(target.glob("*.whl"))
        if run.returncode != 0 or len(wheels) != 1:
            shutil.rmtree(target, ignore_errors=True)
            raise SourceFailed(f"pip: {_last_words(run.stderr)}")
        return wheels[0]

    def _read_npm(self, source: NpmSource) -> Iterator[bytes]:
        tarball = self._tarballs.get(source.package)
        if tarball is None:
            tarball = self._tarballs[source.package] = self._download_tarball(source.package)
        try:
            with tarfile.open(tarball, "r:gz") as archive:
                for entry in archive:
                    member = archive.extractfile(entry) if entry.name.partition("/")[2] == source.member else None
                    if member is not None:
                        yield from _chunks(member)
                        return
        except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
            raise SourceFailed(f"the tarball of {source.package} cannot be read: {error}") from error
        raise SourceFailed(f"{source.package} has no member {source.member}")

    def _download_tarball(self, package: str) -> Path:
        name, version = package.rsplit("==", 1)
        scope = name.partition("/")[0] if name.startswith("@") else None
        about = f"{npm_registry(scope)}{name.replace('/', '%2f')}/{version}"
        self._tell(f"npm package {package}")
        with closing(self.web.get(about)) as answer:
            body = b"".join(answer.chunks())
        try:
            dist = _VERSION.decode(body).dist
        except msgspec.DecodeError as error:
            raise SourceFailed(f"{about} is no answer of an npm registry: {error}") from error
        if not dist.tarball.startswith(("http://", "https://")):
            raise SourceFailed(f"the tarball of {package} has no http(s) address: {dist.tarball}")
        target = self.scratch / f"tarball-{len(self._tarballs)}.tgz"
        digest = hashlib.sha512()
        with closing(self.web.get(dist.tarball)) as answer, target.open("wb") as out:
            for chunk in answer.chunks():
                digest.update(chunk)
                out.write(chunk)
        # the sha256 of the member decides; this tells a download that broke off from a file that was exchanged
        found = "sha512-" + base64.b64encode(digest.digest()).decode()
        promised = [one for one in dist.integrity.split() if one.startswith("sha512-")]
        if promised and found not in promised:
            raise SourceFailed(f"the tarball of {package} has integrity {found}, not {promised[0]}")
        return target


def locate(source: PackageSource) -> Path:
    """Where the data file of an installed package lies. The package is not imported.

    Raises:
        SourceFailed: the package is not installed. Whether it holds the file is not looked at.
    """
    spec = importlib.util.find_spec(source.package)
    if spec is None or not spec.submodule_search_locations:
        raise SourceFailed(f"the Python package {source.package} is not installed")
    return Path(next(iter(spec.submodule_search_locations)), source.member)


def _read_path(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from _chunks(file)
    except OSError as error:
        raise SourceFailed(str(error.strerror or error)) from error


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK_BYTES):
        yield chunk


def _last_words(stderr: str) -> str:
    """Pip's last error, or its last line; warnings about its configuration come before."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["failed without a word"])[-1].removeprefix("ERROR: ")
