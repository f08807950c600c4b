"""uvicorn's HTTP: with an end for a request that is too long, and for one that never comes (0.54 waits for ever)."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from voiceedge.server.knocking import Knocking

HEAD_BYTES = 16 * 1024
"""Longest head that is waited for: twice the longest line that websockets takes."""
REQUEST_S = 10.0
"""How long a request may take to be there: the first one from the connect, a later one from its first byte."""
_UNREAD = (h11.IDLE, h11.SEND_BODY)
"""States of a client whose request has not begun, or is not whole."""
_LENGTHS = frozenset({b"content-length", b"transfer-encoding"})
"""Headers that each say where a body ends; a request has one of them at most."""
_VERSIONS = frozenset({b"1.0", b"1.1"})
"""Of HTTP, that are read here."""


class _Requests(h11.Connection):
    """h11's reader, but for requests whose end two servers may see at two places (RFC 9112, 6.1).

    h11 goes by the chunks and reads on behind them: what a proxy that goes by the length takes for the body would be
    a request of its own, which the proxy has not looked at. Nor are the first bytes of HTTP/2 a request here.
    """

    def next_event(self) -> Any:
        """Read on.

        Raises:
            h11.RemoteProtocolError: what came is no HTTP, or could be read in two ways.
        """
        event = super().next_event()
        if isinstance(event, h11.Request) and {name for name, _ in event.headers} >= _LENGTHS:
            raise h11.RemoteProtocolError("both Content-Length and Transfer-Encoding")
        if isinstance(event, h11.Request) and event.http_version not in _VERSIONS:
            raise h11.RemoteProtocolError("no HTTP/1")
        return event


class RequestProtocol(H11Protocol):
    """Gives up a client that sends too much before it is known who it is, or too little.

    Args:
        args: uvicorn's.
        knocking: Counts those that are no session.
        kwargs: uvicorn's.
    """

    def __init__(self, *args: Any, knocking: Knocking | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._knocking = Knocking() if knocking is None else knocking
        self.conn = _Requests(h11.SERVER, self.config.h11_max_incomplete_event_size or HEAD_BYTES)
        self._late: asyncio.TimerHandle | None = None
        self._is_upgraded = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the parent has it
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait()
        self._knocking.begin(transport, self.client)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        super().connection_lost(exc)
        self._wait_no_longer()
        self._knocking.end(self.transport)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        # h11 looks at its limit only after it has read all it can: a packet of 256 KiB may hold 50,000 headers
        for begin in range(0, len(data), HEAD_BYTES):
            if begin and self._is_whole():
                self.transport.close()  # so much more before the answer (or the upgrade) is out: no client does that
                break
            super().data_received(data[begin : begin + HEAD_BYTES])
        if self._is_whole():
            self._wait_no_longer()
        else:
            self._wait()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over: what comes from now on is no request."""
        self._is_upgraded = True
        self._knocking.end(self.transport)
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        """An answer is out: who asks again need not be older for it than others."""
        if not self.transport.is_closing():
            self._knocking.begin(self.transport, self.client)
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, if nothing else was answered yet; the app behind it hears of a client that left."""
        if self.cycle is not None:
            self.cycle.disconnected = True
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _is_whole(self) -> bool:
        return self._is_upgraded or self.conn.their_state not in _UNREAD

    def _wait(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(REQUEST_S, self.transport.close)

    def _wait_no_longer(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
