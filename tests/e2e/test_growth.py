"""Many turns, many calls: nothing slows down, grows or is left behind."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import sys
import threading
import time
from asyncio.subprocess import PIPE
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.asking import QUESTION
from tests.e2e.caller import calling
from tests.e2e.faults import settled
from tests.e2e.nodes import running_node
from tests.speech import RATE_HZ, utterance
from voiceedge.engines.fake import fake_engines

log = logging.getLogger(__name__)

SOAK = Path(__file__).resolve().parents[2] / "scripts" / "soak"
CYCLES, WARM_UP = 200, 100
MEBIBYTE = 1024 * 1024
MOST_GROWN_MIB = 16
"""80 KiB a call; the audio of one session takes 940. Less is noise: both event loops keep up to a hundred timers that
were cancelled, and with them sockets that are closed."""


@pytest.mark.models
async def test_a_long_conversation_neither_slows_down_nor_grows():
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, SOAK, "--turns", "12", "--context-tokens", "1024", "--max-ratio", "3"), stdout=PIPE
    )
    table, _ = await process.communicate()
    assert process.returncode == 0, table.decode()
    assert b"forgotten" in table


def resident_bytes() -> int:
    """What is in use: glibc keeps freed pieces, 4 to 14 MiB more of them after 200 calls, and no more after 2,000."""
    gc.collect()
    with suppress(AttributeError):  # musl has no such function
        ctypes.CDLL(None).malloc_trim(0)
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_two_hundred_calls_leave_nothing_behind(caplog: pytest.LogCaptureFixture):
    for noisy in ("voiceedge", "uvicorn"):
        caplog.set_level(logging.WARNING, logger=noisy)  # what pytest keeps of the log is no leak of the node's
    with running_node(fake_engines(slots=2), max_sessions=2) as node:
        threads = files = memory = 0
        for cycle in range(WARM_UP + CYCLES):
            if cycle == WARM_UP:
                await settled(node, sessions=0)
                threads, files, memory = threading.active_count(), descriptors(), resident_bytes()
            async with calling(node.url) as caller:
                await caller.append(utterance(QUESTION)[: 2 * RATE_HZ])
                await caller.send("response.create")
                await caller.until(("response.created", "response.output_audio.delta", "response.done")[cycle % 3])
                if cycle % 2:
                    caller.socket.transport.abort()
        await settled(node, sessions=0)
        assert threading.active_count() == threads
        deadline = time.monotonic() + 5.0
        while descriptors() > files:  # both ends close their sockets a moment after the session
            assert time.monotonic() < deadline, (files, descriptors())
            await asyncio.sleep(0.002)
        grown = (resident_bytes() - memory) / MEBIBYTE
        log.info("%d calls: %+.1f MiB", CYCLES, grown)
        assert grown < MOST_GROWN_MIB
