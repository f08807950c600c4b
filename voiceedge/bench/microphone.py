"""The bench's microphone: appends of 20 ms that never stop, in media time.

The microphone opens at a moment `opened`. Sample i of everything it ever sends belongs to the moment
`opened + i / rate`, and an append is sent when its last sample has been spoken, as a real microphone would:
append k (from 0) is due at `opened + (k + 1) * 20 ms`. This is the mapping that the node applies to arrivals
(a message ends when it arrives), so both sides count from the same media index. An append that is late is
sent at once; its lag is kept, and no moment moves because of it: a slow client cannot hide a slow answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from voiceedge.audio.pcm import PCM, to_pcm16
from voiceedge.bench import wire
from voiceedge.bench.pace import Pace
from voiceedge.bench.recording import WIRE_RATE_HZ, Recording

APPEND_S = 0.020
APPEND_SAMPLES = WIRE_RATE_HZ * 20 // 1000

_NOISE_DBFS = -70.0
"""A quiet room. Digital silence is what no microphone sends, and models behave oddly on it."""
_NOISE_APPENDS = 250
"""5 s, repeated."""

Send = Callable[[str], Awaitable[None]]
Spoken = Callable[[bytes], None]
"""Takes every append as 16-bit PCM, in order, when its last sample has been spoken."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """When a recording is heard on the bench's clock."""

    begins: float
    zero: float
    """The last voiced sample."""
    ends: float
    first_sample: int = 0
    """Where it begins in what the microphone has sent: the media time that both sides share."""


def noise_floor(samples: int, seed: int = 0) -> PCM:
    """White noise at -70 dBFS, the same for the same seed."""
    level = 10.0 ** (_NOISE_DBFS / 20.0)
    return np.random.default_rng(seed).standard_normal(samples, np.float32) * np.float32(level)


def appends(audio: PCM) -> list[PCM]:
    """`audio` in pieces of 20 ms; noise fills the last one up."""
    missing = -len(audio) % APPEND_SAMPLES
    whole = np.concatenate([audio, noise_floor(missing)])
    return [whole[first : first + APPEND_SAMPLES] for first in range(0, len(whole), APPEND_SAMPLES)]


@cache
def _room() -> list[tuple[bytes, str]]:
    """The noise of 5 s: every append as 16-bit PCM, and the message that carries it."""
    heard = [to_pcm16(piece) for piece in appends(noise_floor(_NOISE_APPENDS * APPEND_SAMPLES))]
    return [(pcm16, wire.append(pcm16)) for pcm16 in heard]


def _unheard(pcm16: bytes) -> None:
    del pcm16


class Microphone:
    """Sends the room's noise, and a recording whenever one is given to it.

    It can be switched off between two recordings: then media time stands still, and goes on where it stood.

    Args:
        pace: The bench's clock.
        spoken: Told everything that is sent.
    """

    def __init__(self, pace: Pace, spoken: Spoken = _unheard) -> None:
        self._pace = pace
        self._spoken = spoken
        self._opened = pace.now()
        self._sent = 0
        # unbounded only in name: one recording at a time is put in, already in memory; it is encoded when it is
        # sent, because to do so beforehand would hold up all other conversations for 20 ms
        self._speech: deque[PCM] = deque()
        self._on = asyncio.Event()
        self._on.set()
        self._lags_s: list[float] = []

    def switch_off(self) -> None:
        """Send nothing from now on: for two nodes that are asked in turn, so that neither disturbs the other."""
        assert not self._speech
        self._on.clear()

    def switch_on(self) -> None:
        """Go on; the next append is due 20 ms from now."""
        if not self._on.is_set():
            self._opened = self._pace.now() - self._sent * APPEND_S
            self._on.set()

    def speak(self, recording: Recording) -> Utterance:
        """Play a recording from the next append on, and say when its samples are spoken."""
        first = self._sent + len(self._speech)
        self._speech.extend(appends(recording.audio))
        begins = self._opened + first * APPEND_S
        return Utterance(
            begins=begins,
            zero=begins + recording.last_voiced / WIRE_RATE_HZ,
            ends=begins + len(recording.audio) / WIRE_RATE_HZ,
            first_sample=first * APPEND_SAMPLES,
        )

    def take_lags_s(self) -> list[float]:
        """How late each append of the recordings was sent that were spoken since this was last asked."""
        lags_s, self._lags_s = self._lags_s, []
        return lags_s

    def sample_at(self, moment: float) -> int:
        """The sample, counted from the first one sent, that belongs to a moment of the clock."""
        return round((moment - self._opened) * WIRE_RATE_HZ)

    async def run(self, send: Send) -> None:
        """Send for ever; ends with the task it runs in, or with what `send` raises."""
        room = _room()
        while True:
            await self._on.wait()
            due = self._opened + (self._sent + 1) * APPEND_S
            await self._pace.until(due)
            if not self._on.is_set():
                continue
            pcm16, message = room[self._sent % _NOISE_APPENDS]
            self._sent += 1
            if self._speech:
                pcm16 = to_pcm16(self._speech.popleft())
                message = wire.append(pcm16)
                self._lags_s.append(max(0.0, self._pace.now() - due))
            self._spoken(pcm16)
            await send(message)
