"""uvicorn's WebSocket, with an end for the two handshakes that it leaves without one (0.54)."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
"""More than 8 KiB in a line, or more than 128 lines (`websockets.http11`)."""


class HandshakeProtocol(WebSocketsSansIOProtocol):
    """Answers a header that is too long, and takes a refusal for what it is."""

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
