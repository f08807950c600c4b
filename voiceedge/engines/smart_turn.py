"""Judges from intonation whether a speaker has finished, with Smart Turn v3.2.

It errs both ways on short sentences: its probability may shorten or lengthen a wait, never decide alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from voiceedge.audio.pcm import PCM
from voiceedge.engines import LISTENING_RATE_HZ
from voiceedge.engines.mel import log_mel
from voiceedge.engines.onnx_session import open_session

HEARS_SAMPLES = 8 * LISTENING_RATE_HZ
VARIANCE_FLOOR = 1e-7
"""Keeps silence from being divided by zero; the value that the model's feature extractor uses."""


class SmartTurn:
    """The weights; a judgement leaves nothing behind."""

    def __init__(self, model: Path, threads: int = 1) -> None:
        self._session = open_session(model, threads)

    def probability(self, audio: PCM) -> float:
        """Probability in [0, 1] that the turn in `audio` (16 kHz, the turn so far) is complete.

        The model hears the last 8 s; what is shorter is padded with silence in front.
        """
        heard = np.zeros(HEARS_SAMPLES, dtype=np.float32)
        last = audio[-HEARS_SAMPLES:]
        heard[HEARS_SAMPLES - last.size :] = last
        # the padding is part of what is normalised, as it was in training
        heard = (heard - heard.mean()) / np.sqrt(heard.var() + VARIANCE_FLOOR)
        # called logits, but the sigmoid is inside the graph
        (complete,) = self._session.run(["logits"], {"input_features": log_mel(heard)[None]})
        return float(complete.reshape(-1)[0])
