"""The bench's clock: media time as the microphone counts it."""

from __future__ import annotations

import asyncio

from voiceedge.trace import Clock, now


class Pace:
    """Seconds of media time that pass on a clock, `speed` times as fast as the wall.

    Everything that the bench schedules or measures is a moment of this clock. At any speed but 1 the figures
    mean nothing: it is there for tests.
    """

    def __init__(self, clock: Clock = now, speed: float = 1.0) -> None:
        self._clock = clock
        self.speed = speed

    def now(self) -> float:
        """This moment, in seconds."""
        return self._clock() * self.speed

    def real_s(self, moment: float) -> float:
        """Seconds on the wall until `moment`; 0 when it has passed."""
        return max(0.0, (moment - self.now()) / self.speed)

    async def until(self, moment: float) -> None:
        """Sleep until `moment`; return at once when it has passed."""
        if wait_s := self.real_s(moment):
            await asyncio.sleep(wait_s)
