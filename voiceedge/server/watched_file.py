"""A file that an operator may change while the node runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from voiceedge.errors import ConfigError

T = TypeVar("T")
log = logging.getLogger(__name__)

Version = tuple[int, int, int, int]
"""What tells a changed file: when it was written, its size, its inode, as one may be put in another's place, and when
that or who may read it last changed."""


def version_of(path: Path) -> Version:
    """Which version of a file is there.

    Raises:
        OSError: none can be seen.
    """
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_ctime_ns


class WatchedFile(Generic[T]):
    """What a file says, read again when it has changed.

    Args:
        path: The file.
        parse: Makes something of its text, or raises ConfigError or ValueError.
        kind: What it is called in messages: "file of keys".
    """

    def __init__(self, path: Path, parse: Callable[[str], T], kind: str) -> None:
        """Read the file.

        Raises:
            ConfigError: it cannot be read, or is no such file.
        """
        self._path = path
        self._parse = parse
        self._kind = kind
        self._version: Version | None = None
        self._complaint: str | None = None
        self._read()

    def refresh(self) -> T:
        """Read the file again if it has changed, and return what holds now.

        While it cannot be read, what it said before stays: half a file must neither lock everybody out nor let anybody
        back in. That is said once, and not to everybody who knocks.
        """
        complaint = None
        try:
            self._read()
        except ConfigError as error:
            complaint = str(error)
            if complaint != self._complaint:
                log.warning("What was read before stays as it was. %s", complaint)
        self._complaint = complaint
        return self.content

    def _read(self) -> None:
        try:
            version = version_of(self._path)
            if version == self._version:
                return
            text = self._path.read_bytes()
            self._version = version  # whatever is in it: the same text is not read twice
            self.content = self._parse(text.decode())
        except OSError as error:
            raise ConfigError(f"The {self._kind} {self._path} cannot be read: {error.strerror}.") from error
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{self._path} is no {self._kind}: {error}.") from error
