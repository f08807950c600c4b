"""Clients that do not read what they asked for: they are cut off, and nobody waits for them."""

from __future__ import annotations

import asyncio
import time

import pytest
from websockets.exceptions import ConnectionClosed

from tests.e2e.asking import asks, closed, is_answered
from tests.e2e.caller import Caller, calling
from tests.e2e.faults import settled
from tests.e2e.nodes import running_node
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.fake_llm import FakeLlm
from voiceedge.server import socket as server_socket
from voiceedge.session import outbox

BIG = "word " * 100_000


async def stall(caller: Caller) -> None:
    """Ask for far more than the system's buffers hold, and read nothing of it."""
    item = {"id": "big", "type": "message", "role": "user", "content": [{"type": "input_text", "text": BIG}]}
    caller.socket.transport.pause_reading()
    await caller.send("conversation.item.create", item=item)
    for _ in range(60):
        await caller.send("conversation.item.retrieve", item_id="big")


async def until_slots(llm: FakeLlm, free: int) -> None:
    """Wait until the sessions that have failed have given their slots back."""
    deadline = time.monotonic() + 5.0
    while llm.free_slots != free:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


async def test_a_reader_that_stalls_is_cut_off_with_1008_and_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outbox, "STALL_S", 0.2)
    engines = fake_engines(slots=2)
    assert isinstance(engines.llm, FakeLlm)
    with running_node(engines, max_sessions=2) as node:
        async with calling(node.url) as neighbour:
            async with calling(node.url) as caller:
                await stall(caller)
                await asks(neighbour)
                await is_answered(neighbour)
                await until_slots(engines.llm, 1)
                caller.socket.transport.resume_reading()
                assert await closed(caller) == 1008
            await settled(node, sessions=1)


async def test_a_reader_that_never_reads_again_does_not_keep_its_place(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outbox, "STALL_S", 0.2)
    monkeypatch.setattr(server_socket, "CLOSE_S", 0.1)
    with running_node(fake_engines(slots=2), max_sessions=2) as node:
        async with calling(node.url), calling(node.url) as caller:
            await stall(caller)
            await settled(node, sessions=1)
            async with calling(node.url) as next_one:
                await asks(next_one)
                await is_answered(next_one)
            caller.socket.transport.abort()


async def test_more_events_than_may_wait_are_a_reason_in_words(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outbox, "MAX_EVENTS", 30)
    with running_node(fake_engines(slots=1, answer="word " * 200)) as node:
        async with calling(node.url) as caller:
            await stall(caller)
            caller.socket.transport.resume_reading()
            with pytest.raises(ConnectionClosed) as end:
                await caller.until("no event of this name: the socket is closed first")
    assert end.value.rcvd is not None
    assert (end.value.rcvd.code, end.value.rcvd.reason) == (1008, "30 events wait to be read.")


async def test_a_node_that_stops_does_not_wait_for_who_does_not_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server_socket, "GOODBYE_S", 0.1)
    with running_node(fake_engines(slots=2), drain_s=0.1) as node:
        node.server.config.timeout_graceful_shutdown = 1
        async with calling(node.url) as caller, calling(node.url) as neighbour:
            await stall(caller)
            node.stop()
            assert await closed(neighbour) == 1001
            caller.socket.transport.abort()
