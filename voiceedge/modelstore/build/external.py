"""Weights in one file beside the graph, so that onnxruntime maps them instead of parsing them."""

from __future__ import annotations

from collections.abc import Iterable
from io import BufferedWriter
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

ALIGNMENT_BYTES = 4096
"""A page: a mapping can only begin at one."""
INLINE_BYTES = 1024
"""Smaller tensors stand in the graph itself; shape arithmetic is only folded where they do."""


class WeightFile:
    """Appends arrays to a file and keeps the ONNX tensors that point into it. Used in a `with` block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tensors: list[TensorProto] = []
        self._file: BufferedWriter = path.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, name: str, array: NDArray[Any]) -> None:
        """Add `array`; small ones go into the graph itself."""
        if array.nbytes < INLINE_BYTES:
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            self.tensors.append(helper.make_tensor(name, kind, array.shape, array.tobytes(), raw=True))
        else:
            self.write_runs(name, [array])

    def write_runs(self, name: str, runs: Iterable[NDArray[Any]]) -> None:
        """Add one tensor whose rows arrive in several arrays, one behind the other."""
        offset = -(-self._file.tell() // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        self._file.write(bytes(offset - self._file.tell()))
        rows = 0
        for run in runs:
            self._file.write(np.ascontiguousarray(run).data)
            rows += run.shape[0]
            tail, dtype = run.shape[1:], run.dtype
        tensor = TensorProto(name=name, dims=[rows, *tail], data_location=TensorProto.EXTERNAL)
        tensor.data_type = helper.np_dtype_to_tensor_dtype(dtype)
        length = self._file.tell() - offset
        for key, value in (("location", self.path.name), ("offset", offset), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        self.tensors.append(tensor)

    def alias(self, name: str, second: str) -> None:
        """Give the tensor `name` a `second` name: two initialisers, one place in the file."""
        tensor = TensorProto()
        tensor.CopyFrom(next(tensor for tensor in self.tensors if tensor.name == name))
        tensor.name = second
        self.tensors.append(tensor)
