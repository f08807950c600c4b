"""HAProxy and Caddy, run with the configurations of deploy/ whose addresses are those of a test."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.certificates import self_signed
from tests.e2e.processes import ROOT, Process, answers

DEPLOY = ROOT / "deploy"
PLACES = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
START_S = 20.0
NODES = ("10.0.0.11:8080", "10.0.0.12:8080")
"""As deploy/ names them."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that serves TLS on loopback."""

    port: int
    trust: ssl.SSLContext

    @property
    def url(self) -> str:
        return f"wss://127.0.0.1:{self.port}/v1/realtime"


def program(name: str) -> str:
    """Where a proxy is; without one the test is left out, but not in CI, which installs it."""
    found = shutil.which(name, path=PLACES)
    if found is None:
        leave_out = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        leave_out(f"There is no {name}: scripts/neighbour {name} finds or installs it.")
    return str(found)


@asynccontextmanager
async def haproxy(folder: Path, *nodes: Process) -> AsyncIterator[Proxy]:
    """HAProxy in front of the two nodes."""
    certificate, key = self_signed(folder)
    both = folder / "voiceedge.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    port, plain = free_port(), free_port()
    changes = {
        "bind :80\n": f"bind 127.0.0.1:{plain}\n",
        "bind :443 ssl crt /etc/haproxy/voiceedge.pem": f"bind 127.0.0.1:{port} ssl crt {both}",
        "log /dev/log local0": "log stdout format raw local0",
        **_addresses(*nodes),
    }
    configuration = _changed("haproxy.cfg", changes, folder)
    async with _running(port, program("haproxy"), "-db", "-f", str(configuration), folder=folder):
        yield Proxy(port, ssl.create_default_context(cafile=certificate))


@asynccontextmanager
async def caddy(folder: Path, *nodes: Process) -> AsyncIterator[Proxy]:
    """Caddy in front of the two nodes, with a certificate that it need not fetch."""
    certificate, key = self_signed(folder)
    port = free_port()
    changes = {
        "\nvoice.example {\n": f"\nhttps://127.0.0.1:{port} {{\n\ttls {certificate} {key}\n",
        "{\n\tservers {": "{\n\tadmin off\n\tauto_https disable_redirects\n\tservers {",
        **_addresses(*nodes),
    }
    configuration = _changed("Caddyfile", changes, folder)
    command = ("run", "--adapter", "caddyfile", "--config", str(configuration))
    async with _running(port, program("caddy"), *command, folder=folder):
        yield Proxy(port, ssl.create_default_context(cafile=certificate))


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def _addresses(*nodes: Process) -> dict[str, str]:
    return {stated: f"127.0.0.1:{node.port}" for stated, node in zip(NODES, nodes, strict=True)}


def _changed(name: str, changes: dict[str, str], folder: Path) -> Path:
    text = (DEPLOY / name).read_text("utf-8")
    for stated, meant in changes.items():
        assert text.count(stated) == 1, f"{name} has no {stated!r}, or several"
        text = text.replace(stated, meant)
    path = folder / name
    path.write_text(text, "utf-8")
    return path


@asynccontextmanager
async def _running(port: int, *command: str, folder: Path) -> AsyncIterator[None]:
    """A proxy, until the block is left. It says what it has to say in a file."""
    with (folder / "proxy.log").open("wb") as log:
        homes = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log, env={**os.environ, **homes})
    try:
        async with asyncio.timeout(START_S):
            while not await answers(port):
                assert process.returncode is None, (folder / "proxy.log").read_text("utf-8")
                await asyncio.sleep(0.01)
        yield
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
