"""Notices that the user has said nothing since an answer was played to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Idle:
    """One session's timer; it runs once a `begin`, in two stretches: while the answer plays, and from then on."""

    def __init__(self, position: Callable[[], int], on_expired: Callable[[int], None]) -> None:
        """Prepare.

        Args:
            position: samples heard so far.
            on_expired: takes the position at which the silence began.
        """
        self._position = position
        self._on_expired = on_expired
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    def begin(self, timeout_ms: int, *, after_s: float) -> None:
        """Wait for the rest of the answer, `after_s`, and then so long for the user."""
        self.stop()
        if self._is_closed:
            return
        self._timer = asyncio.get_running_loop().call_later(after_s, self._played, timeout_ms)

    def stop(self) -> None:
        """Somebody has the floor."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """The session is over: events that are still on their way out begin nothing any more."""
        self.stop()
        self._is_closed = True

    def _played(self, timeout_ms: int) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(timeout_ms / 1000, self._expire, self._position())

    def _expire(self, begin: int) -> None:
        self._timer = None
        self._on_expired(begin)
