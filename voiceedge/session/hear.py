"""The way in: wire audio to decisions about the user's turn.

decode -> resample to 16 kHz -> voice activity -> endpoint. Positions are samples at 16 kHz since the session began.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import numpy as np

from voiceedge.audio.codec import Codec, codec
from voiceedge.audio.pcm import PCM
from voiceedge.audio.resample import Resampler
from voiceedge.audio.ring import Ring
from voiceedge.conversation.endpoint import Decision, Endpoint, EndpointSettings
from voiceedge.engines import LISTENING_RATE_HZ, Vad
from voiceedge.errors import NodeError
from voiceedge.session.compute import Compute
from voiceedge.trace import Clock, MediaClock, now

KEPT_S = 300
"""Audio kept for transcription: the longest turn. 19 MB a session when full, and only then."""
PIECE_S = 1
"""Audio that is worked on at a time: a burst of minutes must keep neither the event loop nor the CPU from others."""


class Hearing:
    """What one session hears."""

    def __init__(self, vad: Vad, compute: Compute, wire_format: str, clock: Clock = now) -> None:
        self._vad = vad
        self._compute = compute
        self._clock = clock
        self._stream = vad.open()
        self._frame_begin = 0
        self._is_deaf = False
        self._endpoint: Endpoint | None = None
        self.ring = Ring(LISTENING_RATE_HZ, KEPT_S)
        self.media = MediaClock(LISTENING_RATE_HZ, clock)
        self._begin_format(wire_format)

    def set_format(self, wire_format: str) -> None:
        """Take audio in this format from now on."""
        self.ring.push(self._resampler.flush())  # the end of the old one, or the ring would fall behind the clock
        self._begin_format(wire_format)

    def _begin_format(self, wire_format: str) -> None:
        self._codec: Codec = codec(wire_format)
        self._decoder = self._codec.decoder()
        self._resampler = Resampler(self._codec.rate_hz, LISTENING_RATE_HZ)
        self._wire_bytes = 0
        self._wire_base = self.media.samples

    def set_endpoint(self, settings: EndpointSettings | None) -> None:
        """Detect turns by these settings from now on; None: the client says where they end."""
        if settings is None:
            self._endpoint = None
        elif self._endpoint is None:
            self._endpoint = Endpoint(self._vad.frame_samples, LISTENING_RATE_HZ, settings)
            self._stream = self._vad.open()
            self._endpoint.skip_to(self.ring.end)
            self._frame_begin = self.ring.end
        else:
            self._endpoint.settings = settings

    @property
    def endpoint(self) -> Endpoint | None:
        """The turn detection, if the client wants one."""
        return self._endpoint

    async def listen(self, data: bytes, *, agent_audible: bool) -> AsyncIterator[Decision]:
        """Keep the audio of a message and yield what it decides, frame by frame.

        Raises:
            NodeError: voice activity failed; the audio has been kept all the same and counts as silence. Raised
                once, not at every message, until it works again.
        """
        self._arrived(len(data))
        was_deaf, failure = self._is_deaf, None
        step = PIECE_S * self._codec.rate_hz * self._codec.bytes_per_sample
        for begin in range(0, len(data), step):
            if begin:
                await asyncio.sleep(0)
            self.ring.push(self._resampler.push(self._decoder.decode(data[begin : begin + step])))
            if self._endpoint is None or not (frames := self._whole_frames()):
                continue
            try:
                probabilities = await self._compute.run(partial(self._probabilities, frames), deadline=self._clock())
                self._is_deaf = False
            except NodeError as error:
                probabilities, failure = [0.0] * len(frames), error  # the endpoint's time has to go on
                self._is_deaf = True
            for probability in probabilities:
                for decision in self._endpoint.push(probability, agent_audible=agent_audible):
                    yield decision
        if failure is not None and not was_deaf:
            raise failure

    def _arrived(self, size_bytes: int) -> None:
        """Note that so much of the wire's audio came now."""
        self._wire_bytes += size_bytes
        samples = self._wire_bytes // self._codec.bytes_per_sample
        position = self._wire_base + samples * LISTENING_RATE_HZ // self._codec.rate_hz
        self.media.arrived(position - self.media.samples)

    def moment(self, sample: int) -> float:
        """When a 16 kHz sample arrived, in seconds of the clock."""
        return self.media.moment(sample)

    def _probabilities(self, frames: list[PCM]) -> list[float]:
        return [self._stream.probability(frame) for frame in frames]

    def _whole_frames(self) -> list[PCM]:
        """The frames that have become complete; the rest waits for more audio."""
        size = self._vad.frame_samples
        count = (self.ring.end - self._frame_begin) // size
        if count == 0:
            return []
        block = self.ring.read(self._frame_begin, self._frame_begin + count * size)
        self._frame_begin += count * size
        return list(np.split(block, count))


def milliseconds(samples: int) -> int:
    """16 kHz samples as milliseconds."""
    return samples * 1000 // LISTENING_RATE_HZ
