"""A disk that is full costs what would have been written to it, and nothing else."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.e2e.asking import asks, closed, is_answered
from tests.e2e.caller import calling
from tests.e2e.processes import listening

FULL = Path("/dev/full")
"""Every write to it fails with ENOSPC."""


@pytest.fixture
def full() -> Iterator[BinaryIO]:
    with FULL.open("wb") as file:
        yield file


async def test_a_node_whose_log_and_trace_file_cannot_be_written_answers_and_stops_as_before(full: BinaryIO):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "voiceedge.cli", "serve", "--engines", "fake", "--port", "0"),
        *("--trace-file", str(FULL), "--log-level", "debug"),
        stdout=PIPE,
        stderr=full,
    )
    async with asyncio.timeout(60):
        port = await listening(process, FULL)
        async with calling(f"ws://127.0.0.1:{port}/v1/realtime") as caller:
            for _ in range(3):
                await caller.send("response.create")
                assert (await caller.until("response.done"))["response"]["status"] == "completed"
        process.terminate()
        await process.communicate()
        assert process.returncode == 0


async def listener(port: int) -> None:
    """Wait until somebody listens: the node names its port a moment before."""
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return


async def test_a_full_disk_costs_trace_lines_only_and_sigterm_ends_the_process_well():
    flags = ("--engines", "fake", "--port", "0", "--trace-file", str(FULL))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "voiceedge.cli", "serve", *flags), stdout=PIPE, stderr=PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(20):
            while not (page := re.search(rb"http://[^:]+:(\d+)/", await process.stdout.readline())):
                assert process.returncode is None
            await listener(int(page[1]))
            async with calling(f"ws://127.0.0.1:{int(page[1])}/v1/realtime") as caller:
                for _ in range(2):
                    await asks(caller)
                    await is_answered(caller)
                await caller.send("response.create")
                await caller.until("response.created")
                process.send_signal(signal.SIGTERM)
                await is_answered(caller)
                assert await closed(caller) == 1001
            errors = await process.stderr.read()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
    assert errors.count(b"trace file cannot be written") == 1  # of three turns
    assert b"Traceback" not in errors
