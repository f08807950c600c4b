"""Whisper's decoder as onnxruntime graphs, out of CTranslate2's weights.

CTranslate2 decodes a token at a time, also those that are known. These graphs take any number of tokens at once, and
go on from them: a text that was heard before is held against new audio in one step, and only what is wrong in it is
decoded again. They are also faster a token, because what an utterance has in common with all others (the silence
behind it) can be worked out once. The encoder stays with CTranslate2, which is the faster one there.

A built folder holds
* `audio.onnx`: what the encoder made of audio -> keys and values of it for every layer. Each place of the audio is
  worked on alone, so what is made of two stretches can be put one behind the other;
* `decoder.onnx`: tokens, what came before, keys and values of the audio -> logits of every token;
* `decoder.weights`: the weights of both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper

from voiceedge.errors import ConfigError
from voiceedge.modelstore.build import quantise
from voiceedge.modelstore.build.ctranslate2_weights import CTranslate2Weights
from voiceedge.modelstore.build.external import WeightFile

CONTRIB = "com.microsoft"
INT8_ACCURACY = 4
"""MatMulNBits' accuracy_level: activations are rounded to int8 as well, which is what makes it fast."""
EPSILON = 1e-5
"""Of PyTorch's LayerNorm."""
GELU = 3
"""CTranslate2's number of the exact GELU, the only one that Whisper uses."""


def build_whisper(
    model: Path, target: Path, progress: Callable[[float, str], None] | None = None, *, quantised: bool = True
) -> None:
    """Build the folder `target` from the `model.bin` of a CTranslate2 Whisper model with float weights.

    Args:
        model: the file.
        target: a folder, made where missing; files of these names in it are replaced.
        progress: told the share done in [0, 1] and what is being done.
        quantised: False writes float32 weights, four times the size: the form that can be compared with a float32
            forward pass to the last digits.

    Raises:
        ConfigError: not such a file.
    """
    tell = progress or (lambda _share, _what: None)
    source = CTranslate2Weights(model)
    if source.kind != "WhisperSpec":
        raise ConfigError(f"{model} is a CTranslate2 model of the kind {source.kind!r}, not Whisper")
    target.mkdir(parents=True, exist_ok=True)
    with WeightFile(target / "decoder.weights") as weights:
        graphs = _Graphs(source, weights, quantised=quantised)
        tell(0.0, "audio")
        onnx.save(graphs.audio(), target / "audio.onnx")
        tell(0.1, "decoder")
        onnx.save(graphs.decoder(), target / "decoder.onnx")
    tell(1.0, "done")


class _Graphs:
    """Both graphs; each has the tensors that it uses."""

    def __init__(self, source: CTranslate2Weights, weights: WeightFile, *, quantised: bool) -> None:
        self._source = source
        self._weights = weights
        self._quantised = quantised
        self._nodes: list[NodeProto] = []
        self._first_tensor = 0
        self._vocabulary, self._width = source.array("decoder/embeddings/weight").shape
        self._heads = int(source.array("decoder/num_heads"))
        self._head = self._width // self._heads
        self._layers = 0
        while source.has(f"decoder/layer_{self._layers}/attention/linear_0/weight"):
            self._layers += 1
        if int(source.array("decoder/activation")) != GELU or not int(source.array("decoder/pre_norm")):
            raise ConfigError(f"{source.path} is no Whisper as OpenAI made it: another activation, or normalised after")

    def audio(self) -> ModelProto:
        """Input `encoded` [1, places, width]; outputs as the decoder takes them."""
        self._begin()
        names = []
        for layer in range(self._layers):
            name = f"decoder/layer_{layer}/attention/linear_1"
            weight, bias = self._floats(name, "weight"), self._floats(name, "bias")
            # keys lie as the product with a query reads them
            for half, kind, order in ((0, "key", (0, 2, 3, 1)), (1, "value", (0, 2, 1, 3))):
                rows = slice(half * self._width, (half + 1) * self._width)
                made = self._linear(f"audio_{kind}_{layer}.made", "encoded", weight[rows], bias[rows])
                names.append(self._by_heads(made, f"audio_{kind}_{layer}", order))
        inputs = [_value("encoded", TensorProto.FLOAT, [1, "places", self._width])]
        return self._model("audio", inputs, [_value(*self._audio_shape(name)) for name in names])

    def decoder(self) -> ModelProto:
        """Inputs and outputs of a step of n tokens behind p others.

        `tokens` [1, n], `positions` [n], `mask` [n, p + n] (0 where a token may look, -inf where not), `past_key_i` and
        `past_value_i` [1, heads, p, head], `audio_key_i` [1, heads, head, places], `audio_value_i` [1, heads, places,
        head]; `logits` [1, n, vocabulary], `key_i` and `value_i` [1, heads, p + n, head].
        """
        self._begin()
        hidden = self._embedded()
        for layer in range(self._layers):
            hidden = self._layer(layer, hidden)
        hidden = self._norm("decoder/layer_norm", hidden)
        self._product("logits", "embedding", (self._width, self._vocabulary), hidden)
        names = [f"{kind}_{layer}" for layer in range(self._layers) for kind in ("key", "value")]
        inputs = [
            _value("tokens", TensorProto.INT64, [1, "new"]),
            _value("positions", TensorProto.INT64, ["new"]),
            _value("mask", TensorProto.FLOAT, ["new", "all"]),
            *(_value(f"past_{name}", TensorProto.FLOAT, [1, self._heads, "past", self._head]) for name in names),
            *(_value(*self._audio_shape(f"audio_{name}")) for name in names),
        ]
        outputs = [
            _value("logits", TensorProto.FLOAT, [1, "new", self._vocabulary]),
            *(_value(name, TensorProto.FLOAT, [1, self._heads, "all", self._head]) for name in names),
        ]
        return self._model("decoder", inputs, outputs)

    def _embedded(self) -> str:
        """Vectors of the tokens and their places; the table of the tokens is the logits' weight as well."""
        name = "decoder/embeddings/weight"
        self._write("embedding", self._source.floats(name))
        self._weights.write("positions.table", self._source.floats("decoder/position_encodings/encodings"))
        if self._quantised:
            self._weights.write("middle", np.array(quantise.MIDDLE, np.float32))
            self._weights.write("last_axis", np.array([3], np.int64))
            codes = self._node("Gather", ["embedding.codes", "tokens"], "embedded.codes")
            codes = self._node("Cast", [codes], "embedded.float", to=TensorProto.FLOAT)
            centred = self._node("Sub", [codes, "middle"], "embedded.centred")
            scales = self._node("Gather", ["embedding.scales", "tokens"], "embedded.scales")
            scales = self._node("Unsqueeze", [scales, "last_axis"], "embedded.scale")
            blocks = self._node("Mul", [centred, scales], "embedded.blocks")
            tokens = self._node("Reshape", [blocks, "whole"], "embedded")
        else:
            # the table is stored as the logits need it: [width, vocabulary]
            rows = self._node("Gather", ["embedding.matrix", "tokens"], "embedded.columns", axis=1)
            tokens = self._node("Transpose", [rows], "embedded", perm=(1, 2, 0))
        places = self._node("Gather", ["positions.table", "positions"], "places")
        return self._node("Add", [tokens, places], "hidden")

    def _layer(self, layer: int, hidden: str) -> str:
        name = f"decoder/layer_{layer}"
        attended = self._self_attention(layer, self._norm(f"{name}/self_attention/layer_norm", hidden))
        hidden = self._node("Add", [hidden, attended], f"{name}.said")
        attended = self._audio_attention(layer, self._norm(f"{name}/attention/layer_norm", hidden))
        hidden = self._node("Add", [hidden, attended], f"{name}.heard")
        wide = self._project(f"{name}/ffn/linear_0", self._norm(f"{name}/ffn/layer_norm", hidden))
        wide = self._node("Gelu", [wide], f"{name}.gelu", domain=CONTRIB)
        return self._node("Add", [hidden, self._project(f"{name}/ffn/linear_1", wide)], f"{name}.out")

    def _self_attention(self, layer: int, normed: str) -> str:
        name = f"decoder/layer_{layer}/self_attention"
        weight, bias = self._floats(f"{name}/linear_0", "weight"), self._floats(f"{name}/linear_0", "bias")
        made = []
        for row, kind in enumerate(("query", "key", "value")):
            rows = slice(row * self._width, (row + 1) * self._width)
            # a query is divided by the root of the head's size; so are its weights
            factor = np.float32(self._head**-0.5 if kind == "query" else 1.0)
            of_kind = self._linear(f"{name}.{kind}", normed, weight[rows] * factor, bias[rows] * factor)
            made.append(self._by_heads(of_kind, f"{name}.{kind}.heads", (0, 2, 1, 3)))
        query, key, value = made
        keys = self._node("Concat", [f"past_key_{layer}", key], f"key_{layer}", axis=2)
        values = self._node("Concat", [f"past_value_{layer}", value], f"value_{layer}", axis=2)
        turned = self._node("Transpose", [keys], f"{name}.keys", perm=(0, 1, 3, 2))
        scores = self._node("MatMul", [query, turned], f"{name}.scores")
        scores = self._node("Add", [scores, "mask"], f"{name}.masked")
        return self._project(f"{name}/linear_1", self._attend(name, scores, values))

    def _audio_attention(self, layer: int, normed: str) -> str:
        name = f"decoder/layer_{layer}/attention"
        factor = np.float32(self._head**-0.5)
        weight, bias = self._floats(f"{name}/linear_0", "weight"), self._floats(f"{name}/linear_0", "bias")
        query = self._linear(f"{name}.query", normed, weight * factor, bias * factor)
        query = self._by_heads(query, f"{name}.query.heads", (0, 2, 1, 3))
        scores = self._node("MatMul", [query, f"audio_key_{layer}"], f"{name}.scores")
        return self._project(f"{name}/linear_2", self._attend(name, scores, f"audio_value_{layer}"))

    def _attend(self, name: str, scores: str, values: str) -> str:
        shares = self._node("Softmax", [scores], f"{name}.shares", axis=-1)
        mixed = self._node("MatMul", [shares, values], f"{name}.mixed")
        mixed = self._node("Transpose", [mixed], f"{name}.turned", perm=(0, 2, 1, 3))
        return self._node("Reshape", [mixed, "whole"], f"{name}.attended")

    def _by_heads(self, name: str, output: str, order: Sequence[int]) -> str:
        """[1, n, width] as [1, n, heads, head] in another order of its axes."""
        return self._node("Transpose", [self._node("Reshape", [name, "heads"], f"{output}.split")], output, perm=order)

    def _norm(self, name: str, hidden: str) -> str:
        for part in ("gamma", "beta"):
            self._weights.write(f"{name}.{part}", self._source.floats(f"{name}/{part}"))
        inputs = [hidden, f"{name}.gamma", f"{name}.beta"]
        return self._node("LayerNormalization", inputs, f"{name}.normed", epsilon=EPSILON)

    def _project(self, name: str, hidden: str) -> str:
        return self._linear(name, hidden, self._floats(name, "weight"), self._floats(name, "bias"))

    def _linear(self, name: str, hidden: str, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> str:
        """`hidden` times `weight` [out, in] and `bias` [out]."""
        self._write(name, weight)
        self._weights.write(f"{name}.bias", bias)
        return self._product(name, name, (weight.shape[1], weight.shape[0]), hidden, bias=True)

    def _write(self, name: str, weight: NDArray[np.float32]) -> None:
        if self._quantised:
            blocks = quantise.symmetric(weight)
            self._weights.write(f"{name}.codes", blocks.codes)
            self._weights.write(f"{name}.scales", blocks.scales)
        else:
            self._weights.write(f"{name}.matrix", weight.T)

    def _product(self, output: str, name: str, features: tuple[int, int], hidden: str, *, bias: bool = False) -> str:
        """Product with a weight that is written already; `features` are those going in and coming out."""
        if not self._quantised:
            product = self._node("MatMul", [hidden, f"{name}.matrix"], f"{output}.product" if bias else output)
            return self._node("Add", [product, f"{name}.bias"], output) if bias else product
        return self._node(
            "MatMulNBits",
            [hidden, f"{name}.codes", f"{name}.scales", *(["", "", f"{name}.bias"] if bias else [])],
            output,
            domain=CONTRIB,
            K=features[0],
            N=features[1],
            bits=quantise.BITS,
            block_size=quantise.BLOCK,
            accuracy_level=INT8_ACCURACY,
        )

    def _floats(self, name: str, part: str) -> NDArray[np.float32]:
        return self._source.floats(f"{name}/{part}")

    def _audio_shape(self, name: str) -> tuple[str, int, list[str | int]]:
        tail: list[str | int] = [self._head, "places"] if "key" in name else ["places", self._head]
        return name, TensorProto.FLOAT, [1, self._heads, *tail]

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def _begin(self) -> None:
        self._nodes = []
        self._first_tensor = len(self._weights.tensors)
        self._weights.write("heads", np.array([1, -1, self._heads, self._head], np.int64))
        self._weights.write("whole", np.array([1, -1, self._width], np.int64))

    def _model(self, name: str, inputs: list[Any], outputs: list[Any]) -> ModelProto:
        tensors = self._weights.tensors[self._first_tensor :]
        graph = helper.make_graph(self._nodes, name, inputs, outputs, initializer=tensors)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def _value(name: str, kind: int, shape: list[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)
