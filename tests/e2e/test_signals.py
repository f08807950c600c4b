"""A node in a process of its own: what signals do, and what its supervisor hears."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.e2e.caller import Caller, calling
from tests.e2e.processes import FAKE, SLOW, Process, node, started
from tests.e2e.slow_node import STORY
from voiceedge.cli_serve import TERMINATED

BYTES_A_WORD = 2 * 24_000 * 3 // 10
STORY_BYTES = len(STORY.split()) * BYTES_A_WORD


async def close_code(caller: Caller) -> int | None:
    """Read to the end and return the close code."""
    with pytest.raises(ConnectionClosed) as closed:
        await caller.until("no event of this name: the socket is closed first")
    return closed.value.rcvd.code if closed.value.rcvd is not None else None


async def speaking(caller: Caller) -> None:
    await caller.send("response.create")
    await caller.until("response.output_audio.delta")


async def test_a_node_that_drains_says_so_first_lets_idle_ones_go_at_once_and_ends_with_its_last_answer():
    async with (
        node(*FAKE, "--drain-s", "120", module=SLOW) as slow,
        calling(slow.url) as caller,
        calling(slow.url) as idle,
    ):
        await speaking(caller)
        answered = asyncio.create_task(caller.until("response.done"))
        slow.send(signal.SIGTERM)
        assert await close_code(idle) == 1001
        assert not answered.done(), "the idle one did not wait for the answer of another"
        assert (await slow.get("/readyz"))[0] == 503
        assert (await slow.get("/healthz"))[0] == 200
        with pytest.raises(InvalidStatus) as refused:
            await connect(slow.url)
        response = refused.value.response
        assert (response.status_code, int(response.headers["Retry-After"]) > 0) == (503, True)
        assert json.loads(response.body)["error"]["message"]
        done = await answered
        assert done["response"]["status"] == "completed"
        assert len(caller.audio()) == STORY_BYTES
        assert await close_code(caller) == 1001
        assert await slow.ended() == 0  # long before the time to drain is over
        assert "Traceback" not in slow.log()


async def test_a_node_waits_no_longer_than_drain_s():
    async with node(*FAKE, "--drain-s", "0.2", module=SLOW) as slow, calling(slow.url) as caller:
        await speaking(caller)
        slow.send(signal.SIGTERM)
        assert await close_code(caller) == 1001
        assert await slow.ended() == 0
        assert len(caller.audio()) < STORY_BYTES
        assert "Traceback" not in slow.log()


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_does_not_wait_for_the_answer(first: signal.Signals):
    async with node(*FAKE, module=SLOW) as slow, calling(slow.url) as caller:
        await speaking(caller)
        slow.send(first)
        await until_draining(slow)
        slow.send(signal.SIGTERM)
        assert await slow.ended() == 0
        assert await close_code(caller) == 1012
        assert len(caller.audio()) < STORY_BYTES
        assert "Traceback" not in slow.log()


async def until_draining(process: Process) -> None:
    async with asyncio.timeout(10):
        while (await process.get("/readyz"))[0] == 200:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.005)


async def test_sigint_drains_as_sigterm_does():
    async with node(*FAKE, module=SLOW) as slow, calling(slow.url) as caller:
        await speaking(caller)
        slow.send(signal.SIGINT)
        await caller.until("response.done")
        assert await close_code(caller) == 1001
        assert await slow.ended() == 0


async def test_a_node_that_is_not_ready_yet_ends_at_once(tmp_path: Path):
    budget = tmp_path / "budget.toml"
    os.mkfifo(budget)  # the node waits there for somebody who writes, as it would for models that load
    async with started(*FAKE, "--port", "0", "--budget", str(budget)) as process:
        writer = await asyncio.to_thread(os.open, budget, os.O_WRONLY)  # the node has got there
        try:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):
                assert await process.wait() == TERMINATED
        finally:
            os.close(writer)


async def test_systemd_hears_when_it_listens_that_it_lives_and_when_it_stops(tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        loop = asyncio.get_running_loop()
        told: list[bytes] = []

        async def until(state: bytes) -> None:
            async with asyncio.timeout(30):
                while not told or told[-1] != state:
                    told.append((await loop.sock_recv(systemd, 4096)).splitlines()[0])

        variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"}
        async with started(*FAKE, "--port", "0", **variables) as process:
            await until(b"READY=1")
            assert set(told[:-1]) <= {b"WATCHDOG=1"}
            for _ in range(3):
                told.clear()
                await until(b"WATCHDOG=1")
            process.send_signal(signal.SIGTERM)
            await until(b"STOPPING=1")
            async with asyncio.timeout(20):
                assert await process.wait() == 0
