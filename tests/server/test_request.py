"""What a client may send, and how long it may take, before anybody knows who it is."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from tests.server.wire import HANDSHAKE, Wire, rest
from voiceedge.server import request
from voiceedge.server.reading import ReadingProtocol
from voiceedge.server.request import HEAD_BYTES, RequestProtocol

KIB = 1024
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = GET[:-2]
POST = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
SHORT = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"


class Client:
    """One connection, and the app behind it, which answers before it has read the request when it is `hasty`."""

    def __init__(self, *, is_hasty: bool = False) -> None:
        self.is_hasty = is_hasty
        self.bodies: list[bytes] = []
        self.finish = asyncio.Event()
        self.finish.set()
        config = uvicorn.Config(
            self.app,
            ws=ReadingProtocol,
            h11_max_incomplete_event_size=HEAD_BYTES,
            log_config=None,
            lifespan="off",
            interface="asgi3",
        )
        self.wire = Wire()
        self.protocol = RequestProtocol(config, ServerState(), {})
        self.wire.protocol = self.protocol
        self.protocol.connection_made(self.wire)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await self.finish.wait()
            return None
        body, is_all = b"", self.is_hasty
        while not is_all:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body, is_all = body + message["body"], not message["more_body"]
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"do", "more_body": True})
        await self.finish.wait()
        return await send({"type": "http.response.body", "body": b"ne"})

    async def take(self, *pieces: bytes) -> int:
        """How many bytes it takes before it gives up."""
        taken = 0
        for piece in pieces:
            if not self.wire.is_closed:
                self.wire.protocol.data_received(piece)
                taken += len(piece)
            await rest()
        return taken

    async def close(self) -> None:
        self.finish.set()
        self.wire.protocol.connection_lost(None)
        await rest()


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"GET /", b"a"),
        (HALF + b"Cookie: ", b"a"),
        (HALF, b"a:b\r\n"),
        (POST, b"0"),
        (POST + b"1;", b"a"),
        (POST + b"0\r\n", b"a:b\r\n"),
    ],
    ids=["target", "header", "headers", "chunk", "chunk's extension", "trailers"],
)
async def test_what_never_ends_is_refused_within_64_kib(begin: bytes, more: bytes):
    client = Client()
    packet = (more * KIB)[:KIB]
    assert await client.take(begin, *[packet] * 1000) < 64 * KIB
    assert client.wire.written.startswith(b"HTTP/1.1 400 ")
    await client.close()


@pytest.mark.parametrize("begin", [b"", GET], ids=["first", "behind another"])
async def test_a_packet_with_fifty_thousand_headers_is_not_read_to_its_end(begin: bytes):
    client = Client()
    client.finish.clear()
    await client.take(begin + HALF + b"a:b\r\n" * 50_000 + b"\r\n")
    assert client.wire.is_closed
    assert len(client.protocol.conn.trailing_data[0]) <= 2 * HEAD_BYTES
    assert len(client.bodies) == (1 if begin else 0)
    await client.close()


async def test_the_longest_key_and_a_long_body_in_one_packet_are_read():
    client = Client()
    body = b"b" * 64 * KIB
    key = b"Authorization: Bearer " + b"a" * 7 * KIB + b"\r\n"
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    await client.take(b"POST / HTTP/1.1\r\nHost: x\r\n" + key + length + body)
    assert client.bodies == [body]
    assert client.wire.written.endswith(b"done")
    await client.close()


@pytest.mark.parametrize(
    ("before", "half"),
    [([], []), ([], [HALF]), ([], [POST + b"5\r\nhal"]), ([GET], [HALF])],
    ids=["nothing", "head", "body", "second head"],
)
async def test_half_a_request_is_waited_for_no_longer_than_it_may_take(before: Any, half: Any, monkeypatch):
    monkeypatch.setattr(request, "REQUEST_S", 0.0)
    client = Client()
    await client.take(*before)
    assert not client.wire.is_closed
    await client.take(*half)
    await rest()
    assert client.wire.is_closed
    await client.close()


@pytest.mark.parametrize("sent", [[GET], [HALF, b"\r\n"], [SHORT + b"{}"]])
async def test_a_request_that_is_there_may_be_answered_for_as_long_as_it_takes(sent: list[bytes], monkeypatch):
    monkeypatch.setattr(request, "REQUEST_S", 0.0)
    client = Client()
    client.finish.clear()
    for piece in sent:
        client.protocol.data_received(piece)
    await rest()
    assert not client.wire.is_closed
    client.finish.set()
    await rest()
    assert client.wire.written.endswith(b"done")
    await client.close()


async def test_a_websocket_is_not_limited_by_what_a_request_may_take(monkeypatch):
    monkeypatch.setattr(request, "REQUEST_S", 0.0)
    client = Client()
    client.finish.clear()
    client.protocol.data_received(HANDSHAKE)
    await rest()
    assert isinstance(client.wire.protocol, ReadingProtocol)
    assert client.wire.written.startswith(b"HTTP/1.1 101 ")
    assert not client.wire.is_closed
    await client.close()


async def test_who_sends_a_lot_before_the_websocket_is_there_is_cut_off():
    client = Client()
    client.protocol.data_received(HANDSHAKE + b"x" * 50_000)
    assert client.wire.is_closed
    await client.close()


BROKEN = b"no chunk\r\n"


@pytest.mark.parametrize("is_hasty", [True, False])
@pytest.mark.parametrize("pieces", [[POST + BROKEN], [POST, BROKEN], [GET + b"\x00"], [POST + b"1\r\na\r\n" + BROKEN]])
async def test_a_request_that_is_broken_behind_its_head_is_no_error_of_the_node(pieces: Any, is_hasty: bool, caplog):
    client = Client(is_hasty=is_hasty)
    await client.take(*pieces)
    assert client.wire.is_closed
    await client.close()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


BOTH = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("is_hasty", [True, False])
@pytest.mark.parametrize("pieces", [[BOTH + b"0\r\n\r\n" + GET], [BOTH, b"0\r\n\r\n", GET]])
async def test_a_request_whose_end_can_be_read_in_two_ways_is_refused_with_what_is_behind_it(
    pieces: Any, is_hasty: bool
):
    """RFC 9112, 6.1: what a proxy takes for its body would be a request that the proxy has not seen."""
    client = Client(is_hasty=is_hasty)
    await client.take(*pieces)
    assert client.wire.written.startswith(b"HTTP/1.1 400 ")
    assert client.wire.written.count(b"HTTP/1.1") == 1
    assert client.wire.is_closed
    await client.close()


REST = [b"\r\n", b"{}", b"\x00", b"\xff" * 9, b"2\r\n{}\r\n", b"0\r\n\r\n", b"Content-Length: 3\r\n\r\n", b"a" * 20_000]
HEADERS = [b"Connection: close\r\n", b"Expect: 100-continue\r\n"]
PARTS = st.sampled_from([GET, HALF, POST, SHORT, HANDSHAKE, BROKEN, *REST, *HEADERS])


@given(st.lists(PARTS, min_size=1, max_size=6), st.lists(st.integers(0, 1000), max_size=4), st.booleans())
@settings(max_examples=100, deadline=None)
def test_whatever_is_sent_nothing_is_raised_and_little_is_held(parts: list[bytes], cuts: list[int], is_hasty: bool):
    data = b"".join(parts)
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})

    async def send() -> None:
        client = Client(is_hasty=is_hasty)
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        await client.take(*(data[begin:end] for begin, end in pairwise(at)))
        assert len(client.protocol.conn.trailing_data[0]) <= 2 * HEAD_BYTES
        await client.close()

    failures: list[Any] = []
    asyncio.run(send())
    assert failures == []
