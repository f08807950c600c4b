"""uvicorn's WebSocket: with an end for the two handshakes that it leaves without one (0.54), and a known round trip."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
"""More than 8 KiB in a line, or more than 128 lines (`websockets.http11`)."""
ROUND_TRIP = "round_trip_s"
"""Where `scope["state"]` holds a function: seconds to the client and back; None before the first ping is back."""
_TRIPS = 3
"""The median of so many: one that met a busy moment says nothing about the way."""


class HandshakeProtocol(WebSocketsSansIOProtocol):
    """Answers a header that is too long, takes a refusal for what it is, and keeps what the pings measure."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._trips_s: deque[float] = deque(maxlen=_TRIPS)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        super().data_received(data)
        # the HTTP parser before it has no limits: what only websockets cannot read is too long, and would wait for ever
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self.transport.write(TOO_LONG)
            self.transport.close()

    async def send(self, message: Any) -> None:
        """Send what the app says."""
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True  # else every refusal is an error in the log

    async def run_asgi(self) -> None:
        """Run the app, which finds the round trip in its scope."""
        # not a method: what the app keeps must not hold on to the connection, which holds on to the scope
        self.scope["state"][ROUND_TRIP] = partial(_median, self._trips_s)
        await super().run_asgi()

    def start_keepalive(self) -> None:
        """Begin with a ping at once: the first turn shall know the way to its user."""
        if self.ping_interval:
            self.send_keepalive_ping()

    def handle_pong(self, event: Any) -> None:
        """Note how long a ping was on its way."""
        awaited = self.pending_ping_payload
        super().handle_pong(event)
        if awaited is not None and self.pending_ping_payload != awaited:
            self._trips_s.append(self.last_ping_rtt)


def _median(trips_s: Sequence[float]) -> float | None:
    return statistics.median(trips_s) if trips_s else None
