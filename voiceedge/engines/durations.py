"""How long a voice speaks each phoneme: its model knows, but does not say so unless it is asked."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import onnxruntime as ort

from voiceedge.engines.onnx_session import open_session
from voiceedge.errors import ModelMissing

FRAME_S = 0.025
"""Unit of a duration in hibari and in Kokoro. One for each phoneme and pad; together they are all of the audio."""

# numbers of fields in onnx.proto
_GRAPH = 7  # of ModelProto
_OUTPUT = 12  # of GraphProto
_NAME = 1  # of ValueInfoProto


def open_with_durations(model: Path, durations: str, threads: int) -> ort.InferenceSession:
    """Load a voice whose last output is the tensor `durations` of its graph, whole numbers as float32.

    A message of protobuf that is put behind another one of its kind adds to it (protobuf.dev, "Encoding", "Last one
    wins"), so that the output can be added without taking the graph apart.

    Raises:
        ModelMissing: no such file.
        ModelCorrupt: onnxruntime cannot load it, or it has no such tensor.
    """
    if not model.is_file():
        raise ModelMissing(f"{model} is missing")
    added = _field(_GRAPH, _field(_OUTPUT, _field(_NAME, durations.encode())))
    with TemporaryDirectory() as folder:
        asking = Path(folder) / model.name
        asking.write_bytes(model.read_bytes() + added)
        return open_session(asking, threads)


def _field(number: int, content: bytes) -> bytes:
    """A field of protobuf that holds bytes; at most 127 of them, so that their number fits one byte."""
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content
