"""A connection that does nothing by itself: no rule of HTTP, of TLS or of WebSockets is kept for the attacker."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

from tests.adversary.attack import LET_IN, Over
from tests.adversary.target import Target

PATH = "/v1/realtime?model=voiceedge"
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
LATE_PORT = 24
"""IP_BIND_ADDRESS_NO_PORT (Linux): the port is chosen when the other side is known, so that they do not run out."""
CREATED = "session.created"
AGAIN_S = 0.1
"""Between two knocks of who has a good key and finds no place."""


def frame(
    opcode: int, payload: bytes | str = b"", *, fin: bool = True, reserved: int = 0, masked: bool = True
) -> bytes:
    """A frame, good or not (RFC 6455, 5.2). Its mask is zero, which is as good as any other."""
    data = payload.encode() if isinstance(payload, str) else payload
    return head(opcode, len(data), fin=fin, reserved=reserved, masked=masked) + data


def head(opcode: int, length: int, *, fin: bool = True, reserved: int = 0, masked: bool = True) -> bytes:
    """A frame's head; what it promises may never come."""
    first = fin << 7 | reserved << 4 | opcode
    mask, key = (0x80, bytes(4)) if masked else (0, b"")
    if length < 126:
        return bytes([first, mask | length]) + key
    if length < 1 << 16:
        return struct.pack(">BBH", first, mask | 126, length) + key
    return struct.pack(">BBQ", first, mask | 127, length) + key


def event(kind: str, **fields: Any) -> bytes:
    """A client event in a frame."""
    return frame(TEXT, json.dumps({"type": kind, **fields}))


def request(method: str, path: str, *headers: str, body: str = "", host: str | None = "localhost") -> bytes:
    """A request as its lines say, right or wrong."""
    named = [] if host is None else [f"Host: {host}"]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *named, *headers, "", body]).encode("latin-1")


def upgrade(
    *headers: str, path: str = PATH, version: str = "13", host: str | None = "localhost", method: str = "GET"
) -> bytes:
    """A handshake's head."""
    key = base64.b64encode(os.urandom(16)).decode()
    ours = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}")
    return request(method, path, *ours, f"Sec-WebSocket-Version: {version}", *headers, host=host)


def bearer(key: str) -> str:
    """The header line of a key."""
    return f"Authorization: Bearer {key}"


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Target) -> None:
        self.writer = writer
        self._reader = reader
        self._target = target

    async def send(self, *data: bytes) -> None:
        """Send bytes; waits while the node takes none.

        Raises:
            Over: not for as long as one is patient.
        """
        self.writer.write(b"".join(data))
        async with asyncio.timeout(self._target.patience_s):
            await self.writer.drain()

    async def flood(self, pieces: Iterable[bytes]) -> None:
        """Send many, as fast as the node takes them and the leash allows."""
        for number, piece in enumerate(pieces):
            self.writer.write(piece)
            if number % 16 == 0:
                await self._target.leash.hold()
            async with asyncio.timeout(self._target.patience_s):
                await self.writer.drain()

    # ── what HTTP answers ─────────────────────────────────────────────────────────────────────────────

    async def status(self) -> str:
        """The next answer's status; its head is read, and no more."""
        return f"HTTP {(await self.answer_head())[9:12].decode('latin-1')}"

    async def answer_head(self) -> bytes:
        """The next answer's head."""
        async with self._patiently():
            return await self._reader.readuntil(b"\r\n\r\n")

    async def everything(self) -> bytes:
        """All that comes until the node closes.

        Raises:
            Over: it does not.
        """
        async with self._patiently():
            return await self._reader.read(-1)

    async def statuses(self) -> str:
        """Of all answers until the node closes; `closed` without one, `silence` if it does not close."""
        try:
            answers = (await self.everything()).split(b"HTTP/1.1 ")[1:]
        except Over as over:
            return str(over)
        return " ".join(f"HTTP {answer[:3].decode('latin-1')}" for answer in answers) or "closed"

    # ── what a WebSocket answers ──────────────────────────────────────────────────────────────────────

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload. Pings are answered."""
        while True:
            async with self._patiently():
                first, length = await self._reader.readexactly(2)
                if length >= 126:
                    length = int.from_bytes(await self._reader.readexactly(2 if length == 126 else 8), "big")
                payload = await self._reader.readexactly(length)
            if first & 0xF != PING:
                return first & 0xF, payload
            self.writer.write(frame(PONG, payload))

    async def end(self) -> str:
        """How the node ends it; whatever comes before is passed over."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                return _closed(payload)

    async def says(self, *kinds: str) -> str:
        """The next event of one of these kinds, or error, or the close code."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                return _closed(payload)
            if opcode != TEXT:
                continue
            said = json.loads(payload)
            if said["type"] == "error":
                return f"error {said['error']['code']}"
            if said["type"] in kinds:
                return str(said["type"])

    async def hung_up(self) -> str:
        """Wait until the node has given the connection up, without reading a byte of what it has sent."""
        transport = self.writer.transport
        transport.pause_reading()  # type: ignore[attr-defined]  # a transport of asyncio's sockets
        async with asyncio.timeout(self._target.patience_s):
            while True:
                # the system knows; a transport that does not read is not told
                if _is_gone(transport.get_extra_info("socket")):
                    return "closed"
                await asyncio.sleep(0.05)

    @asynccontextmanager
    async def _patiently(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._target.patience_s):
                yield
        except TimeoutError:
            raise Over("silence") from None
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            raise Over("closed") from None


def _closed(payload: bytes) -> str:
    return f"close {int.from_bytes(payload[:2], 'big')}" if payload else "close"


TCP_ESTABLISHED = 1


def _is_gone(connection: socket.socket) -> bool:
    """Whether the other end has closed (Linux: the first byte of tcp_info is the connection's state)."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != TCP_ESTABLISHED


@asynccontextmanager
async def connected(target: Target, *, tls: bool | None = None) -> AsyncIterator[Wire]:
    """Connect from the target's own address; gone without a goodbye in the end.

    Args:
        target: Where to.
        tls: Speak TLS; None does what the node does.
    """
    bare = socket.socket()
    try:
        bare.setblocking(False)
        if target.source:
            with suppress(OSError):
                bare.setsockopt(socket.IPPROTO_IP, LATE_PORT, 1)
            bare.bind((target.source, 0))
        async with asyncio.timeout(target.patience_s):
            await asyncio.get_running_loop().sock_connect(bare, ("127.0.0.1", target.port))
            secure = trusting() if (target.is_secure if tls is None else tls) else None
            name = "localhost" if secure else None
            reader, writer = await asyncio.open_connection(sock=bare, ssl=secure, server_hostname=name)
    except BaseException:
        bare.close()
        raise
    try:
        yield Wire(reader, writer, target)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def session(target: Target, *headers: str) -> AsyncIterator[Wire]:
    """Open a session with the hostile key, and read its greeting; knock again while there is no place.

    Raises:
        Over: one is not let in.
    """
    given_up = time.monotonic() + target.patience_s
    while True:
        async with connected(target) as wire:
            await wire.send(upgrade(bearer(target.credentials.hostile_key), *headers))
            answer = await wire.status()
            if answer == "HTTP 101":
                if (greeting := await wire.says(CREATED)) != CREATED:
                    raise Over(greeting)
                yield wire
                return
        if answer not in LET_IN or time.monotonic() > given_up:
            raise Over(answer)
        await asyncio.sleep(AGAIN_S)


def trusting() -> ssl.SSLContext:
    """Asks for no certificate: an attacker does not care whom he attacks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
