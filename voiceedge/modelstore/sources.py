"""How bytes come out of each kind of source. Nothing here knows what the bytes should be."""

from __future__ import annotations

import http.client
import importlib.util
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from voiceedge import __version__
from voiceedge.errors import OperatorError
from voiceedge.modelstore.manifest import (
    PackageSource,
    PartsSource,
    PathSource,
    Source,
    UrlSource,
    WheelSource,
)

CHUNK_BYTES = 1024 * 1024
PATIENCE_S = 15.0
"""Longest silence of an HTTP server, while connecting and between two chunks."""


class SourceFailed(OperatorError):
    """One source could not deliver; the next one is tried."""


class Sources:
    """What one pull has fetched so far: a wheel that holds several files is downloaded once."""

    def __init__(self, scratch: Path, tell: Callable[[str], None], unreachable: dict[str, str]) -> None:
        """Open.

        Args:
            scratch: an empty folder, on the store's own disk, that the caller removes.
            tell: told what is going on where no bytes can be counted.
            unreachable: hosts that did not answer, with the reason; shared by the pulls of a profile, because
                a network that swallows packets would cost every file its own `PATIENCE_S`.
        """
        self.scratch = scratch
        self._tell = tell
        self._unreachable = unreachable
        self._wheels: dict[str, Path] = {}

    def read(self, source: Source) -> Iterator[bytes]:
        """The bytes of `source` in chunks.

        Raises:
            SourceFailed: it cannot deliver, or stopped half-way.
        """
        match source:
            case UrlSource():
                yield from self._read_url(source.url)
            case WheelSource():
                yield from self._read_member(source)
            case PartsSource():
                for part in source.parts:
                    yield from self._read_member(part)
            case PathSource():
                yield from _read_path(Path(source.path).expanduser())
            case PackageSource():
                yield from _read_path(locate(source))

    def _read_url(self, url: str) -> Iterator[bytes]:
        host = urlsplit(url).netloc
        if host in self._unreachable:
            raise SourceFailed(f"{host} did not answer before ({self._unreachable[host]})")
        # the manifest admits http and https only; redirects and proxies are urllib's
        request = urllib.request.Request(url, headers={"User-Agent": f"voiceedge/{__version__}"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:  # noqa: S310
                yield from _chunks(response)
        except urllib.error.HTTPError as error:
            error.close()
            raise SourceFailed(f"HTTP {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            self._unreachable[host] = str(error.reason)
            raise SourceFailed(str(error.reason)) from error
        except TimeoutError as error:
            raise SourceFailed(f"no data for {PATIENCE_S:.0f} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise SourceFailed(f"broke off: {error}") from error

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
