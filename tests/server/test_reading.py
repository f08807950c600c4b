"""However the bytes come, the same messages are read from them."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState
from websockets.frames import OP_BINARY, OP_CONT, OP_PING, OP_TEXT, Frame, Opcode

from voiceedge.server.handshake import HandshakeProtocol
from voiceedge.server.reading import ReadingProtocol

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
LONGEST = 200_000
"""Its length takes 8 bytes."""


class Wire(asyncio.Transport):
    """What the protocol does to its socket."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.pauses = 0
        self.is_read = True
        self.is_closed = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        self.pauses += 1
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


class Connection:
    """A protocol after its handshake, and the app behind it."""

    def __init__(self, kind: type[HandshakeProtocol] = ReadingProtocol) -> None:
        self.messages: list[Any] = []
        self.busy = asyncio.Event()
        self.busy.set()
        config = uvicorn.Config(
            self.app,
            ws_per_message_deflate=False,
            ws_max_size=2 * LONGEST,
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


async def opened(kind: type[HandshakeProtocol] = ReadingProtocol) -> Connection:
    connection = Connection(kind)
    await connection.take(HANDSHAKE)
    return connection


def frame(data: str | bytes, opcode: Opcode = OP_TEXT, *, fin: bool = True, mask: bool = True) -> bytes:
    payload = data.encode() if isinstance(data, str) else data
    return Frame(opcode, payload, fin=fin).serialize(mask=mask)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[begin:end] for begin, end in pairwise(at)]


@pytest.mark.parametrize("length", [1, 125, 126, 65_535, 65_536, LONGEST])
async def test_a_text_of_any_length_is_read(length: int):
    connection = await opened()
    text = "ä" + "x" * (length - 2) if length > 1 else "x"
    await connection.take(frame(text), frame("next"))
    assert connection.messages == [text, "next"]
    await connection.close()


FRAMES = st.one_of(
    st.text(min_size=1, max_size=200).map(frame),
    st.text(min_size=1, max_size=200).map(lambda text: frame(text, fin=False) + frame(text, OP_CONT)),
    st.binary(min_size=1, max_size=200).map(lambda data: frame(data, OP_BINARY)),
    st.just(frame("never ended", fin=False)),
    st.just(frame(b"ping", OP_PING)),
    st.just(frame("unmasked", mask=False)),
    st.just(frame("ab", mask=False) + frame(b"xy", OP_PING, mask=False)),  # as long as if it were masked
    st.just(frame(b"\xff\xfe")),
)


@given(st.lists(FRAMES, max_size=6), st.lists(st.integers(0, 2000), max_size=5), st.booleans())
@settings(max_examples=60)
def test_it_reads_what_the_long_way_reads(frames: list[bytes], cuts: list[int], whole: bool):
    pieces = frames if whole else pieces_of(b"".join(frames), cuts)

    async def read(kind: type[HandshakeProtocol]) -> tuple[Any, ...]:
        connection = await opened(kind)
        await connection.take(*pieces)
        found = (connection.messages, connection.wire.written, connection.wire.is_closed)
        await connection.close()
        return found

    assert asyncio.run(read(ReadingProtocol)) == asyncio.run(read(HandshakeProtocol))


async def test_what_looks_like_a_message_inside_of_another_one_is_none():
    inner = frame("inner")
    outer = bytes([0x80 | OP_BINARY, 0x80 | (4 + len(inner)), 0, 0, 0, 0]) + b"data" + inner  # a mask of zeros
    connection = await opened()
    await connection.take(outer[: -len(inner)], inner, frame("next"))
    assert connection.messages == [b"data" + inner, "next"]
    await connection.close()


async def test_a_socket_whose_session_waits_is_read_on_without_a_stop():
    connection = await opened()
    for _ in range(5):
        await connection.take(frame("audio"))
    assert len(connection.messages) == 5
    assert connection.wire.pauses == 0
    await connection.close()


async def test_a_socket_whose_session_is_busy_is_read_no_further():
    connection = await opened()
    connection.busy.clear()
    await connection.take(frame("first"))
    assert connection.wire.is_read
    await connection.take(frame("second"))
    assert not connection.wire.is_read
    connection.busy.set()
    await rest()
    assert connection.messages == ["first", "second"]
    assert connection.wire.is_read
    await connection.close()
