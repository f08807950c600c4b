"""What a GGUF file says of itself, held against its length before anybody believes it.

The reader takes counts as they are: 2 KB that promise a list of a billion texts took it 24 GB of memory.
Layout: github.com/ggml-org/ggml, docs/gguf.md, versions 2 and 3.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

MAGIC = b"GGUF"
STRING, ARRAY = 8, 9
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a number, by its type."""
MOST_DIMENSIONS = 4
DEEPEST_ARRAY = 4


class UnsoundError(ValueError):
    """The file promises more than it holds, or is none."""


def require_sound(path: Path) -> None:
    """Walk over a file's header, without keeping anything of it.

    Raises:
        UnsoundError: a count or a length leads beyond its end.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        walk = _Walk(file, path.stat().st_size)
        tensors, fields = walk.begin()
        for _ in range(fields):
            walk.skip_text()
            walk.skip_value(walk.number("I"))
        for _ in range(tensors):
            walk.skip_text()
            dimensions = walk.number("I")
            if dimensions > MOST_DIMENSIONS:
                raise UnsoundError(f"a tensor has {dimensions} dimensions")
            walk.skip(8 * dimensions + 4 + 8)


class _Walk:
    """A place in a file, and how far it goes."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._order = "<"

    def begin(self) -> tuple[int, int]:
        """Read how many tensors and fields there are."""
        if self._file.read(len(MAGIC)) != MAGIC:
            raise UnsoundError("it does not begin as one")
        version = self.number("I")
        if version & 0xFFFF == 0:  # of a machine that writes the highest byte first
            self._order = ">"
        return self.number("Q"), self.number("Q")

    def number(self, kind: str) -> int:
        """Read a number, as `struct` calls it."""
        size = struct.calcsize(kind)
        data = self._file.read(size)
        if len(data) < size:
            raise UnsoundError("it ends before its header does")
        (value,) = struct.unpack(self._order + kind, data)
        return int(value)

    def skip(self, size: int) -> None:
        """Go on by so many bytes."""
        if size > self._size - self._file.tell():
            raise UnsoundError("it promises more than it holds")
        self._file.seek(size, 1)

    def skip_text(self) -> None:
        """Go on behind a text."""
        self.skip(self.number("Q"))

    def skip_value(self, kind: int, depth: int = 0) -> None:
        """Go on behind a value of this type."""
        if kind == STRING:
            self.skip_text()
        elif kind == ARRAY and depth < DEEPEST_ARRAY:
            of, count = self.number("I"), self.number("Q")
            if of in SIZES:
                self.skip(count * SIZES[of])
                return
            for _ in range(count):  # each takes eight bytes at least: the end of the file ends it
                self.skip_value(of, depth + 1)
        elif kind in SIZES:
            self.skip(SIZES[kind])
        else:
            raise UnsoundError(f"a value has the type {kind}")
