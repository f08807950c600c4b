"""Tells whoever started the process how it is (sd_notify(3)): systemd, or what speaks like it."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from voiceedge.config import Supervision

log = logging.getLogger(__name__)


class Supervisor:
    """Hears that the node listens, that its event loop turns, and that it is about to stop.

    Where nobody wants to hear it, nothing is told.
    """

    def __init__(self, wanted: Supervision) -> None:
        self._wanted = wanted

    def ready(self) -> None:
        """Say that the node listens: whoever waits for it may be started."""
        self._tell(b"READY=1")

    def stopping(self) -> None:
        """Say that the node lets its answers finish, and then exits."""
        self._tell(b"STOPPING=1\nSTATUS=Finishing the running answers")

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Say that the event loop turns, for as long as the block runs; an event loop that hangs says nothing."""
        if self._wanted.watchdog_s is None:
            yield
            return
        beating = asyncio.create_task(self._beat(self._wanted.watchdog_s / 2), name="watchdog")
        try:
            yield
        finally:
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating

    async def _beat(self, every_s: float) -> None:
        while True:
            self._tell(b"WATCHDOG=1")
            await asyncio.sleep(every_s)

    def _tell(self, state: bytes) -> None:
        if self._wanted.socket is None:
            return
        address = self._wanted.socket
        if address.startswith("@"):  # as unix(7) writes an abstract one
            address = f"\0{address[1:]}"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
                told.setblocking(False)
                told.sendto(state, address)
        except OSError as error:
            log.warning("The supervisor at %s was not told %s: %s", self._wanted.socket, state.decode(), error)
