"""An independent float32 forward pass over a GGUF file, in numpy.

It shares nothing with the builder: it reads the file itself, keeps llama's rows in the file's order and turns
neighbouring pairs (llama.cpp's "normal" rotary), where the builder reorders the rows and turns halves.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np


class Reference:
    def __init__(self, path: Path) -> None:
        reader = gguf.GGUFReader(path)
        self.family = reader.get_field("general.architecture").contents()
        self.weights = {t.name: gguf.dequantize(t.data, t.tensor_type) for t in reader.tensors}

        def number(name):
            return reader.get_field(f"{self.family}.{name}").contents()

        self.layers = number("block_count")
        self.heads = number("attention.head_count")
        self.kv_heads = number("attention.head_count_kv")
        self.base = number("rope.freq_base")
        self.epsilon = number("attention.layer_norm_rms_epsilon")
        self.head_dim = number("embedding_length") // self.heads

    def logits(self, tokens: list[int]) -> np.ndarray:
        """Logits [tokens, vocabulary] of the token after each one."""
        x = self.weights["token_embd.weight"][tokens]
        for layer in range(self.layers):
            block = f"blk.{layer}."
            x = x + self._attend(block, self._norm(x, block + "attn_norm"))
            h = self._norm(x, block + "ffn_norm")
            gate, up = self._linear(h, block + "ffn_gate"), self._linear(h, block + "ffn_up")
            x = x + self._linear(gate / (1 + np.exp(-gate)) * up, block + "ffn_down")
        head = self.weights.get("output.weight", self.weights["token_embd.weight"])
        return self._norm(x, "output_norm") @ head.T

    def _norm(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.epsilon) * self.weights[name + ".weight"]

    def _linear(self, x, name):
        return x @ self.weights[name + ".weight"].T + self.weights.get(name + ".bias", np.float32(0))

    def _attend(self, block, h):
        count = len(h)
        q = self._rotate(self._linear(h, block + "attn_q").reshape(count, self.heads, self.head_dim))
        k = self._rotate(self._linear(h, block + "attn_k").reshape(count, self.kv_heads, self.head_dim))
        v = self._linear(h, block + "attn_v").reshape(count, self.kv_heads, self.head_dim)
        group = self.heads // self.kv_heads
        k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(np.float32(self.head_dim))
        scores[:, np.triu(np.ones((count, count), bool), 1)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        attended = np.einsum("hqk,khd->qhd", weights, v).reshape(count, -1)
        return self._linear(attended, block + "attn_output")

    def _rotate(self, x):
        half = self.head_dim // 2
        angles = np.arange(len(x))[:, None] * self.base ** -(np.arange(half) / half)
        cos, sin = (f(angles).astype(np.float32)[:, None] for f in (np.cos, np.sin))
        if self.family == "llama":
            a, b = x[..., 0::2], x[..., 1::2]
            return np.stack([a * cos - b * sin, a * sin + b * cos], axis=-1).reshape(x.shape)
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
