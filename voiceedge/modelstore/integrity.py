"""Are the files still what they should be?

Every start has to notice a corrupted file, and has five seconds in all. The default profile is 1.2 GB: hashing it
takes 0.7 s on an idle core with SHA instructions, 1 to 3 s beside other work, several more without such
instructions or from a cold disk. So a file is hashed once and its stamp kept: size, time of modification and time of
status change. The last one cannot be set back by a copy tool or an editor, so whatever rewrites the file
changes the stamp, and the next start hashes it again. Bits that rot on the disk without a write change no
stamp; `voiceedge models verify` hashes everything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

STAMPS = ".verified.json"


@dataclass(frozen=True, slots=True)
class Expected:
    """What a file should be."""

    path: Path
    bytes: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.bytes} bytes with sha256 {self.sha256}"


class Stamp(msgspec.Struct, frozen=True, array_like=True):
    """A file as it was when it was hashed."""

    size: int
    mtime_ns: int
    ctime_ns: int
    sha256: str


_STAMPS = msgspec.json.Decoder(dict[str, Stamp])


def examine(
    expected: Mapping[str, Expected],
    folder: Path,
    *,
    full: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, str]:
    """Compare files with what they should be.

    Args:
        expected: by name.
        folder: where the stamps are kept. One that cannot be written only costs the hashing at every start.
        full: hash every file, whatever its stamp says.
        tell: told the name of each file that is hashed.

    Returns:
        For each file that differs, by name, what was found instead. Empty when all is well.
    """
    known, stamped_ns = _read_stamps(folder)
    fresh: dict[str, Stamp] = {}
    found: dict[str, str] = {}
    for name, file in expected.items():
        try:
            # taken before hashing: a write in between leaves a stamp that no longer fits
            stat = file.path.stat()
            if stat.st_size != file.bytes:
                found[name] = f"{stat.st_size} bytes"
                continue
            stamp = Stamp(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, file.sha256)
            # a file written in the same tick of the file system's clock as the stamps may have changed since
            settled = stat.st_ctime_ns < stamped_ns
            if full or not settled or known.get(name) != stamp:
                tell(name)
                digest = hash_of(file.path)
                if digest != file.sha256:
                    found[name] = f"sha256 {digest}"
                    continue
        except FileNotFoundError:
            found[name] = "no file"
        except OSError as error:
            found[name] = f"a file that cannot be read ({error.strerror or error})"
        else:
            fresh[name] = stamp
    if fresh != known or any(full or stamp.ctime_ns >= stamped_ns for stamp in fresh.values()):
        _write_stamps(folder, fresh)
    return found


def hash_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_stamps(folder: Path) -> tuple[dict[str, Stamp], int]:
    path = folder / STAMPS
    try:
        return _STAMPS.decode(path.read_bytes()), path.stat().st_mtime_ns
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}, 0


def _write_stamps(folder: Path, stamps: dict[str, Stamp]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)  # none yet where all files lie in a Python package
        arriving = folder / f"{STAMPS}.new"
        arriving.write_bytes(msgspec.json.encode(stamps))
        arriving.replace(folder / STAMPS)
    except OSError:
        return  # a read-only store is fine: everything is hashed at the next start again
