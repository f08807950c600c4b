"""A file over plain HTTP that goes on where it broke off: in the same pull, or in the next one.

What has arrived lies in the model's folder as `.partial-<sha256>`, and beside it where it came from.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path

import msgspec

from voiceedge.modelstore.manifest import ModelFile
from voiceedge.modelstore.web import BrokeOff, SourceFailed, Web

PREFIX = ".partial-"
NOTE = ".json"


class Origin(msgspec.Struct, frozen=True):
    """Where a partial file came from."""

    url: str
    validator: str | None


_ORIGIN = msgspec.json.Decoder(Origin)


def partial_path(folder: Path, file: ModelFile) -> Path:
    """Where `file` arrives: the same name in every pull, another one for other content."""
    return folder / f"{PREFIX}{file.sha256[:16]}"


def arrived_bytes(folder: Path, file: ModelFile) -> int:
    """How much of `file` an earlier pull left behind."""
    return _size(partial_path(folder, file))


def discard_partials(folder: Path, wanted: Collection[ModelFile] = ()) -> None:
    """Remove what earlier pulls left behind, but for the files that are still `wanted`."""
    kept = {partial_path(folder, file).name for file in wanted}
    for path in folder.glob(f"{PREFIX}*"):
        if path.name.removesuffix(NOTE) not in kept:
            path.unlink(missing_ok=True)


def download(url: str, file: ModelFile, folder: Path, web: Web, tell: Callable[[int], None]) -> Path:
    """Bring `file` from `url` to its partial path in `folder`, whole and on the disk.

    What broke off is asked for again as long as every answer brings more; what is left of it afterwards stays
    for the next pull. What turns out wrong after it was continued is fetched once more from the beginning.

    Args:
        url: the address.
        file: what should come.
        folder: the model's; the caller holds its lock.
        web: how to get it.
        tell: told how many bytes are here.

    Returns:
        The partial path, for the caller to rename.

    Raises:
        SourceFailed: the address does not deliver it.
        OSError: it cannot be written.
    """
    partial = partial_path(folder, file)
    if _size(partial) > file.bytes:
        partial.unlink()
    while True:
        before = _size(partial)
        try:
            began_at, wrong = _receive(url, file, partial, web, tell)
        except BrokeOff:
            if _size(partial) <= before:
                raise
            continue
        if not wrong:
            return partial
        partial.unlink()
        if began_at == 0:
            raise SourceFailed(wrong)


def _receive(url: str, file: ModelFile, partial: Path, web: Web, tell: Callable[[int], None]) -> tuple[int, str]:
    """One answer of the server, behind what is here. Gives where it began, and what is wrong with the whole."""
    here = _size(partial)
    if here == file.bytes:  # it was killed before it could hash or rename
        return here, _wrong(file, here, _hash_of(partial))
    with closing(web.get(url, here, _validator(partial, url))) as answer:
        if answer.offset not in (0, here):
            raise SourceFailed(f"sent what follows byte {answer.offset}, not {here}")
        done = answer.offset
        digest = _hash_of(partial) if done else hashlib.sha256()
        _note(partial).write_bytes(msgspec.json.encode(Origin(url, answer.validator)))
        with partial.open("ab" if done else "wb") as out:
            for chunk in answer.chunks():
                done += len(chunk)
                if done > file.bytes:  # whatever this is, it must not fill the disk
                    break
                digest.update(chunk)
                out.write(chunk)
                tell(done)
            out.flush()
            os.fsync(out.fileno())
    return answer.offset, _wrong(file, done, digest)


def _wrong(file: ModelFile, size: int, digest: hashlib._Hash) -> str:
    """What tells the content from `file`; empty if nothing does."""
    if size > file.bytes:
        return f"is longer than the {file.bytes} bytes it should have"
    if size < file.bytes:
        return f"ended after {size} of {file.bytes} bytes"
    return "" if digest.hexdigest() == file.sha256 else f"has sha256 {digest.hexdigest()}, not {file.sha256}"


def _validator(partial: Path, url: str) -> str | None:
    """What the server said about the content, if it was the same address.

    Another address has the same content too: without a validator the hash decides.
    """
    try:
        origin = _ORIGIN.decode(_note(partial).read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return origin.validator if origin.url == url else None


def _hash_of(path: Path) -> hashlib._Hash:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")


def _note(partial: Path) -> Path:
    return partial.with_name(partial.name + NOTE)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
