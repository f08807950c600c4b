"""Samples and how they travel: scale, wire codecs, resampling, the ring of what was heard. numpy only."""

from __future__ import annotations

from voiceedge.audio.codec import CODECS, Codec, Decoder, codec
from voiceedge.audio.pcm import (
    AUDIBLE_DBFS,
    PCM,
    first_audible,
    from_pcm16,
    last_audible,
    level_dbfs,
    to_pcm16,
)
from voiceedge.audio.resample import Resampler, resample
from voiceedge.audio.ring import Ring

__all__ = [
    "AUDIBLE_DBFS",
    "CODECS",
    "PCM",
    "Codec",
    "Decoder",
    "Resampler",
    "Ring",
    "codec",
    "first_audible",
    "from_pcm16",
    "last_audible",
    "level_dbfs",
    "resample",
    "to_pcm16",
]
