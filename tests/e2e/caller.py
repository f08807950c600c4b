"""A client for tests: a raw socket whose every received event is checked against openai's own types."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.protocol.oracle import validate

CHUNK_BYTES = 2 * 24_000 // 50  # 20 ms of pcm16 at 24 kHz
PATIENCE_S = 20.0
OWN = "voiceedge."


class Caller:
    """Sends client events and reads what comes back."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.seen: list[dict[str, Any]] = []

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def update(self, **session: Any) -> dict[str, Any]:
        await self.send("session.update", session={"type": "realtime", **session})
        return await self.until("session.updated")

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            text = await self.socket.recv()
        event = json.loads(text)
        if not event["type"].startswith(OWN):
            validate(text)
        self.seen.append(event)
        return event

    async def until(self, kind: str) -> dict[str, Any]:
        """Read up to the next event of this type."""
        while True:
            event = await self.next()
            if event["type"] == kind:
                return event
            assert event["type"] != "error" or kind == "error", event

    async def hear(self, pcm16: bytes) -> None:
        """Append audio as fast as the socket takes it."""
        for begin in range(0, len(pcm16), CHUNK_BYTES):
            await self.append(pcm16[begin : begin + CHUNK_BYTES])

    async def hear_in_real_time(self, pcm16: bytes) -> None:
        """Append audio as a microphone would."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for number, begin in enumerate(range(0, len(pcm16), CHUNK_BYTES)):
            await asyncio.sleep(max(0.0, begun + number * 0.02 - loop.time()))
            await self.append(pcm16[begin : begin + CHUNK_BYTES])

    async def append(self, pcm16: bytes) -> None:
        await self.send("input_audio_buffer.append", audio=base64.b64encode(pcm16).decode())

    def types(self) -> list[str]:
        """The types of what was read, with runs of the same type as one."""
        kinds = [event["type"] for event in self.seen]
        return [kind for index, kind in enumerate(kinds) if index == 0 or kinds[index - 1] != kind]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.seen if event["type"] == kind]

    def audio(self) -> bytes:
        """All audio that was answered."""
        return b"".join(base64.b64decode(event["delta"]) for event in self.of("response.output_audio.delta"))


@asynccontextmanager
async def calling(url: str, **options: Any) -> AsyncIterator[Caller]:
    """Connect and take the greeting."""
    options = {"compression": None, "max_size": None, "max_queue": None, **options}
    async with connect(f"{url}?model=voiceedge&trace=1", **options) as socket:
        caller = Caller(socket)
        await caller.until("session.created")
        yield caller
