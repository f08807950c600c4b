"""A datagram socket that plays systemd."""

import asyncio
import contextlib
import socket

import pytest

from voiceedge.config import Supervision
from voiceedge.server.supervisor import Supervisor


@pytest.fixture(params=["in the file system", "abstract"])
def systemd(request, tmp_path):
    """Its socket, and the address as NOTIFY_SOCKET has it."""
    shown = str(tmp_path / "notify") if request.param == "in the file system" else f"@voiceedge-test-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(shown.replace("@", "\0", 1))
        heard.settimeout(5)
        yield heard, shown


def test_it_hears_that_the_node_listens_and_that_it_stops(systemd):
    heard, address = systemd
    supervisor = Supervisor(Supervision(address))
    supervisor.ready()
    supervisor.stopping()
    assert heard.recv(4096) == b"READY=1"
    assert heard.recv(4096).splitlines()[0] == b"STOPPING=1"


async def test_it_hears_that_the_event_loop_turns_and_nothing_of_one_that_does_not(systemd):
    heard, address = systemd
    heard.setblocking(False)
    async with Supervisor(Supervision(address, watchdog_s=0.02)).watching():
        for _ in range(3):
            assert await asyncio.get_running_loop().sock_recv(heard, 4096) == b"WATCHDOG=1"
        with contextlib.suppress(BlockingIOError):
            while True:
                heard.recv(4096)
        heard.settimeout(0.1)
        with pytest.raises(TimeoutError):
            heard.recv(4096)  # holds the loop up
    heard.setblocking(False)
    with pytest.raises(BlockingIOError):
        heard.recv(4096)


async def test_where_nobody_asks_nothing_is_told_and_nothing_runs():
    supervisor = Supervisor(Supervision())
    supervisor.ready()
    async with supervisor.watching():
        assert len(asyncio.all_tasks()) == 1


def test_a_supervisor_that_is_gone_is_a_warning_and_no_end(tmp_path, caplog):
    Supervisor(Supervision(str(tmp_path / "gone"))).ready()
    assert "was not told READY=1" in caplog.text
