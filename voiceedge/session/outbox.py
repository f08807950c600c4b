"""The way out: one ordered queue and one writer a socket.

Audio waits when the reader is slow, so that an answer is made no faster than it is taken; other events are small and
never wait. An answer that is cancelled takes its unsent audio and captions with it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from voiceedge.errors import SlowReader
from voiceedge.protocol.server_events import ServerEvent

MAX_AUDIO_S = 2.0
"""Audio that may stand in the queue; full: the voice waits."""
MAX_EVENTS = 4096
"""Events that may stand in the queue; full: the reader is cut off."""
STALL_S = 20.0
"""A reader that takes nothing for this long is cut off."""


Late = Callable[[], ServerEvent | None]
"""An event that is made when its turn to be sent has come; None sends nothing."""


@dataclass(slots=True)
class _Entry:
    event: ServerEvent | Late
    audio_s: float = 0.0
    owner: str | None = None
    """The response, or the call, that takes it along when it is cancelled."""
    handed_over: Callable[[], None] | None = None
    """Told when the event is handed to the socket."""


class Outbox:
    """Events on their way to one socket."""

    def __init__(self) -> None:
        self._entries: deque[_Entry] = deque()
        self._audio_s = 0.0
        self._closed = False
        self._is_over = False
        self._empty = asyncio.Event()
        self._empty.set()
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._caught_up = asyncio.Event()
        self._caught_up.set()

    def put(self, event: ServerEvent | Late, *, owner: str | None = None) -> None:
        """Queue an event.

        Raises:
            SlowReader: the queue is full.
        """
        self._append(_Entry(event, owner=owner))

    async def put_audio(self, event: ServerEvent, seconds: float, owner: str, handed_over: Callable[[], None]) -> None:
        """Queue an audio delta; wait while too much audio stands before it."""
        while self._audio_s >= MAX_AUDIO_S:
            self._room.clear()
            await self._room.wait()
        self._audio_s += seconds
        self._append(_Entry(event, seconds, owner, handed_over))

    async def one_at_a_time(self) -> None:
        """Wait until all has been sent that stood here when this was called last.

        For whoever is about to queue an event that is not small: so at most two of them stand here.
        """
        await self._caught_up.wait()
        self._caught_up.clear()
        self._append(_Entry(self._caught_up.set))

    def discard(self, owner: str) -> None:
        """Take back what has not been sent of a cancelled answer's audio and captions."""
        kept = [entry for entry in self._entries if entry.owner != owner]
        self._entries = deque(kept)
        self._audio_s = sum(entry.audio_s for entry in kept)
        self._room.set()

    async def flushed(self) -> None:
        """Wait until everything that was queued has been handed to the socket, or nobody hands over any more."""
        await self._empty.wait()

    def close(self) -> None:
        """Let `drain` return once everything has been sent."""
        self._closed = True
        self._ready.set()

    async def drain(self, send: Callable[[ServerEvent], Awaitable[None]]) -> None:
        """Send in order until closed and empty.

        Raises:
            SlowReader: one event took longer than STALL_S to be taken.
        """
        try:
            while True:
                while self._entries:
                    entry = self._entries.popleft()
                    self._audio_s -= entry.audio_s
                    self._room.set()
                    await self._hand_over(entry, send)
                self._empty.set()
                if self._closed:
                    return
                self._ready.clear()
                await self._ready.wait()
        finally:
            self._is_over = True
            self._empty.set()  # a node that stops must not wait for a client who has gone

    async def _hand_over(self, entry: _Entry, send: Callable[[ServerEvent], Awaitable[None]]) -> None:
        event = entry.event if isinstance(entry.event, ServerEvent) else entry.event()
        if entry.handed_over is not None:
            entry.handed_over()
        if event is None:
            return
        try:
            async with asyncio.timeout(STALL_S):
                await send(event)
        except TimeoutError:
            raise SlowReader(f"Nothing was read for {STALL_S:.0f} s.") from None

    def _append(self, entry: _Entry) -> None:
        if len(self._entries) >= MAX_EVENTS:
            raise SlowReader(f"{MAX_EVENTS} events wait to be read.")
        self._entries.append(entry)
        if not self._is_over:
            self._empty.clear()
        self._ready.set()
