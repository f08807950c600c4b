"""A disk that is full costs what would have been written to it, and nothing else."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

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
        stdout=asyncio.subprocess.PIPE,
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
