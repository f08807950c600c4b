"""Reads the weights of a CTranslate2 model; ctranslate2 itself only runs them.

The format is what `ctranslate2/specs/model_spec.py` (Model._serialize, binary version 6) writes: little-endian, a name
is a uint16 length and so many bytes with a zero at the end.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voiceedge.errors import ConfigError

BINARY_VERSION = 6
TYPES = tuple(np.dtype(kind) for kind in ("<f4", "i1", "<i2", "<i4", "<f2"))
"""By the number that the file gives; what comes after them (bfloat16) numpy does not know."""

_Place = tuple[np.dtype[Any], tuple[int, ...], int, int]
"""What an array is made of, its shape, where it begins and how many bytes it has."""


class CTranslate2Weights:
    """The arrays of a `model.bin`, by name."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            ConfigError: not such a file, or one of another version.
        """
        self.path = path
        self._bytes = path.read_bytes()
        try:
            self.kind, self._arrays, self._aliases = self._index()
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is no whole CTranslate2 model: {error}") from error

    def has(self, name: str) -> bool:
        """Whether there is an array of this name."""
        return self._aliases.get(name, name) in self._arrays

    def array(self, name: str) -> NDArray[Any]:
        """An array as it is in the file.

        Raises:
            ConfigError: there is none of this name.
        """
        if not self.has(name):
            raise ConfigError(f"{self.path} has no {name}")
        kind, shape, begin, length = self._arrays[self._aliases.get(name, name)]
        return np.frombuffer(self._bytes, kind, length // kind.itemsize, begin).reshape(shape)

    def floats(self, name: str) -> NDArray[np.float32]:
        """A weight as float32; one that was rounded to int8 when the model was converted, too.

        Raises:
            ConfigError: it is not there, or was rounded in another way.
        """
        found = self.array(name)
        if found.dtype == np.int8 and self.has(f"{name}_scale"):
            # codes are weight * scale, a scale a row
            return found.astype(np.float32) / self.array(f"{name}_scale").astype(np.float32)[:, None]
        if found.dtype not in (np.float16, np.float32):
            raise ConfigError(f"{self.path}: {name} is {found.dtype}; convert the model with float16 weights")
        return found.astype(np.float32)

    def _index(self) -> tuple[str, dict[str, _Place], dict[str, str]]:
        place = 0

        def take(form: str) -> tuple[int, ...]:
            nonlocal place
            values = struct.unpack_from(f"<{form}", self._bytes, place)
            place += struct.calcsize(f"<{form}")
            return values

        def take_name() -> str:
            nonlocal place
            (length,) = take("H")
            name = self._bytes[place : place + length]
            if len(name) < length:
                raise IndexError("it ends inside a name")
            place += length
            return name.rstrip(b"\0").decode("ascii")

        (version,) = take("I")
        if version != BINARY_VERSION:
            raise ConfigError(f"{self.path} is no CTranslate2 model of binary version {BINARY_VERSION}")
        kind = take_name()
        _revision, count = take("II")
        arrays: dict[str, _Place] = {}
        for _ in range(count):
            name = take_name()
            (rank,) = take("B")
            shape = take(f"{rank}I")
            number, length = take("BI")
            if place + length > len(self._bytes):
                raise IndexError(f"it ends inside {name}")
            arrays[name] = (TYPES[number], shape, place, length)
            place += length
        (count,) = take("I")
        return kind, arrays, {take_name(): take_name() for _ in range(count)}
