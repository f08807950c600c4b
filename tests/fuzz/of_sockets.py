"""What comes in at the port before anybody knows who it is: requests, and frames of a WebSocket."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from tests.fuzz.target import Bytes, Target
from tests.server.wire import HANDSHAKE, Wire, frame, opened, rest
from voiceedge.server.frames import FrameProtocol
from voiceedge.server.reading import ReadingProtocol
from voiceedge.server.request import HEAD_BYTES, RequestProtocol

_MOST_PIECES = 16
_TURNS = 10_000


class Unhandled(Exception):
    """Something that a loop would only have logged."""


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One for all inputs: to make one costs more than most inputs."""
    return asyncio.new_event_loop()


def _played(work: Any) -> Any:
    """Run a coroutine; whatever a task or a callback leaves unhandled counts as raised, and so does a task that stays.

    Raises:
        Unhandled: that.
    """
    loop, problems = _loop(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, context: problems.append(context))
    result = loop.run_until_complete(work)
    loop.run_until_complete(_settled())
    if problems:
        raise Unhandled(problems[0]["message"]) from problems[0].get("exception")
    if left := asyncio.all_tasks(loop):
        raise Unhandled(f"tasks are left: {[task.get_name() for task in left]}")
    return result


async def _settled() -> None:
    """Let go on whoever still has something to do: a connection hands over one message in a turn of the loop."""
    for _ in range(_TURNS):
        if len(asyncio.all_tasks()) == 1:
            break
        await asyncio.sleep(0)


def _pieces(data: bytes) -> list[bytes]:
    """Cut an input as its first two bytes say: how the network does it is nobody's choice."""
    choices, body = Bytes(data[:2]), data[2:]
    step = 1 + choices.below(256) * choices.one_of((0, 1, 16, 256))
    step = max(step, -(-len(body) // _MOST_PIECES))
    return [body[begin : begin + step] for begin in range(0, len(body), step)]


class _Client:
    """A connection to an app that answers every request, and takes every handshake."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        config = uvicorn.Config(
            self.app,
            ws=ReadingProtocol,
            ws_ping_interval=None,
            ws_per_message_deflate=False,
            ws_max_size=HEAD_BYTES,
            h11_max_incomplete_event_size=HEAD_BYTES,
            log_config=None,
            lifespan="off",
            interface="asgi3",
        )
        self.wire = Wire()
        self.wire.protocol = RequestProtocol(config, ServerState(), {})
        self.wire.protocol.connection_made(self.wire)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            while (await receive())["type"] == "websocket.receive":
                pass
            return
        assert scope["type"] == "http"
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def take(self, pieces: list[bytes]) -> bytes:
        for piece in pieces:
            if not self.wire.is_closed:
                self.wire.protocol.data_received(piece)
            await rest()
        self.wire.protocol.connection_lost(None)
        await rest()
        return self.wire.written


def request(data: bytes) -> None:
    """Any bytes as requests: what is answered is HTTP, once for each."""

    async def play() -> bytes:
        return await _Client().take(_pieces(data))

    answered = _played(play())
    assert not answered or answered.startswith(b"HTTP/1.1 ")


def frames(data: bytes) -> None:
    """Any bytes behind a handshake: the short way reads what the long way reads."""
    pieces = _pieces(data)

    async def read(kind: type[FrameProtocol]) -> tuple[Any, ...]:
        connection = await opened(kind)
        await connection.take(*pieces)
        found = (connection.messages, connection.wire.written, connection.wire.is_closed)
        await connection.close()
        return found

    short, long = _played(read(ReadingProtocol)), _played(read(FrameProtocol))
    assert short == long


def handshake(data: bytes) -> None:
    """Any headers in a handshake that is good without them."""
    head = HANDSHAKE.removesuffix(b"\r\n") + data[2:] + b"\r\n\r\n"

    async def play() -> bytes:
        return await _Client().take(_pieces(data[:2] + head))

    answered = _played(play())
    assert not answered or answered.startswith(b"HTTP/1.1 ")


_GET = b"GET /v1/realtime?model=x HTTP/1.1\r\nHost: x\r\n\r\n"
_POST = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\n"
_LENGTH = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi"
_FRAMES = frame('{"type": "x"}') + frame(b"p", 9) + frame("a", fin=False) + frame("b", 0) + frame(b"\x03\xe8", 8)
_HEADERS = b"Authorization: Bearer x\r\nSec-WebSocket-Protocol: realtime, openai-insecure-api-key.k\r\nOrigin: http://a"
_NAMES = (
    "Transfer-Encoding: chunked",
    "Content-Length: ",
    "Upgrade: websocket",
    "Connection: ",
    "Expect: 100-continue",
    "HTTP/1.1",
)
TARGETS = (
    Target(
        "request",
        request,
        (),
        tuple(b"\xff\x03" + head for head in (_GET, _POST, _LENGTH, _GET + _GET, HANDSHAKE)),
        _NAMES,
    ),
    Target(
        "handshake",
        handshake,
        (),
        (b"\xff\x03" + _HEADERS, b"\x20\x01Sec-WebSocket-Extensions: permessage-deflate"),
        _NAMES,
    ),
    Target(
        "frames",
        frames,
        (),
        (b"\xff\x03" + _FRAMES, b"\x05\x01" + _FRAMES, b"\xff\x03" + frame("x" * 200)),
        max_bytes=1024,
    ),
)
