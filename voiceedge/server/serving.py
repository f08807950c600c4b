"""Runs the app on a bound socket until a signal, then lets the answers finish."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import ssl
import sys
from contextlib import suppress
from contextvars import Context
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette

from voiceedge.config import Config, Supervision
from voiceedge.errors import ConfigError
from voiceedge.server.admission import Admission
from voiceedge.server.doorstep import Doorstep
from voiceedge.server.headers import Headers
from voiceedge.server.knocking import Knocking
from voiceedge.server.reading import ReadingProtocol
from voiceedge.server.request import HEAD_BYTES, RequestProtocol
from voiceedge.server.socket import Sockets
from voiceedge.server.supervisor import Supervisor

log = logging.getLogger(__name__)

DRAIN_S = Config().drain_s
"""How long running answers may take to finish after SIGTERM, unless the settings say otherwise; containers are killed
after 30 s by default."""
MAX_MESSAGE_BYTES = 24 * 1024 * 1024
"""An append may carry 15 MiB of audio, which base64 makes 20 MiB, and its JSON."""
PING_EVERY_S = 5.0
"""To know how long the way to a client is, and that it is there. Beside 50 messages of audio a second it is nothing."""
BACKLOG = 128
HANDSHAKE_S = 10.0
"""How long a TLS handshake may take, as a request (`server/request`): it is two round trips, and asyncio waits 60 s."""
FAREWELL_S = 5.0
"""How long a client may take to take leave of TLS before its connection is cut; asyncio waits 30 s."""
UNREAD_S = 60
"""After so long without a byte taken the system gives a connection up, with what it still holds for it."""


def bind(host: str, port: int) -> socket.socket:
    """Take the port before anything is loaded, without answering on it yet.

    Raises:
        ConfigError: the port is taken or may not be used, or the host is not this machine's.
    """
    bound: socket.socket | None = None
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform == "linux":  # accepted sockets inherit it; without, who never reads keeps his for good
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_S * 1000)
        bound.bind(address)
    except UnicodeError as error:  # no label of a name is so long, or empty
        raise ConfigError(f"{host!r} is no name of a host.") from error
    except OSError as error:
        if bound is not None:
            bound.close()
        if error.errno == errno.EADDRINUSE:
            message = f"Port {port} on {host} is taken: stop what uses it, or choose another with --port."
        else:
            message = f"Cannot listen on {host}:{port}: {error.strerror or error}."
        raise ConfigError(message) from error
    return bound


class Server(uvicorn.Server):
    """uvicorn, but the first signal drains and the second one stops at once.

    The node may drain by itself (`finish`). Whoever then sends a first signal wants just that, and the answers finish.
    """

    def __init__(
        self,
        app: Starlette,
        sockets: Sockets,
        admission: Admission,
        tls: ssl.SSLContext | None = None,
        *,
        drain_s: float = DRAIN_S,
        supervisor: Supervisor | None = None,
        knocking: Knocking | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                Headers(app, is_secure=tls is not None),
                http=RequestProtocol,  # with a limit for a head and a time for a request
                h11_max_incomplete_event_size=HEAD_BYTES,
                ws=ReadingProtocol,  # reads no further than the session has taken: the client's socket waits
                ws_max_size=MAX_MESSAGE_BYTES,
                ws_ping_interval=PING_EVERY_S,
                ws_per_message_deflate=False,  # 131 us a frame to save 1 % of PCM
                backlog=BACKLOG,
                log_config=None,
                access_log=False,
                proxy_headers=False,  # it believes everybody on this machine; `server/address` does not
                server_header=False,  # strangers need not know what is inside
                lifespan="off",
                timeout_graceful_shutdown=5,
                ssl_context_factory=None if tls is None else lambda _, __: tls,
            )
        )
        self._sockets = sockets
        self._admission = admission
        self._knocking = Knocking() if knocking is None else knocking
        self._drain_s = drain_s
        self._supervisor = supervisor or Supervisor(Supervision())
        self._draining: asyncio.Task[None] | None = None
        self._is_signalled = False
        self._is_to_finish = False
        self._loop: asyncio.AbstractEventLoop | None = None  # once it listens

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve on bound sockets until a signal."""
        async with self._supervisor.watching():
            await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen. uvicorn's own does not see a connection before its TLS handshake is over."""
        self.servers = [await self._listen(bound) for bound in sockets or ()]
        self.started = True
        self._supervisor.ready()
        self._loop = asyncio.get_running_loop()
        if self._is_to_finish:
            self._begin_draining()

    def finish(self) -> None:
        """Drain, if that has not begun yet; no signal. May be called from any thread."""
        self._is_to_finish = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: it has come to its end
                self._loop.call_soon_threadsafe(self._begin_draining, context=Context())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signal module's shape
        """Drain on the first SIGINT or SIGTERM, exit at once on the second."""
        # a signal arrives between any two instructions: what it starts has to go through the loop, and is no session's
        name = signal.Signals(sig).name
        asyncio.get_running_loop().call_soon_threadsafe(self._asked_to_stop, name, context=Context())

    def _connection(self) -> RequestProtocol:
        return RequestProtocol(self.config, self.server_state, {}, knocking=self._knocking)

    async def _listen(self, bound: socket.socket) -> Any:
        """Accept connections; what is returned can be closed, as uvicorn does."""
        if (tls := self.config.ssl) is None:
            return await asyncio.get_running_loop().create_server(self._connection, sock=bound, backlog=BACKLOG)
        doorstep = Doorstep(
            bound, tls, self._knocking, self._connection, handshake_s=HANDSHAKE_S, farewell_s=FAREWELL_S
        )
        doorstep.open(BACKLOG)
        return doorstep

    def _asked_to_stop(self, name: str) -> None:
        if self._is_signalled:
            self.should_exit = self.force_exit = True
            return
        self._is_signalled = True
        log.info("%s: finishing the running answers (again: stop at once)", name)
        self._begin_draining()

    def _begin_draining(self) -> None:
        if self._draining is None:
            self._admission.drain()
            self._supervisor.stopping()
            self._draining = asyncio.create_task(self._drain(), name="drain")

    async def _drain(self) -> None:
        try:
            await self._sockets.drain(self._drain_s)
        finally:
            self.should_exit = True
