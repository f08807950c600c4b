import asyncio
import struct
import tracemalloc

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.frames import OP_CLOSE, OP_CONT, OP_PING, OP_PONG, Frame

from tests.e2e.nodes import running_node
from tests.server.wire import HANDSHAKE, Connection, frame, opened, rest
from voiceedge.engines.fake import fake_engines
from voiceedge.server import frames
from voiceedge.server.client_secrets import MAX_VALUE_BYTES, PREFIX


@pytest.fixture(scope="module")
def node():
    with running_node(fake_engines()) as node:
        yield node


async def status(node, subprotocols):
    with pytest.raises(InvalidStatus) as refused:
        await connect(node.url, subprotocols=subprotocols, open_timeout=10)
    return refused.value.response.status_code


async def test_a_header_that_nobody_reads_is_refused_and_not_left_waiting(node):
    assert await status(node, ["realtime", f"openai-insecure-api-key.{'a' * 9000}"]) == 431


async def test_the_longest_client_secret_is_read_beside_all_that_clients_offer_with_it(node):
    key = f"openai-insecure-api-key.{PREFIX}{'a' * (MAX_VALUE_BYTES - len(PREFIX))}"
    others = [f"openai-organization.org-{'o' * 200}", f"openai-project.proj_{'p' * 200}", "openai-agents-sdk.0.20.0"]
    assert await status(node, ["realtime", key, *others]) == 401  # read, and not good


async def test_a_refusal_is_no_error_of_the_node(node, caplog):
    assert await status(node, ["realtime", "openai-insecure-api-key.ek_forged"]) == 401
    async with connect(node.url) as socket, asyncio.timeout(10):
        await socket.recv()
    assert [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}] == []


@pytest.mark.parametrize(
    "handshake",
    [HANDSHAKE.replace(b"GET", b"POST"), HANDSHAKE.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n{}")],
)
async def test_a_handshake_by_post_or_with_a_body_is_a_bad_request(handshake):
    connection = Connection()
    await connection.take(handshake)
    assert connection.wire.written.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert connection.wire.is_closed
    await connection.close()


def pong(data):
    return Frame(OP_PONG, data).serialize(mask=False)


async def test_who_does_not_read_gets_no_pongs_until_he_reads_again_and_then_the_last_one():
    connection = await opened()
    connection.wire.written = b""
    connection.protocol.pause_writing()
    await connection.take(*[frame(b"ping", OP_PING) * 100] * 20, frame(b"one", OP_PING) + frame(b"last", OP_PING))
    assert connection.wire.written == b""
    connection.protocol.resume_writing()
    assert connection.wire.written == pong(b"last")
    await connection.take(frame(b"next", OP_PING))
    assert connection.wire.written == pong(b"last") + pong(b"next")
    await connection.close()


async def test_a_goodbye_is_answered_also_beside_a_ping_of_who_does_not_read():
    connection = await opened()
    connection.wire.written = b""
    connection.protocol.pause_writing()
    goodbye = struct.pack("!H", 1000)
    await connection.take(frame(b"ping", OP_PING) + frame(goodbye, OP_CLOSE))
    connection.protocol.resume_writing()
    assert connection.wire.written == Frame(OP_CLOSE, goodbye).serialize(mask=False)
    await connection.close()


async def test_who_has_just_said_goodbye_does_not_keep_the_node_from_stopping():
    connection = await opened()
    await connection.take(frame(struct.pack("!H", 1000), OP_CLOSE))
    connection.wire.written = b""
    connection.protocol.shutdown()  # with TLS the connection is there for a round trip more
    assert (connection.wire.written, connection.wire.is_closed) == (b"", True)
    await connection.close()


async def test_everybody_else_is_told_that_it_stops():
    connection = await opened()
    connection.wire.written = b""
    connection.protocol.shutdown()
    assert connection.wire.written == Frame(OP_CLOSE, struct.pack("!H", 1012)).serialize(mask=False)
    await connection.close()


@pytest.mark.parametrize("data", [b"", b"x"])
async def test_fragments_take_no_more_memory_than_what_they_hold(data, monkeypatch):
    monkeypatch.setattr(frames, "FRAMES_AHEAD", 30_000)
    connection = await opened()
    thousand = frame(data, OP_CONT, fin=False) * 1000
    await connection.take(frame("a", fin=False), thousand)
    tracemalloc.start()
    try:
        await connection.take(*[thousand] * 20)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 100_000
    await connection.take(frame("z", OP_CONT))
    assert connection.messages == ["a" + data.decode() * 21_000 + "z"]
    await connection.close()


NO_TEXT = frame(b"\xff")
NO_TEXT_IN_PIECES = frame("ä".encode()[:1], fin=False) + frame("a", OP_CONT)


@pytest.mark.parametrize("sent", [NO_TEXT, NO_TEXT_IN_PIECES], ids=["whole", "in pieces"])
async def test_text_that_is_none_is_closed_with_1007_and_no_error_of_the_node(sent, caplog):
    connection = await opened()
    connection.wire.written = b""
    await connection.take(sent + frame("more"))
    assert connection.wire.written == Frame(OP_CLOSE, struct.pack("!H", 1007)).serialize(mask=False)
    assert (connection.wire.is_closed, connection.messages) == (True, [])
    await connection.close()
    assert caplog.text == ""


async def test_a_goodbye_behind_text_that_is_none_ends_the_connection(caplog):
    connection = await opened()
    await connection.take(NO_TEXT + frame(struct.pack("!H", 1000), OP_CLOSE))
    assert (connection.wire.is_closed, connection.messages) == (True, [])
    await connection.close()
    assert caplog.text == ""


@pytest.mark.parametrize("sent", [NO_TEXT, frame("unmasked", mask=False)], ids=["no text", "no mask"])
async def test_what_breaks_a_rule_before_the_handshake_is_over_ends_the_connection(sent, caplog):
    connection = Connection()
    connection.protocol.data_received(HANDSHAKE)
    connection.protocol.data_received(sent)
    await rest()
    assert connection.wire.is_closed
    await connection.close()
    assert [record for record in caplog.records if record.levelname != "INFO"] == []
