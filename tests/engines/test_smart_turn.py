import numpy as np
import pytest

from voiceedge.engines.smart_turn import SmartTurn

SENTENCE = "I would like to know what the weather will be tomorrow in the afternoon."
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def smart_turn(weights):
    return SmartTurn(weights("smart-turn-v3.2", "smart-turn-v3.2-cpu.onnx"))


@pytest.mark.models
def test_a_finished_sentence_is_complete_and_one_cut_in_the_middle_is_not(smart_turn, spoken):
    audio = spoken(SENTENCE)
    assert smart_turn.probability(audio) > 0.8
    assert smart_turn.probability(audio[: audio.size // 2]) < 0.2


@pytest.mark.models
def test_only_the_last_eight_seconds_count(smart_turn, spoken):
    audio = spoken(SENTENCE)
    before = np.random.default_rng(0).normal(0, 0.1, 8 * RATE_HZ).astype(np.float32)
    last = np.concatenate((before, audio))[-8 * RATE_HZ :]
    assert smart_turn.probability(np.concatenate((before, audio))) == smart_turn.probability(last)


@pytest.mark.models
@pytest.mark.parametrize("samples", [0, 1, 8 * RATE_HZ])
def test_silence_of_any_length_has_a_probability(smart_turn, samples):
    assert 0.0 <= smart_turn.probability(np.zeros(samples, dtype=np.float32)) <= 1.0
