"""uvicorn's WebSocket (0.54): with an end for what it leaves without one or holds without a limit, and a round trip."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import SecurityError
from websockets.frames import OP_PONG, CloseCode
from websockets.protocol import CONNECTING, OPEN

TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
"""More than 8 KiB in a line, or more than 128 lines (`websockets.http11`)."""
NO_HANDSHAKE = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
"""Not a GET, or one with a body."""
ROUND_TRIP = "round_trip_s"
"""Where `scope["state"]` holds a function: seconds to the client and back; None before the first ping is back."""
_TRIPS = 3
"""The median of so many: one that met a busy moment says nothing about the way."""
_PONG = bytes([0x80 | OP_PONG])
"""How one begins (RFC 6455, 5.2)."""


class HandshakeProtocol(WebSocketsSansIOProtocol):
    """Ends what is no handshake or no text, holds little for who does not read, and keeps what the pings measure."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._trips_s: deque[float] = deque(maxlen=_TRIPS)
        self._owed_pong = b""
        self._rest = bytearray()  # of a message in fragments, after the first one

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        super().data_received(data)
        # the HTTP parser before it takes more than websockets: what only websockets cannot read would wait for ever
        unread = self.conn.handshake_exc
        if unread is not None and not self.handshake_initiated:
            self.transport.write(TOO_LONG if isinstance(unread.__cause__, SecurityError) else NO_HANDSHAKE)
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

    def handle_cont(self, event: Any) -> None:
        """Join a fragment to what is there: in a list, an empty one takes memory that no limit counts."""
        self._rest += event.data
        if event.fin:
            self.frames = [self.frames[0] + self._rest]
            self._rest = bytearray()
            self.send_receive_event_to_app()

    def send_receive_event_to_app(self) -> None:
        """Hand a message on; text that is none ends the connection, and is no error of the node."""
        if self.curr_msg_data_type == "bytes" or self.close_sent or _is_utf8(self.frames[0]):
            super().send_receive_event_to_app()
            return
        if self.conn.state is OPEN:  # the client may have said goodbye in the same packet
            self.conn.send_close(CloseCode.INVALID_DATA)
        self.handle_parser_exception()

    def handle_parser_exception(self) -> None:
        """End the connection for what the client sent."""
        if self.conn.state is CONNECTING:
            self.transport.close()  # before the handshake is over there is nothing to say it with
        else:
            super().handle_parser_exception()

    def handle_ping(self) -> None:
        """Answer; a client that does not read gets only the last answer, and when it does (RFC 6455, 5.5.3)."""
        output = self.conn.data_to_send()
        if not self.writable.is_set():
            pongs = [frame for frame in output if frame.startswith(_PONG)]
            output = [frame for frame in output if not frame.startswith(_PONG)]
            self._owed_pong = pongs[-1] if pongs else self._owed_pong
        self.transport.write(b"".join(output))

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if self._owed_pong and self.conn.state is OPEN:
            self.transport.write(self._owed_pong)
        self._owed_pong = b""

    def handle_pong(self, event: Any) -> None:
        """Note how long a ping was on its way."""
        awaited = self.pending_ping_payload
        super().handle_pong(event)
        if awaited is not None and self.pending_ping_payload != awaited:
            self._trips_s.append(self.last_ping_rtt)


def _median(trips_s: Sequence[float]) -> float | None:
    return statistics.median(trips_s) if trips_s else None


def _is_utf8(text: bytes) -> bool:
    if text.isascii():  # audio is, and this is the cheaper question
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
