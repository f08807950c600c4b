"""What the client's microphone picks up, ready for the wire."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import pybase64

from voiceedge.audio.codec import codec

Sound = Literal["silence", "speech", "noise"]
LEVEL: dict[Sound, float] = {"silence": 0.0, "noise": 0.002, "speech": 0.3}
"""Largest value; the fake voice activity hears speech from an RMS of -45 dBFS (0.0056)."""


@lru_cache(maxsize=512)
def sound(kind: Sound, milliseconds: float, wire_format: str, cut_bytes: int = 0) -> str:
    """base64 of so much of a sound, in a wire format; `cut_bytes` of its end are missing."""
    form = codec(wire_format)
    samples = round(milliseconds * form.rate_hz / 1000)
    audio = np.random.default_rng(samples).uniform(-LEVEL[kind], LEVEL[kind], samples).astype(np.float32)
    data = form.encode(audio)
    return pybase64.b64encode(data[: len(data) - cut_bytes]).decode()


def milliseconds_of(base64: str, wire_format: str) -> float:
    """How long audio on the wire lasts."""
    padding = base64.count("=", -2)
    return codec(wire_format).seconds(len(base64) * 3 // 4 - padding) * 1000
