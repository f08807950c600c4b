"""An answer's way to the socket: resample, encode, cut into deltas, keep the lead bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pybase64

from voiceedge.audio.codec import codec
from voiceedge.audio.pcm import PCM, first_audible
from voiceedge.audio.resample import Resampler
from voiceedge.session.outbox import Outbox
from voiceedge.session.turn import Turn

DELTA_S = 0.2
"""Audio in one delta: 12.8 kB of base64, far below the 1 MiB that the strictest client takes."""
LEAD_S = 8.0
"""How far the audio sent may run ahead of its playing. What is further ahead is wasted when the user barges in;
what is less leaves gaps on a bad network."""


class Voice:
    """Sends one answer's audio."""

    def __init__(self, turn: Turn, outbox: Outbox, tts_rate_hz: int, on_audio: Callable[[], None]) -> None:
        self._turn = turn
        self._outbox = outbox
        self._codec = codec(turn.config.output_format.type)
        self._resampler = Resampler(tts_rate_hz, self._codec.rate_hz)
        self._on_audio = on_audio
        self._begun = self._heard = False

    async def send(self, audio: PCM) -> None:
        """Send audio at the voice's own rate; waits while the listener is far behind."""
        await self._send(self._resampler.push(audio))

    async def finish(self) -> None:
        """Send what the resampler still holds."""
        if self._begun:
            await self._send(self._resampler.flush())

    async def _send(self, audio: PCM) -> None:
        rate_hz = self._codec.rate_hz
        step = round(DELTA_S * rate_hz)
        for begin in range(0, len(audio), step):
            await self._keep_lead()
            await self._send_delta(audio[begin : begin + step], rate_hz)

    async def _send_delta(self, audio: PCM, rate_hz: int) -> None:
        turn, seconds = self._turn, len(audio) / rate_hz
        audible = not self._heard and first_audible(audio, rate_hz) is not None
        self._heard |= audible

        def handed_over() -> None:
            turn.playout.sent(seconds)
            if audible:
                turn.trace.mark("first_audio_out")

        if not self._begun:
            self._begun = True
            self._on_audio()
        base64 = pybase64.b64encode(self._codec.encode(audio)).decode()
        for event in turn.lifecycle.audio(base64):
            await self._outbox.put_audio(event, seconds, turn.response_id, handed_over)

    async def _keep_lead(self) -> None:
        ahead = self._turn.playout.remaining_s - LEAD_S
        if ahead > 0:
            await asyncio.sleep(ahead)
