"""The built graph computes what an independent forward pass computes."""

from pathlib import Path

import numpy as np
import platformdirs
import pytest

from tests.modelstore.build import quality
from tests.modelstore.build.reference import Reference
from tests.modelstore.build.tiny import write_tiny
from voiceedge.engines.onnx_llm import OnnxLlm
from voiceedge.errors import ConfigError
from voiceedge.modelstore.build import build_llm
from voiceedge.modelstore.build.source import Source

TOLERANCE = 1e-3
FILES = {
    "smollm2-135m-instruct": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "qwen2.5-coder-0.5b-instruct": "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
}


def real_gguf(model: str) -> Path:
    path = Path(platformdirs.user_cache_dir("voiceedge")) / "models" / model / FILES[model]
    if not path.exists():
        pytest.skip(f"{path} is missing: run `voiceedge models pull {model}`")
    return path


def worst_difference(gguf: Path, built: Path, tokens: list[int]) -> float:
    """Largest difference of a logit over all positions, fed one by one, in two chunks and at once."""
    expected = Reference(gguf).logits(tokens)
    lane = OnnxLlm(built, slots=1).open()._lane
    differences = [np.abs(lane.run([token], i) - expected[i]).max() for i, token in enumerate(tokens)]
    differences.append(np.abs(lane.run(tokens, 0) - expected[-1]).max())
    lane.run(tokens[:5], 0)
    differences.append(np.abs(lane.run(tokens[5:], 5) - expected[-1]).max())
    return float(max(differences))


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("tied", [True, False])
def test_an_unquantised_graph_agrees_with_the_forward_pass(tmp_path, family, tied):
    gguf = write_tiny(tmp_path / "tiny.gguf", family, tied=tied)
    build_llm(gguf, tmp_path / "built", quantise=False)
    assert worst_difference(gguf, tmp_path / "built", [5, 90, 17, 17, 200, 3, 44, 101, 2, 60]) < TOLERANCE


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_quantised_graph_stays_close_to_the_forward_pass(tmp_path, family, tied):
    gguf = write_tiny(tmp_path / "tiny.gguf", family, tied=tied)
    build_llm(gguf, tmp_path / "built")
    tokens = [5, 90, 17, 17, 200, 3, 44, 101, 2, 60]
    expected = Reference(gguf).logits(tokens)
    lane = OnnxLlm(tmp_path / "built", slots=1).open()._lane
    logits = np.stack([lane.run([token], i).copy() for i, token in enumerate(tokens)])
    # rounding weights and activations to 8 bits costs half a percent a product; unrelated logits give 1.4
    assert (logits - expected).std() < 0.1 * expected.std()


def test_a_family_that_is_not_known_to_be_right_is_refused(tmp_path):
    gguf = write_tiny(tmp_path / "tiny.gguf", "gemma")
    with pytest.raises(ConfigError, match="family 'gemma'"):
        Source(gguf)


def test_a_file_that_is_no_gguf_is_refused_with_its_name(tmp_path):
    path = tmp_path / "notes.gguf"
    path.write_bytes(b"not a model" * 10)
    with pytest.raises(ConfigError, match=r"notes\.gguf"):
        build_llm(path, tmp_path / "built")


def test_a_model_without_a_chat_template_is_refused(tmp_path):
    gguf = write_tiny(tmp_path / "tiny.gguf", "llama", template=None)
    with pytest.raises(ConfigError, match="no chat template"):
        build_llm(gguf, tmp_path / "built")


def test_progress_grows_from_nothing_to_all(tmp_path):
    shares = []
    gguf = write_tiny(tmp_path / "tiny.gguf", "llama")
    build_llm(gguf, tmp_path / "built", lambda share, _what: shares.append(share))
    assert shares[0] == 0
    assert shares[-1] == 1
    assert shares == sorted(shares)


@pytest.mark.models
@pytest.mark.parametrize("model", FILES)
def test_a_real_model_built_unquantised_agrees_with_the_forward_pass(tmp_path, model):
    gguf = real_gguf(model)
    build_llm(gguf, tmp_path, quantise=False)
    tokens = OnnxLlm(tmp_path, slots=1).tokenizer.encode(quality.TEXT).ids[:24]
    assert worst_difference(gguf, tmp_path, tokens) < TOLERANCE


@pytest.mark.models
def test_what_quantisation_costs_the_small_model_is_bounded(tmp_path):
    gguf = real_gguf("smollm2-135m-instruct")
    build_llm(gguf, tmp_path / "float32", quantise=False)
    build_llm(gguf, tmp_path / "quantised")
    exact, quantised = (OnnxLlm(tmp_path / name, slots=1) for name in ("float32", "quantised"))
    tokens = exact.tokenizer.encode(quality.TEXT).ids
    # the forward pass itself: all positions at once
    logits = Reference(gguf).logits(tokens)
    losses = [quality.loss(logits[i], token) for i, token in enumerate(tokens[1:])]
    stream = quantised.open()
    assert quality.perplexity(stream, tokens, chunk=1) < 1.05 * np.exp(np.mean(losses))
    answers = quality.greedy(exact, exact.open())
    assert quality.forced_agreement(quantised, stream, answers) >= 0.9
