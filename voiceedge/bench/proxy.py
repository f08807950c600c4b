"""A way to the node that takes longer than it does: what a caller from far away would feel.

Stands between the bench and its TCP connection to the node, inside the bench's own process. Every piece of data is
handed on half a round trip after it came, in order, in both directions; the first one waits a whole round trip longer,
which is what TCP's own handshake would have taken. TLS goes through it as it is. Bandwidth and loss are not imitated.
It is as exact as the timers of the loop it runs in: see `bench/loop`.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

MAX_BYTES = 1024 * 1024
"""On its way in one direction. Full: nothing more is read, and TCP makes the sender wait. At a round trip of 150 ms
that is 14 MB/s."""


@asynccontextmanager
async def far_away(host: str, port: int, round_trip_s: float) -> AsyncIterator[socket.socket]:
    """Connect to a node that seems so far away; gives the bench's end of the connection.

    Raises:
        OSError: nobody answers there.
    """
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    try:
        out, back = _Direction(round_trip_s / 2.0), _Direction(round_trip_s / 2.0)
        transport, _ = await loop.create_connection(lambda: _End(receives=out, sends=back), host, port)
    except BaseException:
        near.close()
        far.close()
        raise
    out.not_before = loop.time() + 1.5 * round_trip_s
    own, _ = await loop.create_connection(lambda: _End(receives=back, sends=out), sock=far)
    try:
        yield near
    finally:
        near.close()
        own.abort()
        transport.abort()


@dataclass(slots=True)
class _Direction:
    """Data on its way from one end to the other."""

    delay_s: float
    not_before: float = 0.0
    source: asyncio.Transport | None = None
    sink: asyncio.Transport | None = None
    _pieces: deque[tuple[float, bytes]] = field(default_factory=deque)
    """(when it is due, data), in order; empty data is the end. Bounded by `MAX_BYTES` and one read."""
    _bytes: int = 0
    _timer: asyncio.TimerHandle | None = None
    _sink_is_full: bool = False

    def send(self, data: bytes) -> None:
        """Take what has come."""
        due = max(asyncio.get_running_loop().time() + self.delay_s, self.not_before)
        self._pieces.append((due, data))
        self._bytes += len(data)
        if self._bytes >= MAX_BYTES and self.source is not None:
            self.source.pause_reading()
        self._wait()

    def hold(self) -> None:
        """The receiver does not take more for now."""
        self._sink_is_full = True

    def go_on(self) -> None:
        """The receiver takes more."""
        self._sink_is_full = False
        self._wait()

    def stop(self) -> None:
        """An end is gone."""
        self._pieces.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        if self._timer is None and self._pieces and not self._sink_is_full:
            due, _ = self._pieces[0]
            self._timer = asyncio.get_running_loop().call_at(due, self._hand_on)

    def _hand_on(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._pieces and self._pieces[0][0] <= now and not self._sink_is_full:
            self._deliver(self._pieces.popleft()[1])
        self._wait()

    def _deliver(self, data: bytes) -> None:
        if self.sink is None or self.sink.is_closing():
            return
        if not data:
            self.sink.close()
            return
        was_full, self._bytes = self._bytes >= MAX_BYTES, self._bytes - len(data)
        if was_full and self._bytes < MAX_BYTES and self.source is not None:
            self.source.resume_reading()
        self.sink.write(data)


class _End(asyncio.Protocol):
    """One of the two connections: what it receives goes to `sends`, what comes out of `receives` is written to it."""

    def __init__(self, receives: _Direction, sends: _Direction) -> None:
        self._receives = receives
        self._sends = sends

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._receives.sink = self._sends.source = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._sends.send(data)

    def eof_received(self) -> bool:
        self._sends.send(b"")
        return True  # what is on its way to this end still arrives

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._sends.send(b"")
        self._receives.stop()

    def pause_writing(self) -> None:
        self._receives.hold()

    def resume_writing(self) -> None:
        self._receives.go_on()
