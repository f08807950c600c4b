"""A WebSocket without a network: what uvicorn's protocols do to their socket, for bytes that a test chooses."""

from __future__ import annotations

import asyncio
from typing import Any

import uvicorn
from uvicorn.server import ServerState
from websockets.frames import OP_TEXT, Frame, Opcode

from voiceedge.server.frames import FrameProtocol
from voiceedge.server.reading import ReadingProtocol

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MAX_SIZE = 400_000
"""Of a message."""


class Wire(asyncio.Transport):
    """What the protocol does to its socket."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.pauses = 0
        self.is_read = True
        self.is_closed = False
        self.protocol: Any = None

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        self.pauses += 1
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def is_closing(self) -> bool:
        return self.is_closed

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def close(self) -> None:
        self.is_closed = True


class Connection:
    """A protocol after its handshake, and the app behind it."""

    def __init__(self, kind: type[FrameProtocol] = ReadingProtocol) -> None:
        self.messages: list[Any] = []
        self.busy = asyncio.Event()
        self.busy.set()
        config = uvicorn.Config(
            self.app,
            ws_per_message_deflate=False,
            ws_max_size=MAX_SIZE,
            ws_ping_interval=None,
            log_config=None,
            lifespan="off",
            interface="asgi3",
        )
        self.wire = Wire()
        self.protocol = kind(config, ServerState(), {})
        self.protocol.connection_made(self.wire)

    async def app(self, _: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            self.messages.append(message.get("text") or message.get("bytes"))
            await self.busy.wait()

    async def take(self, *pieces: bytes) -> None:
        for piece in pieces:
            if not self.wire.is_closed:
                self.protocol.data_received(piece)
            await rest()

    async def close(self) -> None:
        self.busy.set()
        self.protocol.connection_lost(None)
        await rest()


async def rest() -> None:
    """Let the app run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def opened(kind: type[FrameProtocol] = ReadingProtocol) -> Connection:
    connection = Connection(kind)
    await connection.take(HANDSHAKE)
    return connection


def frame(data: str | bytes, opcode: Opcode = OP_TEXT, *, fin: bool = True, mask: bool = True) -> bytes:
    payload = data.encode() if isinstance(data, str) else data
    return Frame(opcode, payload, fin=fin).serialize(mask=mask)
