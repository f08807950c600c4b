"""Connections that do not get on with their TLS handshake make room for who comes after."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from contextlib import asynccontextmanager

import pytest

from tests.certificates import self_signed
from voiceedge.server import doorstep, knocking
from voiceedge.server.doorstep import Doorstep
from voiceedge.server.knocking import Knocking

uvloop = pytest.importorskip("uvloop")
LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


class Echo(asyncio.Protocol):
    """Says what it hears."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Listening:
    """A doorstep on a port of its own."""

    def __init__(self, folder, handshake_s=20.0):
        certificate, key = self_signed(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.trusting = ssl.create_default_context(cafile=certificate)
        self.knocking = Knocking()
        self.bound = socket.socket()
        self.bound.bind(("127.0.0.1", 0))
        self.port = self.bound.getsockname()[1]
        self.doorstep = Doorstep(self.bound, context, self.knocking, Echo, handshake_s=handshake_s, farewell_s=1.0)
        self.doorstep.open(128)

    async def echoes(self):
        """Whether somebody who comes is served."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.trusting, server_hostname="localhost"
        )
        writer.write(b"hello")
        answer = await reader.readexactly(5)
        writer.transport.abort()
        return answer == b"hello"

    async def idle(self, count):
        return [await asyncio.open_connection("127.0.0.1", self.port) for _ in range(count)]


@asynccontextmanager
async def listening(folder, **settings):
    one = Listening(folder, **settings)
    try:
        async with asyncio.timeout(20):
            yield one
    finally:
        one.doorstep.close()
        await one.doorstep.wait_closed()
        assert len(one.knocking) == 0


def run(loop, promise):
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(promise)


@LOOPS
def test_whoever_shakes_hands_is_handed_over_however_many_come_at_once(tmp_path, loop):
    async def promise():
        async with listening(tmp_path) as here:
            assert all(await asyncio.gather(*(here.echoes() for _ in range(60))))
            assert len(here.knocking) == 0

    run(loop, promise())


@LOOPS
def test_the_oldest_that_waits_is_closed_and_who_comes_is_served(tmp_path, loop, monkeypatch):
    monkeypatch.setattr(knocking, "OF_ONE", 5)

    async def promise():
        async with listening(tmp_path) as here:
            waiting = await here.idle(12)
            assert await here.echoes()
            for reader, _ in waiting[:7]:
                assert await reader.read() == b""
            assert len(here.knocking) <= 5
            for _, writer in waiting:
                writer.transport.abort()

    run(loop, promise())


@LOOPS
def test_who_takes_too_long_or_speaks_no_tls_is_given_up(tmp_path, loop):
    async def promise():
        async with listening(tmp_path, handshake_s=0.05) as here:
            (reader, writer), (other, loud) = await here.idle(2)
            loud.write(b"GET / HTTP/1.1\r\n\r\n")
            assert await reader.read() == b""
            await other.read()
            for one in (writer, loud):
                one.transport.abort()

    run(loop, promise())


async def test_without_a_descriptor_it_waits_for_one(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(doorstep, "FULL_S", 0.0)
    accept, failures = socket.socket.accept, []

    def full(bound):
        if len(failures) < 2:
            failures.append(bound)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return accept(bound)

    async with listening(tmp_path) as here:
        monkeypatch.setattr(socket.socket, "accept", full)
        assert await here.echoes()
    assert "Too many open files" in caplog.text


async def test_those_that_are_not_through_are_given_up_when_it_closes(tmp_path):
    async with listening(tmp_path) as here:
        ((reader, writer),) = await here.idle(1)
        while not len(here.knocking):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        here.doorstep.close()
        assert await reader.read() == b""
        writer.transport.abort()
