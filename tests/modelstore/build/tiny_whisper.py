"""A random Whisper decoder of a few thousand weights, written as CTranslate2 does, and its forward pass in numpy."""

from __future__ import annotations

import struct
from math import erf
from pathlib import Path

import numpy as np

VOCABULARY, WIDTH, HEADS, LAYERS, POSITIONS = 70, 64, 2, 2, 24
HEAD = WIDTH // HEADS
NUMBERS = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}


def name_bytes(name: str) -> bytes:
    return struct.pack("<H", len(name) + 1) + name.encode() + b"\0"


def write(path: Path, arrays: dict[str, np.ndarray], *, kind="WhisperSpec", version=6, aliases=()) -> Path:
    out = [struct.pack("<I", version), name_bytes(kind), struct.pack("<II", 3, len(arrays))]
    for name, array in arrays.items():
        out += [name_bytes(name), struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)]
        out += [struct.pack("<BI", NUMBERS[array.dtype.name], array.nbytes), array.tobytes()]
    out.append(struct.pack("<I", len(aliases)))
    out += [name_bytes(name) for pair in aliases for name in pair]
    path.write_bytes(b"".join(out))
    return path


def weights(**changes) -> dict[str, np.ndarray]:
    random = np.random.default_rng(11)
    made = {}

    def linear(name, rows, columns):
        made[f"{name}/weight"] = (random.normal(size=(rows, columns)) / np.sqrt(columns) * 1.5).astype(np.float16)
        made[f"{name}/bias"] = (0.2 * random.normal(size=rows)).astype(np.float16)

    def norm(name):
        made[f"{name}/gamma"] = (1 + 0.2 * random.normal(size=WIDTH)).astype(np.float16)
        made[f"{name}/beta"] = (0.2 * random.normal(size=WIDTH)).astype(np.float16)

    for layer in range(LAYERS):
        block = f"decoder/layer_{layer}"
        for part, outs in (("self_attention", (3, 1)), ("attention", (1, 2, 1))):
            norm(f"{block}/{part}/layer_norm")
            for index, times in enumerate(outs):
                linear(f"{block}/{part}/linear_{index}", times * WIDTH, WIDTH)
        norm(f"{block}/ffn/layer_norm")
        linear(f"{block}/ffn/linear_0", 4 * WIDTH, WIDTH)
        linear(f"{block}/ffn/linear_1", WIDTH, 4 * WIDTH)
    norm("decoder/layer_norm")
    made["decoder/embeddings/weight"] = random.normal(size=(VOCABULARY, WIDTH)).astype(np.float16)
    made["decoder/position_encodings/encodings"] = random.normal(size=(POSITIONS, WIDTH)).astype(np.float16)
    made["decoder/num_heads"] = np.array(HEADS, np.int16)
    made["decoder/activation"] = np.array(3, np.int8)
    made["decoder/pre_norm"] = np.array(1, np.int8)
    return {**made, **changes}


def forward(made: dict[str, np.ndarray], tokens: list[int], encoded: np.ndarray) -> np.ndarray:
    """Logits of every token in float64, [tokens, vocabulary]; `encoded` is [places, width]."""
    table = {name: array.astype(np.float64) for name, array in made.items()}

    def linear(name, x):
        return x @ table[f"{name}/weight"].T + table[f"{name}/bias"]

    def norm(name, x):
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt(centred.var(axis=-1, keepdims=True) + 1e-5)
        return scaled * table[f"{name}/gamma"] + table[f"{name}/beta"]

    def attend(queries, keys, values, mask):
        mixed = []
        for head in range(HEADS):
            part = slice(head * HEAD, (head + 1) * HEAD)
            scores = queries[:, part] @ keys[:, part].T / np.sqrt(HEAD) + mask
            shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
            mixed.append(shares / shares.sum(axis=-1, keepdims=True) @ values[:, part])
        return np.concatenate(mixed, axis=-1)

    causal = np.where(np.tri(len(tokens), dtype=bool), 0.0, -np.inf)
    x = table["decoder/embeddings/weight"][tokens] + table["decoder/position_encodings/encodings"][: len(tokens)]
    for layer in range(LAYERS):
        own, other, ffn = (f"decoder/layer_{layer}/{part}" for part in ("self_attention", "attention", "ffn"))
        queries, keys, values = np.split(linear(f"{own}/linear_0", norm(f"{own}/layer_norm", x)), 3, axis=-1)
        x = x + linear(f"{own}/linear_1", attend(queries, keys, values, causal))
        queries = linear(f"{other}/linear_0", norm(f"{other}/layer_norm", x))
        keys, values = np.split(linear(f"{other}/linear_1", encoded.astype(np.float64)), 2, axis=-1)
        x = x + linear(f"{other}/linear_2", attend(queries, keys, values, 0.0))
        wide = linear(f"{ffn}/linear_0", norm(f"{ffn}/layer_norm", x))
        x = x + linear(f"{ffn}/linear_1", wide * 0.5 * (1 + np.vectorize(erf)(wide / np.sqrt(2))))
    return norm("decoder/layer_norm", x) @ table["decoder/embeddings/weight"].T
