"""Headers of GGUF files: those that are sound, and those that promise more than they hold."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.real import local_model
from voiceedge.modelstore.build.header import UnsoundError, require_sound


def text(value):
    return struct.pack("<Q", len(value)) + value


def field(name, kind, value):
    return text(name) + struct.pack("<I", kind) + value


def header(*fields, tensors=b"", tensor_count=0, version=3):
    return b"GGUF" + struct.pack("<IQQ", version, tensor_count, len(fields)) + b"".join(fields) + tensors


SOUND = header(
    field(b"general.architecture", 8, text(b"llama")),
    field(b"llama.block_count", 4, struct.pack("<I", 30)),
    field(b"tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 2) + text(b"a") + text("é".encode())),
    field(b"tokenizer.ggml.scores", 9, struct.pack("<IQ", 6, 3) + bytes(12)),
    field(b"nested", 9, struct.pack("<IQ", 9, 1) + struct.pack("<IQ", 0, 4) + bytes(4)),
    tensors=text(b"token_embd.weight") + struct.pack("<IQQIQ", 2, 4, 2, 0, 0),
    tensor_count=1,
)


@pytest.fixture
def file(tmp_path):
    def write(data):
        path = tmp_path / "model.gguf"
        path.write_bytes(data)
        return path

    return write


def test_a_sound_header_is_taken_whatever_follows(file):
    require_sound(file(SOUND))
    require_sound(file(SOUND + bytes(1000)))


@pytest.mark.parametrize("end", range(0, len(SOUND), 7))
def test_one_that_ends_too_early_is_not(file, end):
    with pytest.raises(UnsoundError):
        require_sound(file(SOUND[:end]))


@pytest.mark.parametrize(
    "data",
    [
        header(field(b"a", 9, struct.pack("<IQ", 8, 2**40))),
        header(field(b"a", 9, struct.pack("<IQ", 0, 2**64 - 1))),
        header(field(b"a", 9, struct.pack("<IQ", 9, 2**40) + struct.pack("<IQ", 0, 0) * 50)),
        header(field(b"a", 9, struct.pack("<IQ", 9, 1) * 1000)),
        header(field(b"a", 8, struct.pack("<Q", 2**63))),
        header(field(b"a", 77, b"")),
        header(tensors=text(b"t") + struct.pack("<I", 2**31), tensor_count=1),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60),
        b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0),
    ],
    ids=[
        "texts without end",
        "numbers without end",
        "lists without end",
        "a list in a list in a list",
        "a text without end",
        "no type",
        "dimensions without end",
        "fields without end",
        "tensors without end",
    ],
)
def test_one_that_promises_more_than_the_file_holds_is_not(file, data):
    with pytest.raises(UnsoundError):
        require_sound(file(data))


@given(st.binary(max_size=300))
def test_whatever_is_there_it_is_sound_or_it_is_not(tmp_path_factory, rest):
    path = tmp_path_factory.getbasetemp() / "any.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<I", 3) + rest)
    try:
        require_sound(path)
    except UnsoundError:
        return
    assert len(rest) >= 16


@pytest.mark.models
@pytest.mark.parametrize("model", ["smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"])
def test_real_models_are_sound(model):
    (weights,) = [path for path in local_model(model).files.values() if path.suffix == ".gguf"]
    require_sound(weights)
