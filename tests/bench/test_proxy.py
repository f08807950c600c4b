import asyncio
import contextlib
import statistics

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from tests.bench.scripted_node import ScriptedNode, options
from voiceedge.bench import NodeUnreachable, run_bench
from voiceedge.bench.proxy import MAX_BYTES, far_away

PATIENCE_S = 20.0


@contextlib.asynccontextmanager
async def serving(handle):
    """A server on a free port; waits until everyone it has served is gone."""
    served = []

    async def serve_one(reader, writer):
        gone = asyncio.Event()
        served.append(gone)
        with contextlib.suppress(ConnectionError):
            await handle(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        gone.set()

    async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        for gone in served:
            await gone.wait()


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def test_everything_arrives_in_order_a_round_trip_later():
    loop = asyncio.get_running_loop()
    async with serving(echo) as port, far_away("127.0.0.1", port, 0.05) as near, asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection(sock=near)
        begun = loop.time()
        writer.write(b"0123")
        assert await reader.readexactly(4) == b"0123"
        assert loop.time() - begun >= 0.099  # TCP's handshake, and the way there and back
        begun = loop.time()
        for number in range(1000):
            writer.write(b"%4d" % number)
            if number % 100 == 0:
                await asyncio.sleep(0)
        first = await reader.readexactly(4)
        assert loop.time() - begun >= 0.05
        assert first + await reader.readexactly(3996) == b"".join(b"%4d" % number for number in range(1000))
        writer.close()


async def test_a_websockets_ping_takes_what_was_asked_for_and_little_more():
    async with serve(lambda socket: socket.wait_closed(), "127.0.0.1", 0) as server, asyncio.timeout(PATIENCE_S):
        port = server.sockets[0].getsockname()[1]
        async with far_away("127.0.0.1", port, 0.03) as near, connect(f"ws://127.0.0.1:{port}", sock=near) as socket:
            trips = [await (await socket.ping()) for _ in range(9)]
    assert min(trips) >= 0.03
    assert statistics.median(trips) < 0.04


async def test_who_does_not_read_makes_the_sender_wait():
    sent = 0

    async def flood(_, writer):
        nonlocal sent
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with serving(flood) as port, far_away("127.0.0.1", port, 0.001) as near, asyncio.timeout(PATIENCE_S):
        near.setblocking(False)
        before = -1
        while sent != before:  # until the way is full
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 12 * MAX_BYTES  # ours, and the buffers that the system has for three sockets
        reader, writer = await asyncio.open_connection(sock=near)
        await reader.readexactly(before + MAX_BYTES)  # and it goes on
        writer.close()


async def test_the_end_of_a_connection_comes_through():
    async def goodbye(_, writer):
        writer.write(b"bye")

    async with serving(goodbye) as port, far_away("127.0.0.1", port, 0.01) as near, asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection(sock=near)
        assert await reader.read() == b"bye"
        writer.close()


async def test_a_conversation_can_be_held_through_it(recordings):
    async with ScriptedNode().up() as node:
        report = await run_bench(options(node, recordings, via_rtt_ms=20.0))
    assert [row.problems for row in report.turns] == [(), ()]
    assert report.environment["round_trip_ms"] >= 20.0
    assert all(row.network_ms >= 20.0 for row in report.turns)


async def test_nobody_at_the_other_end_is_said_as_without_it(recordings):
    async with ScriptedNode().up() as node:
        pass
    with pytest.raises(NodeUnreachable, match=r"no node answers at .*: Connection refused"):
        await run_bench(options(node, recordings, via_rtt_ms=20.0))
