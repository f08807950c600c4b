"""The three formats in which audio crosses the wire.

`audio/pcm` is 16-bit little-endian at 24 kHz; `audio/pcmu` and `audio/pcma` are G.711 µ-law and A-law at
8 kHz, as telephone networks carry them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voiceedge.audio.pcm import PCM, PCM16_SCALE, from_pcm16, to_int16, to_pcm16
from voiceedge.errors import InvalidRequest

Law = NDArray[np.int16]
"""Linear 16-bit value of each of the 256 code words."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How samples become bytes. Holds no state; `decoder()` starts one."""

    format_type: str
    """Name on the wire, e.g. `audio/pcm`."""
    rate_hz: int
    bytes_per_sample: int
    encode: Callable[[PCM], bytes]
    """PCM at `rate_hz` to bytes; clips."""
    _decode: Callable[[bytes], PCM]

    def decoder(self) -> Decoder:
        """Start to decode one stream."""
        return Decoder(self._decode, self.bytes_per_sample)

    def seconds(self, size_bytes: int) -> float:
        """How long `size_bytes` of this format last."""
        return size_bytes / (self.bytes_per_sample * self.rate_hz)


class Decoder:
    """Decodes one stream whose messages may end in the middle of a sample."""

    def __init__(self, decode: Callable[[bytes], PCM], bytes_per_sample: int) -> None:
        self._decode = decode
        self._bytes_per_sample = bytes_per_sample
        # the beginning of a sample whose other byte has not arrived
        self._rest = b""

    def decode(self, data: bytes) -> PCM:
        """Decode all whole samples; the beginning of the next one is kept for the next call."""
        data = self._rest + data if self._rest else data
        whole = len(data) - len(data) % self._bytes_per_sample
        self._rest = data[whole:]
        return self._decode(data[:whole])


def codec(format_type: str) -> Codec:
    """The codec of a wire format.

    Raises:
        InvalidRequest: no such format.
    """
    found = CODECS.get(format_type)
    if found is None:
        known = ", ".join(CODECS)
        raise InvalidRequest(f"Unknown audio format {format_type!r}; supported are {known}.")
    return found


def _mu_law() -> Law:
    """Decision values of ITU-T G.711 table 2, scaled from 14 to 16 bits."""
    word = ~np.arange(256, dtype=np.uint8)
    exponent = (word >> 4) & 0x07
    magnitude = ((((word & 0x0F).astype(np.int32) << 3) + 0x84) << exponent) - 0x84
    return np.where(word & 0x80, -magnitude, magnitude).astype(np.int16)


def _a_law() -> Law:
    """Decision values of ITU-T G.711 table 1, scaled from 13 to 16 bits."""
    word = np.arange(256, dtype=np.uint8) ^ np.uint8(0x55)
    exponent = ((word >> 4) & 0x07).astype(np.int32)
    mantissa = ((word & 0x0F).astype(np.int32) << 4) + 8
    magnitude = np.where(exponent == 0, mantissa, (mantissa + 0x100) << np.maximum(exponent - 1, 0))
    return np.where(word & 0x80, magnitude, -magnitude).astype(np.int16)


def _nearest_word(law: Law) -> NDArray[np.uint8]:
    """Code word whose value is nearest, for each int16 value counted from -32768.

    G.711's decision levels lie half-way between neighbouring values, so nearest is what it prescribes. Where
    two words share a value (µ-law has two zeros), the positive one, which silence is sent as, is taken.
    """
    values, from_the_end = np.unique(law[::-1].astype(np.int32), return_index=True)
    between = (values[:-1] + values[1:]) // 2
    nearest = np.searchsorted(between, np.arange(-32768, 32768), side="left")
    return (255 - from_the_end[nearest]).astype(np.uint8)


def _g711(format_type: str, law: Law) -> Codec:
    words = _nearest_word(law)
    linear = law.astype(np.float32) / np.float32(PCM16_SCALE)

    def encode(audio: PCM) -> bytes:
        return words[to_int16(audio).astype(np.int32) + 32768].tobytes()

    def decode(data: bytes) -> PCM:
        return linear[np.frombuffer(data, dtype=np.uint8)]

    return Codec(format_type, 8_000, 1, encode, decode)


CODECS: dict[str, Codec] = {
    "audio/pcm": Codec("audio/pcm", 24_000, 2, to_pcm16, from_pcm16),
    "audio/pcmu": _g711("audio/pcmu", _mu_law()),
    "audio/pcma": _g711("audio/pcma", _a_law()),
}
"""Every format that the wire speaks, by name."""
