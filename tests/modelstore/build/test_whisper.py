"""The built graphs compute what an independent forward pass computes."""

import numpy as np
import onnxruntime
import pytest

from tests.modelstore.build.tiny import write_tiny
from tests.modelstore.build.tiny_whisper import HEAD, HEADS, LAYERS, WIDTH, forward, weights, write
from voiceedge.errors import ConfigError
from voiceedge.modelstore.build import build_graphs
from voiceedge.modelstore.build.whisper import build_whisper

TOKENS = [5, 60, 17, 17, 2, 3, 44]
NAMES = [f"{kind}_{layer}" for layer in range(LAYERS) for kind in ("key", "value")]
ENCODED = np.random.default_rng(3).normal(size=(1, 9, WIDTH)).astype(np.float32)


class Built:
    def __init__(self, folder):
        self.audio_graph = onnxruntime.InferenceSession(folder / "audio.onnx")
        self.decoder = onnxruntime.InferenceSession(folder / "decoder.onnx")

    def audio(self, encoded):
        outputs = [f"audio_{name}" for name in NAMES]
        return dict(zip(outputs, self.audio_graph.run(outputs, {"encoded": encoded}), strict=True))

    def logits(self, pieces, audio):
        """Of tokens that come in pieces, one behind the other."""
        cache = [np.zeros((1, HEADS, 0, HEAD), np.float32)] * len(NAMES)
        rows = []
        for piece in pieces:
            past = cache[0].shape[2]
            mask = np.where(np.tri(len(piece), past + len(piece), past, dtype=bool), 0, -np.inf).astype(np.float32)
            inputs = {
                "tokens": np.array([piece]),
                "positions": np.arange(past, past + len(piece)),
                "mask": mask,
                **{f"past_{name}": kept for name, kept in zip(NAMES, cache, strict=True)},
                **audio,
            }
            logits, *cache = self.decoder.run(["logits", *NAMES], inputs)
            rows.extend(logits[0])
        return np.stack(rows)


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exact")
    build_whisper(write(folder / "model.bin", weights()), folder, quantised=False)
    return Built(folder)


@pytest.mark.parametrize(
    "pieces", [[TOKENS], [[token] for token in TOKENS], [TOKENS[:3], TOKENS[3:6], TOKENS[6:]]], ids=str
)
def test_unquantised_graphs_agree_with_the_forward_pass(exact, pieces):
    logits = exact.logits(pieces, exact.audio(ENCODED))
    assert np.abs(logits - forward(weights(), TOKENS, ENCODED[0])).max() < 1e-3


def test_quantised_graphs_stay_close_to_the_forward_pass(tmp_path):
    build_whisper(write(tmp_path / "model.bin", weights()), tmp_path)
    built = Built(tmp_path)
    expected = forward(weights(), TOKENS, ENCODED[0])
    for pieces in ([TOKENS], [[token] for token in TOKENS]):
        # rounding weights and activations to 8 bits costs half a percent a product; unrelated logits give 1.4
        assert (built.logits(pieces, built.audio(ENCODED)) - expected).std() < 0.1 * expected.std()


def test_keys_and_values_of_two_stretches_of_audio_are_those_of_both(exact):
    whole, first, second = (exact.audio(part) for part in (ENCODED, ENCODED[:, :4], ENCODED[:, 4:]))
    for name, expected in whole.items():
        joined = np.concatenate([first[name], second[name]], axis=3 if "key" in name else 2)
        assert np.allclose(joined, expected, atol=1e-5)


def test_the_file_says_what_is_built_of_it(tmp_path):
    build_graphs(write(tmp_path / "model.bin", weights()), tmp_path / "whisper", lambda _share, _what: None)
    build_graphs(write_tiny(tmp_path / "llm.gguf", "llama"), tmp_path / "llm", lambda _share, _what: None)
    assert (tmp_path / "whisper/audio.onnx").exists()
    assert (tmp_path / "llm/llm.json").exists()


def test_it_tells_how_far_it_is(tmp_path):
    told = []
    build_whisper(write(tmp_path / "model.bin", weights()), tmp_path, lambda share, _what: told.append(share))
    assert told == sorted(told)
    assert told[-1] == 1.0


@pytest.mark.parametrize(
    ("options", "changes", "why"),
    [
        ({"kind": "TransformerSpec"}, {}, "not Whisper"),
        ({}, {"decoder/activation": np.array(0, np.int8)}, "another activation"),
        ({}, {"decoder/pre_norm": np.array(0, np.int8)}, "normalised after"),
        ({}, {"decoder/embeddings/weight": np.zeros((70, WIDTH), np.int8)}, "float16"),
    ],
)
def test_what_is_no_whisper_with_float_weights_is_refused(tmp_path, options, changes, why):
    model = write(tmp_path / "model.bin", weights(**changes), **options)
    with pytest.raises(ConfigError, match=why):
        build_whisper(model, tmp_path / "built")
