"""Nodes in processes of their own: for signals, for kill -9, and for being one of two."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
import urllib.error
import urllib.request
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0
"""With models, on a machine that has other things to do."""
FAKE = ("--engines", "fake")
FAST, SLOW = "voiceedge.cli", "tests.e2e.slow_node"
"""What is run: the command line, or the same with an LLM that takes its time (`tests/e2e/slow_node`)."""


class Process:
    """A node that listens."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self._log = log

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/realtime"

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self, within_s: float = 20.0) -> int:
        """Wait for the end and return the exit code."""
        async with asyncio.timeout(within_s):
            return await self.process.wait()

    def cpu_s(self) -> float:
        """Seconds of CPU time that it has used so far; Linux only."""
        user, system = Path(f"/proc/{self.process.pid}/stat").read_text("ascii").rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def log(self) -> str:
        """All that it has written so far, but for the start-up lines."""
        return self._log.read_text("utf-8")

    async def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        return await asyncio.to_thread(_get, f"{self.http}{path}")


def _get(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@asynccontextmanager
async def started(
    *flags: str, module: str = FAST, log: Path = Path(os.devnull), **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that serves, or will; it does not outlive the block."""
    command = (sys.executable, "-m", module, "serve", *flags)
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=PIPE, stderr=errors, cwd=ROOT, env={**os.environ, **environment}
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def node(*flags: str, module: str = FAST, port: int = 0, **environment: str) -> AsyncIterator[Process]:
    """A node that listens, on a free port unless one is asked for."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.txt"
        async with started(*flags, "--port", str(port), module=module, log=log, **environment) as process:
            try:
                yield Process(process, await listening(process, log), log)
            except Exception as error:
                error.add_note(f"The log of the node (exit code {process.returncode}):\n{log.read_text('utf-8')}")
                raise


async def listening(process: asyncio.subprocess.Process, log: Path) -> int:
    """Wait until a node that starts answers, and return its port."""
    assert process.stdout is not None
    async with asyncio.timeout(START_S):
        while not (found := re.search(rb"page\s+https?://[^:]+:(\d+)/", line := await process.stdout.readline())):
            assert line, log.read_text("utf-8")  # noqa: ASYNC240 - the test is over
        port = int(found[1])
        while not await answers(port):  # noqa: ASYNC110 - it names its port a moment before
            await asyncio.sleep(0.005)
    return port


async def answers(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True
