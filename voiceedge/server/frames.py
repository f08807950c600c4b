"""uvicorn's WebSocket (0.54): with an end for what it leaves without one or holds without a limit, and a round trip."""

from __future__ import annotations

import asyncio
import statistics
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import SecurityError
from websockets.frames import OP_PONG, CloseCode
from websockets.protocol import CONNECTING, OPEN

from voiceedge.server.bucket import TokenBucket
from voiceedge.trace import now

TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
"""More than 8 KiB in a line, or more than 128 lines (`websockets.http11`)."""
NO_HANDSHAKE = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
"""Not a GET, or one with a body."""
LINE = "line"
"""Where `scope["state"]` holds the connection's `Line`."""
PIECE_BYTES = 1024
"""So much is parsed at a time: of the shortest frames 170, in 1 ms. A read may bring 256 KiB of them."""
FRAMES_A_SECOND = 500.0
"""Frames that are no message of their own: pings, pongs, and fragments after the first. Each takes 4 us, and a pong a
system call."""
FRAMES_AHEAD = 6000.0
"""So many may come at once: an append of 15 MiB in fragments of 4 KiB has 5,120."""
_TRIPS = 3
"""The median of so many: one that met a busy moment says nothing about the way."""
_PONG = bytes([0x80 | OP_PONG])
"""How one begins (RFC 6455, 5.2)."""


@dataclass(slots=True)
class Line:
    """What a session may know of its connection. Does not hold on to it."""

    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the connection is over, or about to be."""
    held_s: float = 0.0
    """For how many seconds the client was not read because of its frames."""
    trips_s: deque[float] = field(default_factory=lambda: deque(maxlen=_TRIPS))
    """How long the last pings were on their way."""

    def round_trip_s(self) -> float | None:
        """Seconds to the client and back; None before the first ping is back."""
        return statistics.median(self.trips_s) if self.trips_s else None


class FrameProtocol(WebSocketsSansIOProtocol):
    """Ends what is no handshake or no text, holds little for who does not read, and reads no faster than is good."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._line = Line()
        self._owed_pong = b""
        self._rest = bytearray()  # of a message in fragments, after the first one
        self._unread = bytearray()  # what came and is not parsed: as much as one read of the socket brings
        self._going_on: asyncio.TimerHandle | None = None
        self._is_held = False  # the socket is not read because of it
        self._frames = TokenBucket(FRAMES_A_SECOND, FRAMES_AHEAD, now())
        self._uncounted = 0  # frames that are no message, of which the bucket has not been told
        self._is_heard = True  # since the last ping

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        self._is_heard = True
        self._unread += data
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        super().connection_lost(exc)
        self._line.gone.set()
        self._unread.clear()
        if self._going_on is not None:
            self._going_on.cancel()

    def shutdown(self) -> None:
        """The node stops. Who has said goodbye is not told so any more: uvicorn would raise, and leave the others."""
        if self.handshake_complete and not self.close_sent and self.conn.state is not OPEN:
            self.stop_keepalive()
            self.transport.close()
        else:
            super().shutdown()

    def _go_on(self) -> None:
        """Parse what has come: no faster than frames may come, and no further than to a message that is to be taken."""
        while self._unread and not self._must_wait():
            piece = bytes(self._unread[:PIECE_BYTES])
            del self._unread[:PIECE_BYTES]
            self._parse(piece)
            self._uncounted += self.close_sent  # after a goodbye nobody waits for more, whatever it is
            if self._uncounted:
                self._frames.take(self._uncounted, now())
                self._uncounted = 0
                if self._unread:
                    self._go_on_in(0.0)  # a piece full of frames is work: others come first
        if self._unread:
            self._is_held = True
            self.transport.pause_reading()  # each time: the parent may have begun to read again
        elif self._is_held:
            self._is_held = False
            if not (self.read_paused or self.transport.is_closing()):
                self.transport.resume_reading()

    def _must_wait(self) -> bool:
        if self.transport.is_closing():
            self._unread.clear()
            return True
        if self._going_on is not None:
            return True
        if not self.queue.empty() and not self.close_sent:
            return True  # until `receive`
        wait_s = self._frames.wait_s(now())
        if wait_s <= 0:
            return False
        self._line.held_s += wait_s
        self._go_on_in(wait_s)
        return True

    def _go_on_in(self, seconds: float) -> None:
        def go_on() -> None:
            self._going_on = None
            self._go_on()

        self._going_on = self.loop.call_later(seconds, go_on)

    def _parse(self, data: bytes) -> None:
        with suppress(UnicodeEncodeError):  # websockets would quote a header that is no ASCII, and cannot write it
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
        if self.close_sent:
            self._line.gone.set()
            self._go_on()

    async def receive(self) -> Any:
        """Wait for the next message."""
        if not self.queue.empty():
            await asyncio.sleep(0)  # whoever has a lot to say takes turns with the others
        message = await super().receive()
        self._go_on()
        return message

    async def run_asgi(self) -> None:
        """Run the app, which finds the line in its scope."""
        self.scope["state"][LINE] = self._line
        await super().run_asgi()

    def start_keepalive(self) -> None:
        """Begin with a ping at once: the first turn shall know the way to its user."""
        if self.ping_interval:
            self.send_keepalive_ping()

    def send_keepalive_ping(self) -> None:
        """Ask whether the client is there."""
        self._is_heard = False
        super().send_keepalive_ping()

    def keepalive_timeout(self) -> None:
        """Give up who is silent. Who was heard is there, and the pong of who is not read cannot be heard."""
        if self._is_heard or self._is_held or self.read_paused:
            self.send_keepalive_ping()  # the system of somebody who has left refuses it, and then that is known
        else:
            super().keepalive_timeout()

    def handle_cont(self, event: Any) -> None:
        """Join a fragment to what is there: in a list, an empty one takes memory that no limit counts."""
        self._uncounted += 1
        self._rest += event.data
        if event.fin:
            self.frames = [self.frames[0] + self._rest]
            self._rest = bytearray()
            self.send_receive_event_to_app()

    def send_receive_event_to_app(self) -> None:
        """Hand a message on; text that is none ends the connection, and is no error of the node."""
        self._uncounted += self.close_sent
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
        self._uncounted += 1
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
        self._uncounted += 1
        awaited = self.pending_ping_payload
        super().handle_pong(event)
        if awaited is not None and self.pending_ping_payload != awaited:
            self._line.trips_s.append(self.last_ping_rtt)


def _is_utf8(text: bytes) -> bool:
    if text.isascii():  # audio is, and this is the cheaper question
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
