"""Connections until their TLS handshake is over: they are counted with those that knock.

A server of asyncio's that speaks TLS shows its connections only once they are through, and until then nobody could
close one.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

from voiceedge.server.knocking import Knocking

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Connections that are accepted one after another, before those that are there get their turn."""
FULL_S = 1.0
"""How long nobody is accepted when there is no descriptor left; as asyncio."""


class Doorstep:
    """Accepts connections on a socket, shakes hands, and hands them over.

    Args:
        bound: Listens from `open` on.
        tls: What connections are wrapped in.
        knocking: Counts them meanwhile.
        inside: Makes the protocol that takes one over.
        handshake_s: Longest handshake.
        farewell_s: Longest wait for who takes leave.
    """

    def __init__(
        self,
        bound: socket.socket,
        tls: ssl.SSLContext,
        knocking: Knocking,
        inside: Callable[[], asyncio.Protocol],
        *,
        handshake_s: float,
        farewell_s: float,
    ) -> None:
        self._bound = bound
        self._tls = tls
        self._knocking = knocking
        self._inside = inside
        self._handshake_s, self._farewell_s = handshake_s, farewell_s
        self._loop = asyncio.get_running_loop()
        self._shaking: set[asyncio.Task[None]] = set()
        self._again: asyncio.TimerHandle | None = None

    def open(self, backlog: int) -> None:
        """Listen; `backlog` connections may wait to be accepted."""
        self._bound.setblocking(False)
        self._bound.listen(backlog)
        self._loop.add_reader(self._bound, self._accept)

    def close(self) -> None:
        """Accept nobody any more, and give up those that are not through."""
        if self._bound.fileno() != -1:
            self._loop.remove_reader(self._bound)
        self._bound.close()
        if self._again is not None:
            self._again.cancel()
        for task in self._shaking:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until they are gone."""
        await asyncio.gather(*self._shaking, return_exceptions=True)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, peer = self._bound.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("No connection can be accepted: %s", error.strerror)
                self._loop.remove_reader(self._bound)
                self._again = self._loop.call_later(FULL_S, self._loop.add_reader, self._bound, self._accept)
                return
            task = self._loop.create_task(self._shake(connection, peer), name="handshake")
            self._shaking.add(task)
            task.add_done_callback(self._shaking.discard)

    async def _shake(self, connection: socket.socket, peer: object) -> None:
        knocker = _Knocker(connection)
        self._knocking.begin(knocker, peer)
        try:
            await self._loop.connect_accepted_socket(
                self._inside,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake_s,
                ssl_shutdown_timeout=self._farewell_s,
            )
        except OSError as error:  # no TLS, none that is spoken here, too late, or gone
            log.debug("no TLS: %s", error)
        finally:
            self._knocking.end(knocker)


class _Knocker:
    """A connection whose transport nobody has seen yet."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def abort(self) -> None:
        """Let the handshake see its end."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
