"""Which token is chosen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.engines import Sampling
from voiceedge.engines.sampling import Sampler, nucleus

LOGITS = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=300).map(
    lambda values: np.array(values, np.float32)
)


@given(LOGITS)
def test_greedy_takes_the_highest(logits):
    assert logits[Sampler(Sampling()).choose(logits)] == logits.max()


@given(LOGITS, st.integers(0, 100))
def test_the_same_seed_draws_the_same_tokens(logits, seed):
    sampling = Sampling(temperature=0.8, top_p=0.9, seed=seed)
    one, other = Sampler(sampling), Sampler(sampling)
    assert [one.choose(logits) for _ in range(5)] == [other.choose(logits) for _ in range(5)]


@given(LOGITS, st.floats(0.01, 1.0))
def test_the_nucleus_is_what_sorting_everything_would_find(logits, share):
    weights = np.exp(logits - logits.max())
    found = nucleus(weights, share)
    total = weights.sum(dtype=np.float64)
    kept = weights[found].sum(dtype=np.float64)
    assert kept >= share * total * (1 - 1e-6)
    # without its lightest token it would be too little, and nothing heavier was left out
    assert kept - weights[found[-1]] <= share * total * (1 + 1e-6)
    rest = np.delete(weights, found)
    assert not rest.size or rest.max() <= weights[found].min()


@given(LOGITS, st.floats(0.05, 0.99), st.integers(0, 50))
def test_draws_come_from_the_nucleus(logits, share, seed):
    weights = np.exp((logits - logits.max()) / np.float32(0.7))
    allowed = set(nucleus(weights, share).tolist())
    sampler = Sampler(Sampling(temperature=0.7, top_p=share, seed=seed))
    assert {sampler.choose(logits) for _ in range(10)} <= allowed


def test_draws_follow_the_probabilities():
    logits = np.log(np.array([0.7, 0.2, 0.1], np.float32))
    sampler = Sampler(Sampling(temperature=1.0, seed=3))
    counts = np.bincount([sampler.choose(logits) for _ in range(4000)], minlength=3) / 4000
    assert counts == pytest.approx([0.7, 0.2, 0.1], abs=0.03)


def test_a_lower_temperature_favours_the_highest():
    logits = np.log(np.array([0.6, 0.4], np.float32))
    sampler = Sampler(Sampling(temperature=0.25, seed=3))
    # 0.6^4 / (0.6^4 + 0.4^4)
    assert np.mean([sampler.choose(logits) == 0 for _ in range(4000)]) == pytest.approx(0.835, abs=0.03)


def test_the_penalty_weakens_tokens_of_this_answer_whatever_their_sign():
    logits = np.array([2.0, 1.5, -0.5, -0.6], np.float32)
    sampler = Sampler(Sampling(repetition_penalty=2.0))
    assert [sampler.choose(logits) for _ in range(3)] == [0, 1, 0]
    negative = np.array([-1.0, -1.5], np.float32)
    sampler = Sampler(Sampling(repetition_penalty=2.0))
    assert [sampler.choose(negative) for _ in range(2)] == [0, 1]


def test_the_logits_are_left_as_they_are():
    logits = np.array([2.0, 1.5], np.float32)
    sampler = Sampler(Sampling(repetition_penalty=2.0, temperature=0.5, top_p=0.5, seed=1))
    for _ in range(4):
        sampler.choose(logits)
    assert logits.tolist() == [2.0, 1.5]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_is_refused_is_not_chosen_and_the_logits_stay_as_they_are(temperature):
    logits = np.array([3.0, 9.0, 8.0, 1.0], np.float32)
    sampler = Sampler(Sampling(temperature=temperature, seed=1))
    assert {sampler.choose(logits, refused={1, 2}.__contains__) for _ in range(20)} <= {0, 3}
    assert logits.tolist() == [3.0, 9.0, 8.0, 1.0]
