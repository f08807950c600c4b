"""Choosing the next token."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from voiceedge.engines import Sampling

FIRST_CANDIDATES = 64
"""The nucleus is first looked for among so many tokens, then among eight times as many, and so on: sorting
all of a 152,000-word vocabulary costs more than a decoder layer."""


class Sampler:
    """Chooses the tokens of one answer."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._random = np.random.default_rng(sampling.seed)
        self._chosen: set[int] = set()

    def choose(self, logits: NDArray[np.float32], refused: Callable[[int], bool] | None = None) -> int:
        """The next token by `logits`, shape [vocabulary], which are left as they are; none that is `refused`."""
        logits = self._penalised(logits)
        token = self._pick(logits)
        if refused is not None and refused(token):
            logits = logits.copy()
            while refused(token):
                logits[token] = -np.inf
                token = self._pick(logits)
        self._chosen.add(token)
        return token

    def _pick(self, logits: NDArray[np.float32]) -> int:
        return int(logits.argmax()) if self._sampling.temperature <= 0 else self._draw(logits)

    def _penalised(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        penalty = self._sampling.repetition_penalty
        if penalty == 1.0 or not self._chosen:
            return logits
        logits = logits.copy()
        seen = np.fromiter(self._chosen, np.int64)
        values = logits[seen]
        logits[seen] = np.where(values > 0, values / penalty, values * penalty)
        return logits

    def _draw(self, logits: NDArray[np.float32]) -> int:
        weights = np.exp((logits - logits.max()) / np.float32(self._sampling.temperature), dtype=np.float32)
        tokens = None
        if self._sampling.top_p < 1.0:
            tokens = nucleus(weights, self._sampling.top_p)
            weights = weights[tokens]
        sums = np.cumsum(weights, dtype=np.float64)
        drawn = int(np.searchsorted(sums, self._random.random() * sums[-1], side="right"))
        drawn = min(drawn, len(sums) - 1)  # a draw of 0.999… can round up to the sum itself
        return drawn if tokens is None else int(tokens[drawn])


def nucleus(weights: NDArray[np.float32], share: float) -> NDArray[np.int64]:
    """The fewest tokens whose `weights` (not negative, any scale) make up `share` of all, heaviest first."""
    wanted = share * float(weights.sum(dtype=np.float64))
    count = min(FIRST_CANDIDATES, len(weights))
    while True:
        candidates = np.argpartition(weights, len(weights) - count)[len(weights) - count :]
        candidates = candidates[np.argsort(-weights[candidates], kind="stable")]
        sums = np.cumsum(weights[candidates], dtype=np.float64)
        if sums[-1] >= wanted or count == len(weights):
            return candidates[: int(np.searchsorted(sums, wanted)) + 1]
        count = min(count * 8, len(weights))
