"""Small servers that answer as nodes do, at a distance that a planted clock makes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import chain, repeat

READY = {"status": "ready", "sessions": 1, "max_sessions": 8}
PARIS = {"name": "Paris", "latitude": 48.86, "longitude": 2.35}


@dataclass
class Wall:
    """A clock that only the far node moves."""

    seconds: float = 100.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class FarNode:
    """What it answers, by path: (status, body)."""

    answers: Mapping[str, tuple[int, object]]
    clock: Wall = field(default_factory=Wall)
    delays_s: Iterator[float] = field(default_factory=lambda: repeat(0.0))
    """One for each GET /healthz."""
    asked: list[str] = field(default_factory=list)
    connections: int = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split()[1].decode()
                self.asked.append(path)
                if path == "/healthz":
                    self.clock.seconds += next(self.delays_s)
                status, body = self.answers.get(path, (404, {"detail": "Not Found"}))
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def a_node(*delays_ms: float, ready: tuple[int, object] = (200, READY), about: object = None) -> FarNode:
    """A node that is so far away; further questions take as long as the last one."""
    answers = {"/healthz": (200, {"status": "ok"}), "/readyz": ready}
    if about is not None:
        answers["/v1/node"] = (200, about)
    delays = [delay / 1000 for delay in delays_ms or (0.0,)]
    return FarNode(answers, delays_s=chain(delays, repeat(delays[-1])))


@asynccontextmanager
async def listening(node: object, **options: object) -> AsyncIterator[int]:
    """Serve it on a port of loopback until the block is left."""
    server = await asyncio.start_server(node, "127.0.0.1", 0, **options)
    async with server:
        yield server.sockets[0].getsockname()[1]
