"""A real Redis on a free port of loopback, for tests of limits that nodes share; skips where there is none."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAM = shutil.which("redis-server")
needs_redis = pytest.mark.skipif(
    PROGRAM is None, reason="there is no redis-server: scripts/neighbour redis-server finds or installs it"
)


@dataclass(frozen=True, slots=True)
class RunningRedis:
    store: str
    """As `limits_store`."""
    process: subprocess.Popen[str]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It takes connections, and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def running_redis(folder: Path, port: int = 0) -> Iterator[RunningRedis]:
    """Run one that keeps nothing until the block is left. With a port, where one was before."""
    assert PROGRAM is not None
    port = port or free_port()
    options = {"port": port, "bind": "127.0.0.1", "save": "", "appendonly": "no", "dir": folder}
    arguments = [PROGRAM, *(part for name, value in options.items() for part in (f"--{name}", str(value)))]
    server = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        for line in server.stdout:
            if "Ready to accept connections" in line:
                break
        assert server.poll() is None, "redis-server did not start"
        yield RunningRedis(f"redis://127.0.0.1:{port}/0", server)
    finally:
        server.terminate()
        server.communicate(timeout=10)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
