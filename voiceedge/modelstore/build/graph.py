"""The decoder as an onnxruntime graph: MatMulNBits, GroupQueryAttention, logits of the last position only.

Inputs  input_ids int64 [batch, new tokens]; seqlens_k int32 [batch], tokens in the cache after this step
        minus 1; total_sequence_length int32 [], the longest of them; past_key_N and past_value_N float32
        [batch, kv heads, capacity, head dim].
Outputs logits float32 [batch, vocabulary]; present_key_N and present_value_N, to be bound to the same memory
        as the past.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from voiceedge.modelstore.build import quantise
from voiceedge.modelstore.build.external import WeightFile
from voiceedge.modelstore.build.source import Float32, Source

CONTRIB = "com.microsoft"
ROTARY_POSITIONS = 8192
"""Positions that the rotary tables cover; a voice agent's context is far shorter."""
INT8_ACCURACY = 4
"""MatMulNBits' accuracy_level: activations are rounded to int8 as well, which is what makes it fast."""


class DecoderGraph:
    """Writes one model's nodes and weights, layer by layer."""

    def __init__(self, source: Source, weights: WeightFile, *, quantised: bool) -> None:
        self._source = source
        self._shape = source.architecture
        self._weights = weights
        self._quantised = quantised
        self._nodes: list[NodeProto] = []

    def build(self, progress: Callable[[float, str], None]) -> ModelProto:
        """Write every weight and return the graph that refers to them."""
        shape = self._shape
        self._write_rotary_tables()
        hidden = self._embed()
        skip = None
        for layer in range(shape.layers):
            progress(layer / (shape.layers + 2), f"layer {layer + 1} of {shape.layers}")
            hidden, skip = self._layer(layer, hidden, skip)
        progress(shape.layers / (shape.layers + 2), "output layer")
        self._logits(hidden, skip)
        return self._model()

    def _embed(self) -> str:
        name = "token_embd.weight"
        if not self._quantised:
            self._weights.write_runs(name, self._source.blocks_of_rows(name))
            return self._node("Gather", [name, "input_ids"], "embedded")
        # Rows are gathered as 8-bit blocks and expanded: the table stays a mapped file of which only the rows
        # that were looked up are ever resident.
        self._write_blocks(name, (quantise.symmetric(run) for run in self._source.blocks_of_rows(name)))
        self._weights.write("zero_point", np.array(quantise.MIDDLE, np.float32))
        self._weights.write("hidden_shape", np.array([0, 0, self._shape.hidden], np.int64))
        self._weights.write("last_axis", np.array([3], np.int64))
        codes = self._node("Gather", [f"{name}.codes", "input_ids"], "embedded.codes")
        scales = self._node("Gather", [f"{name}.scales", "input_ids"], "embedded.scales")
        codes = self._node("Cast", [codes], "embedded.float", to=TensorProto.FLOAT)
        centred = self._node("Sub", [codes, "zero_point"], "embedded.centred")
        scales = self._node("Unsqueeze", [scales, "last_axis"], "embedded.scale")
        scaled = self._node("Mul", [centred, scales], "embedded.blocks")
        return self._node("Reshape", [scaled, "hidden_shape"], "embedded")

    def _layer(self, layer: int, hidden: str, skip: str | None) -> tuple[str, str]:
        """One decoder layer: returns the feed-forward's output and the residual it is to be added to."""
        shape = self._shape
        block = f"blk.{layer}"
        normed, residual = self._norm(f"{block}.attn_norm.weight", hidden, skip)
        weight, bias = self._query_key_value(block)
        ranged = self._source.is_ranged(f"{block}.attn_q.weight")
        packed = self._project(f"{block}.attn_qkv", weight, bias, normed, ranged=ranged)
        attended = self._node(
            "GroupQueryAttention",
            [
                *(packed, "", "", f"past_key_{layer}", f"past_value_{layer}"),
                *("seqlens_k", "total_sequence_length", "rotary_cos", "rotary_sin"),
            ],
            f"{block}.attended",
            f"present_key_{layer}",
            f"present_value_{layer}",
            domain=CONTRIB,
            num_heads=shape.heads,
            kv_num_heads=shape.kv_heads,
            do_rotary=1,
            rotary_interleaved=0,
        )
        attended = self._matmul(f"{block}.attn_output.weight", attended)
        normed, residual = self._norm(f"{block}.ffn_norm.weight", attended, residual)
        gate = self._matmul(f"{block}.ffn_gate.weight", normed)
        up = self._matmul(f"{block}.ffn_up.weight", normed)
        gate = self._node("QuickGelu", [gate], f"{block}.silu", domain=CONTRIB, alpha=1.0)
        gated = self._node("Mul", [gate, up], f"{block}.gated")
        return self._matmul(f"{block}.ffn_down.weight", gated), residual

    def _logits(self, hidden: str, skip: str | None) -> None:
        assert skip is not None
        self._weights.write("last", np.array(-1, np.int64))
        hidden = self._node("Gather", [hidden, "last"], "last.hidden", axis=1)
        skip = self._node("Gather", [skip, "last"], "last.residual", axis=1)
        normed, _ = self._norm("output_norm.weight", hidden, skip)
        head = "output.weight" if self._source.has("output.weight") else "token_embd.weight"
        if not self._quantised:
            weight = self._source.matrix(head)
            self._float_matmul("output", weight, None, normed, "logits")
            return
        if head == "token_embd.weight":
            # The same bytes under a second name: onnxruntime packs its own copy for the product and unmaps
            # these, while the embedding stays mapped.
            self._weights.alias(f"{head}.codes", "output.codes")
            self._weights.alias(f"{head}.scales", "output.scales")
        else:
            self._write_blocks("output", (quantise.symmetric(run) for run in self._source.blocks_of_rows(head)))
        self._quantised_matmul("output", (self._shape.hidden, self._shape.vocabulary), normed, "logits")

    def _query_key_value(self, block: str) -> tuple[Float32, Float32 | None]:
        """The three projections as one weight [q + k + v, hidden] and, where the family has it, one bias."""
        shape = self._shape
        weights: list[Float32] = []
        biases: list[Float32] = []
        for part, heads in (("q", shape.heads), ("k", shape.kv_heads), ("v", 0)):
            order = _halves_order(heads, shape.head_dim) if shape.family == "llama" and heads else slice(None)
            weights.append(self._source.matrix(f"{block}.attn_{part}.weight")[order])
            if self._source.has(f"{block}.attn_{part}.bias"):
                biases.append(self._source.vector(f"{block}.attn_{part}.bias")[order])
        return np.concatenate(weights), np.concatenate(biases) if biases else None

    def _norm(self, name: str, hidden: str, skip: str | None) -> tuple[str, str]:
        """RMSNorm of `hidden` + `skip`; returns it and the sum."""
        self._weights.write(name, self._source.vector(name))
        epsilon = self._shape.epsilon
        if skip is None:
            normed = self._node(
                "SimplifiedLayerNormalization", [hidden, name], f"{name}.normed", axis=-1, epsilon=epsilon
            )
            return normed, hidden
        total = f"{name}.sum"
        normed = self._node(
            "SkipSimplifiedLayerNormalization",
            [hidden, skip, name],
            *(f"{name}.normed", "", "", total),
            domain=CONTRIB,
            epsilon=epsilon,
        )
        return normed, total

    def _matmul(self, name: str, hidden: str) -> str:
        return self._project(name, self._source.matrix(name), None, hidden, ranged=self._source.is_ranged(name))

    def _project(self, name: str, weight: Float32, bias: Float32 | None, hidden: str, *, ranged: bool) -> str:
        """`hidden` times the transpose of `weight` [out, in], plus `bias`."""
        output = f"{name}.out"
        if not self._quantised:
            return self._float_matmul(name, weight, bias, hidden, output)
        blocks = quantise.ranged(weight) if ranged else quantise.symmetric(weight)
        self._write_blocks(name, [blocks])
        if bias is not None:
            self._weights.write(f"{name}.bias", bias)
        features = (weight.shape[1], weight.shape[0])
        return self._quantised_matmul(name, features, hidden, output, ranged=ranged, bias=bias is not None)

    def _float_matmul(self, name: str, weight: Float32, bias: Float32 | None, hidden: str, output: str) -> str:
        self._weights.write(f"{name}.transposed", np.ascontiguousarray(weight.T))
        if bias is None:
            return self._node("MatMul", [hidden, f"{name}.transposed"], output)
        self._weights.write(f"{name}.bias", bias)
        product = self._node("MatMul", [hidden, f"{name}.transposed"], f"{name}.product")
        return self._node("Add", [product, f"{name}.bias"], output)

    def _quantised_matmul(
        self,
        name: str,
        features: tuple[int, int],
        hidden: str,
        output: str,
        *,
        ranged: bool = False,
        bias: bool = False,
    ) -> str:
        """Product with blocks that are already written; `features` are those going in and coming out."""
        inputs = [hidden, f"{name}.codes", f"{name}.scales"]
        optional = [f"{name}.zero_points" if ranged else "", "", f"{name}.bias" if bias else ""]
        while optional and not optional[-1]:
            optional.pop()
        return self._node(
            "MatMulNBits",
            inputs + optional,
            output,
            domain=CONTRIB,
            K=features[0],
            N=features[1],
            bits=quantise.BITS,
            block_size=quantise.BLOCK,
            accuracy_level=INT8_ACCURACY,
        )

    def _write_blocks(self, name: str, runs: Iterable[quantise.Blocks]) -> None:
        parts = list(runs)
        self._weights.write_runs(f"{name}.codes", (part.codes for part in parts))
        self._weights.write_runs(f"{name}.scales", (part.scales for part in parts))
        zero_points = [part.zero_points for part in parts if part.zero_points is not None]
        if zero_points:
            self._weights.write_runs(f"{name}.zero_points", zero_points)

    def _write_rotary_tables(self) -> None:
        shape = self._shape
        positions = np.arange(min(shape.context_tokens, ROTARY_POSITIONS), dtype=np.float64)
        exponents = np.arange(0, shape.head_dim, 2, dtype=np.float64) / shape.head_dim
        angles = positions[:, None] * shape.rope_base**-exponents
        self._weights.write("rotary_cos", np.cos(angles).astype(np.float32))
        self._weights.write("rotary_sin", np.sin(angles).astype(np.float32))

    def _node(self, operator: str, inputs: list[str], *outputs: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(operator, inputs, list(outputs), name=outputs[0], **attributes))
        return outputs[0]

    def _model(self) -> ModelProto:
        shape = self._shape
        cache: list[str | int | None] = ["batch", shape.kv_heads, "capacity", shape.head_dim]
        names = [f"{kind}_{layer}" for layer in range(shape.layers) for kind in ("key", "value")]
        inputs = [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "new"]),
            helper.make_tensor_value_info("seqlens_k", TensorProto.INT32, ["batch"]),
            helper.make_tensor_value_info("total_sequence_length", TensorProto.INT32, []),
            *(helper.make_tensor_value_info(f"past_{name}", TensorProto.FLOAT, cache) for name in names),
        ]
        outputs = [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", shape.vocabulary]),
            *(helper.make_tensor_value_info(f"present_{name}", TensorProto.FLOAT, cache) for name in names),
        ]
        graph: GraphProto = helper.make_graph(
            self._nodes, "decoder", inputs, outputs, initializer=self._weights.tensors
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def _halves_order(heads: int, head_dim: int) -> NDArray[np.int64]:
    """Row order that undoes llama.cpp's: pairs (0,1), (2,3) … of a head back to halves (0,d/2), (1,d/2+1)."""
    rows = np.arange(heads * head_dim).reshape(heads, head_dim // 2, 2)
    return rows.swapaxes(1, 2).reshape(-1)
