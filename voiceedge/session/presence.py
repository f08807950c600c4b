"""Notices that nobody takes part in a session any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from voiceedge.errors import Expired
from voiceedge.trace import Clock

SHORTEST_S = 0.05
"""Between two looks: the clock and the event loop need not agree to the millisecond."""


class Presence:
    """When somebody last took part.

    Whoever speaks takes part, the agent as well, and a client by any message but audio: a microphone that was forgotten
    streams silence for ever. A client that has to listen for hours says so now and then by an empty session.update.
    """

    def __init__(self, idle_s: float, clock: Clock, is_busy: Callable[[], bool]) -> None:
        """Begin now.

        Args:
            idle_s: how long nobody has to take part; 0 for ever.
            clock: seconds.
            is_busy: whether somebody speaks, or an answer is being made.
        """
        self._idle_s = idle_s
        self._clock = clock
        self._is_busy = is_busy
        self._last = clock()

    def noticed(self) -> None:
        """Somebody takes part."""
        self._last = self._clock()

    async def watch(self) -> None:
        """Run for as long as somebody takes part.

        Raises:
            Expired: nobody has, for so long.
        """
        while self._idle_s:
            if self._is_busy():
                self.noticed()
            left_s = self._last + self._idle_s - self._clock()
            if left_s <= 0:
                raise Expired(f"Your session was idle for {self._idle_s:g} seconds.")
            await asyncio.sleep(max(left_s, SHORTEST_S))
