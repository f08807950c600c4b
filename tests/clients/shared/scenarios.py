"""What the clients' scripts share: arguments, a microphone that never stops, and results as JSON lines.

Runs in each client's own environment, so it needs the standard library only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
import traceback
import wave
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

RATE_HZ = 24_000
CHUNK_S = 0.02
SCENARIO_S = 45.0
"""A scenario is 1 to 15 s of talk; what takes this long hangs."""
STORYTELLER = "You are a storyteller. Tell long stories of at least ten sentences."
"""Instructions whose answers are long enough to be interrupted."""
ATLAS = "You look up capitals in the atlas: call the function capital for every country. It knows better than you."
"""Instructions that make a model call `TOOL`."""
TOOL = {
    "name": "capital",
    "description": "Looks up the capital of a country in the atlas.",
    "parameters": {"type": "object", "properties": {"country": {"type": "string"}}, "required": ["country"]},
}
"""A function; the fake node calls it when its name is heard, and it is in the first question."""
CAPITAL = "Lyon"
"""What it returns: nobody says so who has not seen the result."""


@dataclass(frozen=True)
class Node:
    """The node under test."""

    http: str
    """http://host:port"""
    speech: Path
    """Folder of wav files, pcm16 mono at 24 kHz."""
    is_fake: bool = False
    """Whether it is tests/clients/fake_node.py, which says what it was shown."""

    @property
    def base_url(self) -> str:
        return f"{self.http}/v1"

    @property
    def socket_url(self) -> str:
        return f"{self.http.replace('http', 'ws', 1)}/v1/realtime"

    def say(self, name: str) -> bytes:
        """The samples of a sentence."""
        with wave.open(str(self.speech / f"{name}.wav")) as file:
            return file.readframes(file.getnframes())

    def shown(self, answer: str, *, users: int, answers: int) -> str:
        """The answer, once it is clear that the model saw this much of the conversation."""
        expected = f"You said {users} things and I said {answers}."
        assert not self.is_fake or answer.strip() == expected, f"{answer!r}, not {expected!r}"
        return answer


class Microphone:
    """Hands on what is said in real time, and silence in between, as a microphone does."""

    def __init__(self, send: Callable[[bytes], Awaitable[None]], *, chunk_s: float = CHUNK_S) -> None:
        self._send = send
        self._chunk_s = chunk_s
        self._chunk = round(chunk_s * RATE_HZ) * 2
        self._speech = bytearray()
        self._said = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls, send: Callable[[bytes], Awaitable[None]], *, chunk_s: float = CHUNK_S):
        microphone = cls(send, chunk_s=chunk_s)
        async with asyncio.TaskGroup() as tasks:  # a client that takes no more audio ends its scenario
            recording = tasks.create_task(microphone._record())
            yield microphone
            recording.cancel()

    async def say(self, pcm16: bytes) -> None:
        """Speak; returns when the last sample is out."""
        self._said.clear()
        self._speech += pcm16
        await self._said.wait()

    async def _record(self) -> None:
        begun, number = time.perf_counter(), 0
        while True:
            chunk = bytes(self._speech[: self._chunk])
            del self._speech[: self._chunk]
            if not self._speech:
                self._said.set()
            await self._send(chunk.ljust(self._chunk, b"\0"))
            number += 1
            await asyncio.sleep(max(0.0, begun + number * self._chunk_s - time.perf_counter()))


def seconds(pcm16: bytes) -> float:
    """How long audio plays."""
    return len(pcm16) / (2 * RATE_HZ)


async def until(condition: Callable[[], object], what: str, within_s: float = 15.0) -> None:
    """Wait for something that a client's callbacks bring about."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110 - what it waits for is the client's, and signals nothing
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"waited {within_s:g} s for {what}") from None


Scenario = Callable[[Node], Awaitable[object]]
SCENARIOS: dict[str, Scenario] = {}
"""By name, in their order."""


def scenario(name: str) -> Callable[[Scenario], Scenario]:
    """Make a function the scenario of this name."""

    def take(function: Scenario) -> Scenario:
        SCENARIOS[name] = function
        return function

    return take


def main(versions: Mapping[str, str]) -> None:
    """Run the scenarios that were asked for, one JSON line each: name, ok, note."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--node", required=True)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--fake", action="store_true")
    parser.add_argument("--only", default="", help="scenarios, separated by commas")
    asked = parser.parse_args()
    node = Node(asked.node, asked.speech, asked.fake)
    chosen = asked.only.split(",") if asked.only else list(SCENARIOS)
    _print({"versions": dict(versions)})
    for name in chosen:
        if name in SCENARIOS:
            _print({"scenario": name, **asyncio.run(_result(SCENARIOS[name], node))})


async def _result(scenario: Scenario, node: Node) -> dict[str, object]:
    begun = time.perf_counter()
    try:
        async with asyncio.timeout(SCENARIO_S):
            note = await scenario(node)
    except Exception as error:  # noqa: BLE001 - whatever a client raises is its result
        traceback.print_exc()
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        return {"ok": False, "note": f"{type(error).__name__}: {error}"[:300]}
    return {"ok": True, "note": note or "", "seconds": round(time.perf_counter() - begun, 1)}


def _print(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
