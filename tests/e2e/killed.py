"""kill -9 in the middle of an answer, a restart on the same port, and the openai client, which reconnects by itself."""

from __future__ import annotations

import asyncio
import base64
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from openai import AsyncOpenAI

from tests.e2e.processes import Process
from voiceedge.trace import now

CHUNK_BYTES = 2 * 24_000 // 50  # 20 ms of pcm16 at 24 kHz
PATIENCE_S = 90.0

Start = Callable[[int], AbstractAsyncContextManager[Process]]
"""Starts a node on a port, 0 for a free one; it listens when the block begins."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a kill -9 cost. Seconds count from the kill; the node is started again at once."""

    ready_s: float
    """Until the node listened again."""
    ready_cpu_s: float
    """CPU time that this took: on a machine that has nothing else to do, the two differ little."""
    reconnected_s: float
    """Until the client had its new session."""
    answered_s: float
    """Until it heard the first of the answer to the question that it asked then: the question's own length included."""
    close_code: int
    """That the client saw."""
    attempts: int
    """Of the client to reconnect."""
    answer: str
    """The transcript of that answer."""


async def kill_in_mid_answer(start: Start, prompt: str, question: bytes) -> Recovery:
    """Let a client talk to a node, kill the node while it answers, start it again, and let the client ask again.

    Args:
        start: starts the node.
        prompt: asks for a long answer, in writing.
        question: what is said after the reconnection: pcm16 at 24 kHz, at the pace of a microphone.
    """
    tried: list[Any] = []
    async with asyncio.timeout(PATIENCE_S), start(0) as killed:
        client = AsyncOpenAI(base_url=f"{killed.http}/v1", api_key="any")
        options: Any = {"on_reconnecting": tried.append, "max_retries": 20, "initial_delay": 0.25, "max_delay": 1.0}
        async with client, client.realtime.connect(model="voiceedge", **options) as connection:
            events = aiter(connection)
            await _until(events, "session.created")
            content: Any = [{"type": "input_text", "text": prompt}]
            await connection.conversation.item.create(item={"type": "message", "role": "user", "content": content})
            await connection.response.create()
            await _until(events, "response.output_audio.delta")

            reconnecting = asyncio.create_task(_until(events, "session.created"))  # the client's own loop does it
            killed.send(signal.SIGKILL)
            begun = now()
            async with start(killed.port) as restarted:
                ready_s, ready_cpu_s = now() - begun, restarted.cpu_s()
                await reconnecting
                reconnected_s = now() - begun
                speaking = asyncio.create_task(_say(connection, question))
                await _until(events, "response.output_audio.delta")
                answered_s = now() - begun
                done = await _until(events, "response.done")
                await speaking
                answer = done.response.output[0].content[0].transcript
    return Recovery(ready_s, ready_cpu_s, reconnected_s, answered_s, tried[0].close_code, len(tried), answer)


async def _until(events: AsyncIterator[Any], kind: str) -> Any:
    """Read up to the next event of this type."""
    async for event in events:
        assert event.type != "error", event
        if event.type == kind:
            return event
    raise AssertionError(f"the connection ended before {kind}")


async def _say(connection: Any, pcm16: bytes) -> None:
    """Speak at the pace of a microphone."""
    begun = now()
    for number, begin in enumerate(range(0, len(pcm16), CHUNK_BYTES)):
        await asyncio.sleep(max(0.0, begun + number * 0.02 - now()))
        audio = base64.b64encode(pcm16[begin : begin + CHUNK_BYTES]).decode()
        await connection.input_audio_buffer.append(audio=audio)
