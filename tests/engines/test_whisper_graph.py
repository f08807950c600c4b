"""On a random model of a few thousand weights: what it hears is nonsense, but always the same nonsense."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.modelstore.build.tiny_whisper import POSITIONS, VOCABULARY, WIDTH, forward, weights, write
from voiceedge.engines import whisper_graph
from voiceedge.engines.whisper_graph import GraphDecoder, Words
from voiceedge.errors import ModelCorrupt, ModelMissing
from voiceedge.modelstore.build.whisper import build_whisper

WORDS = Words(prompt=(60, 61), end=62, no_speech=63, suppressed=(1, 2, 60, 61), suppressed_first=(62, 5))
RANDOM = np.random.default_rng(5)
SILENCE = RANDOM.normal(size=(1, 30, WIDTH)).astype(np.float32)
HEARD = [RANDOM.normal(size=(1, 12, WIDTH)).astype(np.float32) for _ in range(4)]
MOST = POSITIONS - len(WORDS.prompt) - 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graph")
    build_whisper(write(folder / "model.bin", weights()), folder, quantised=False)
    return folder


@pytest.fixture(scope="module")
def decoder(folder):
    return GraphDecoder(folder, WORDS, SILENCE)


def finish(decoding):
    """What decoding comes to, its stops passed over."""
    while True:
        try:
            next(decoding)
        except StopIteration as end:
            return end.value


def expected(encoded, places, most):
    """Greedy decoding with the forward pass, and what is suppressed left out: tokens, mean, no speech."""
    audio = np.concatenate([encoded, SILENCE[:, encoded.shape[1] : places]], axis=1)[0]
    tokens, total = [], 0.0
    while True:
        rows = forward(weights(), [*WORDS.prompt, *tokens], audio)
        last = rows[-1].copy()
        last[[*WORDS.suppressed, *range(WORDS.end + 1, VOCABULARY)]] = -np.inf
        if not tokens:
            last[list(WORDS.suppressed_first)] = -np.inf
        choice = int(last.argmax())
        total += last[choice] - np.log(np.exp(last - last.max()).sum()) - last.max()
        if choice == WORDS.end or len(tokens) == most:
            no_speech = np.exp(rows[0] - rows[0].max())
            return tuple(tokens), total / (len(tokens) + 1), no_speech[WORDS.no_speech] / no_speech.sum()
        tokens.append(choice)


@pytest.mark.parametrize("encoded", HEARD)
@pytest.mark.parametrize(("places", "most"), [(12, MOST), (30, MOST), (20, 3)])
def test_the_most_probable_tokens_are_decoded(decoder, encoded, places, most):
    decoded = finish(decoder.decode(encoded, places, (), most))
    tokens, mean, no_speech = expected(encoded, places, most)
    assert decoded.tokens == tokens
    assert decoded.mean_log_probability == pytest.approx(mean, abs=1e-3)
    assert decoded.no_speech_probability == pytest.approx(no_speech, abs=1e-3)
    assert decoded.believed == 0


@settings(max_examples=60)
@given(
    heard=st.sampled_from(HEARD),
    kept=st.integers(0, MOST),
    wrong=st.lists(st.integers(0, VOCABULARY - 1), max_size=MOST + 3),
    most=st.integers(1, MOST),
)
def test_what_is_known_never_changes_what_is_decoded(decoder, heard, kept, wrong, most):
    alone = finish(decoder.decode(heard, 25, (), most))
    known = [*alone.tokens[:kept], *wrong]
    decoded = finish(decoder.decode(heard, 25, known, most))
    assert decoded.tokens == alone.tokens
    assert decoded.mean_log_probability == pytest.approx(alone.mean_log_probability, abs=1e-4)
    assert decoded.no_speech_probability == pytest.approx(alone.no_speech_probability, abs=1e-5)
    assert decoded.believed >= min(kept, len(alone.tokens))


def test_what_is_known_costs_one_step(decoder, monkeypatch):
    alone = finish(decoder.decode(HEARD[0], 25, (), 6))
    steps = []
    step = decoder._step
    monkeypatch.setattr(decoder, "_step", lambda *arguments: steps.append(arguments) or step(*arguments))
    finish(decoder.decode(HEARD[0], 25, alone.tokens, len(alone.tokens)))
    assert len(steps) == 1


@pytest.mark.parametrize("size", [1, 2, 5])
def test_it_stops_every_few_tokens_that_were_not_known(decoder, monkeypatch, size):
    monkeypatch.setattr(whisper_graph, "TOKENS_A_STEP", size)
    alone = finish(decoder.decode(HEARD[0], 25, (), MOST))
    decoded = len(alone.tokens)
    assert decoded > 5
    assert len(list(decoder.decode(HEARD[0], 25, (), MOST))) == decoded // size
    assert len(list(decoder.decode(HEARD[0], 25, alone.tokens[:4], MOST))) == (decoded - 4) // size


def test_the_graph_of_another_model_is_refused(folder, tmp_path):
    with pytest.raises(ModelCorrupt, match="another model"):
        GraphDecoder(folder, WORDS, np.zeros((1, 30, WIDTH + 1), np.float32))
    with pytest.raises(ModelCorrupt, match="another model"):
        GraphDecoder(folder, Words((60,), 62, VOCABULARY, (), ()), SILENCE)
    with pytest.raises(ModelMissing, match=r"decoder\.onnx"):
        GraphDecoder(tmp_path, WORDS, SILENCE)
