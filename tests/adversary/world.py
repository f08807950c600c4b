"""A node, honest people who talk to it, and what Linux says of their processes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import urllib.request
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.adversary.attack import Kind
from tests.adversary.credentials import Credentials
from tests.adversary.wire import trusting
from tests.certificates import self_signed

ROOT = Path(__file__).resolve().parents[2]
DELAYS = "fake:stt+30,llm+120,tts+40"
"""Turns look as with real models; the machine is busy with what is attacked, and not with models."""
MAX_SESSIONS = 12
START_S, END_S = 60.0, 20.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Turn:
    """One turn of an honest session."""

    at: float
    """When the user had spoken, on the monotonic clock."""
    ms: float | None
    """Voice to voice; None where no answer was heard."""
    trip_ms: float | None = None
    """WebSocket round trip around then."""
    late_ms: float = 0.0
    """How late its microphone was: what the machine, and not the node, was too busy for."""
    problems: tuple[str, ...] = ()


class Running:
    """A process of ours."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._folder = Path("/proc") / str(process.pid)

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.process.returncode is None

    def cpu_s(self) -> float:
        """CPU time that it has used."""
        fields = (self._folder / "stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident_mb(self) -> float:
        """Memory that it holds."""
        found = re.search(r"VmRSS:\s+(\d+)", (self._folder / "status").read_text("ascii"))
        return int(found[1]) / 1000 if found else 0.0

    def files(self) -> int:
        """Descriptors that it has open."""
        return len(list((self._folder / "fd").iterdir()))


class Served(Running):
    """The node."""

    def __init__(self, process: Process, port: int, log: Path, *, is_secure: bool) -> None:
        super().__init__(process)
        self.port = port
        self._log = log
        self.is_secure = is_secure

    @property
    def url(self) -> str:
        """Where conversations are."""
        return f"{'wss' if self.is_secure else 'ws'}://localhost:{self.port}"

    async def steps(self) -> int:
        """Steps that its engines have taken."""
        return await asyncio.to_thread(self._steps)

    def errors(self) -> int:
        """Lines of its log that speak of an error of its own."""
        return len(re.findall(rb"^(?:\S+ \S+ ERROR|Traceback)", self._log.read_bytes(), re.MULTILINE))

    def _steps(self) -> int:
        scheme, context = ("https", trusting()) if self.is_secure else ("http", None)
        with urllib.request.urlopen(f"{scheme}://localhost:{self.port}/metrics", timeout=10, context=context) as answer:
            text = answer.read().decode()
        return round(
            sum(float(count) for count in re.findall(r"^voiceedge_step_rows_total{.*} (\S+)", text, re.MULTILINE))
        )


class Honest(Running):
    """The honest sessions."""

    def __init__(self, process: Process) -> None:
        super().__init__(process)
        self.turns: list[Turn] = []
        self.lost: list[tuple[float, str]] = []
        """When one was refused or cut off, and why."""

    async def listen(self) -> None:
        """Take note of their turns until they end."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            said: dict[str, Any] = json.loads(line)
            if "lost" in said:
                self.lost.append((said["at"], said["lost"]))
            else:
                self.turns.append(
                    Turn(said["at"], said["ms"], said["trip_ms"], said["late_ms"], tuple(said["problems"]))
                )

    async def have_talked(self, turns: int) -> None:
        """Wait until there were so many turns."""
        async with asyncio.timeout(START_S):
            while len(self.turns) < turns:  # noqa: ASYNC110 - told by another process
                await asyncio.sleep(0.05)

    def between(self, begin: float, end: float) -> list[Turn]:
        """Turns whose user had spoken then."""
        return [turn for turn in self.turns if begin <= turn.at < end]


@dataclass
class World:
    """A node, and the file of its keys."""

    node: Served
    credentials_file: Path


@asynccontextmanager
async def world(kind: Kind, folder: Path) -> AsyncIterator[World]:
    """Start a node; end it, and the honest sessions if there are any, when the block is left."""
    credentials = Credentials.make()
    credentials.save(folder / "credentials.json")
    settings: dict[str, Any] = {} if kind == "open" else credentials.settings(folder)
    if kind == "tls":
        settings["tls_certificate"], settings["tls_key"] = self_signed(folder)
    async with _node(settings, folder / "node.log", is_secure=kind == "tls") as node:
        yield World(node, folder / "credentials.json")


@asynccontextmanager
async def _node(settings: dict[str, Any], log: Path, *, is_secure: bool) -> AsyncIterator[Served]:
    flags = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    serve = ("-m", "voiceedge.cli", "serve", "--engines", DELAYS, "--port", "0", "--max-sessions", str(MAX_SESSIONS))
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *serve, *flags), stdout=PIPE, stderr=errors, cwd=ROOT
        )
        async with _ended(process):
            assert process.stdout is not None
            async with asyncio.timeout(START_S):
                while not (page := re.search(rb"https?://[^:]+:(\d+)/", await process.stdout.readline())):
                    if process.returncode is not None:
                        raise RuntimeError(f"the node did not start: see {log}")
            drained = asyncio.create_task(process.stdout.read())  # else the node waits for who reads
            try:
                node = Served(process, int(page[1]), log, is_secure=is_secure)
                await _listens(node)
                yield node
            finally:
                drained.cancel()


async def _listens(node: Served) -> None:
    """Wait until somebody listens: the port is named a moment before."""
    async with asyncio.timeout(START_S):
        while True:
            with suppress(OSError):
                await node.steps()
                return
            await asyncio.sleep(0.05)


@asynccontextmanager
async def talking(around: World, sessions: int) -> AsyncIterator[Honest]:
    """Honest sessions, until the block is left."""
    key = Credentials.load(around.credentials_file).honest_key
    certificate = around.credentials_file.parent / "node.pem"
    trusts = {"SSL_CERT_FILE": str(certificate)} if around.node.is_secure else {}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.adversary.honest", around.node.url, key, "--sessions", str(sessions)),
        stdout=PIPE,
        cwd=ROOT,
        env={**os.environ, **trusts},
    )
    async with _ended(process):
        honest = Honest(process)
        listening = asyncio.create_task(honest.listen(), name="honest")
        try:
            yield honest
        finally:
            listening.cancel()


@asynccontextmanager
async def attacker(around: World, name: str, seconds: float, share: float | None, flood: int) -> AsyncIterator[Running]:
    """An attacker's process that is ready to begin."""
    command = [sys.executable, "-m", "tests.adversary.attacker", name, "--port", str(around.node.port)]
    command += ["--credentials", str(around.credentials_file), "--seconds", str(seconds), "--flood", str(flood)]
    command += [] if share is None else ["--share", str(share)]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, cwd=ROOT)
    async with _ended(process):
        assert process.stdout is not None
        async with asyncio.timeout(START_S):
            assert await process.stdout.readline() == b"ready\n"
        yield Running(process)


async def attack(running: Running) -> dict[str, Any]:
    """Let an attacker begin, and wait for what came of it."""
    process = running.process
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"\n")
    await process.stdin.drain()
    outcome: dict[str, Any] = json.loads(
        await process.stdout.readline() or b'{"answers": {}, "seconds": 0, "cpu_s": 0}'
    )
    return outcome


@asynccontextmanager
async def _ended(process: Process) -> AsyncIterator[None]:
    """End a process with the block."""
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(END_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


def idle_s() -> float:
    """Seconds that the cores of this machine have been idle, all together."""
    fields = Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()
    return (int(fields[4]) + int(fields[5])) / _TICKS
