"""An event loop whose timers go off when they are due.

epoll counts whole milliseconds, rounded up, so a plain asyncio loop sends every append one or two late; and whoever
measures milliseconds must not add any.
"""

from __future__ import annotations

import asyncio
import select
import selectors
import sys

if sys.platform == "linux":

    class _PunctualSelector(selectors.EpollSelector):
        """Waits for epoll's own descriptor with select(), which counts microseconds and has to watch no other."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is None or timeout <= 0.0:
                return super().select(timeout)
            select.select([self], [], [], timeout)
            return super().select(0)

    def punctual_loop() -> asyncio.AbstractEventLoop:
        """A new event loop; its timers are late by what the system takes to wake a process, about 0.1 ms."""
        return asyncio.SelectorEventLoop(_PunctualSelector())

else:

    def punctual_loop() -> asyncio.AbstractEventLoop:
        """A new event loop, as the system has it."""
        return asyncio.new_event_loop()
