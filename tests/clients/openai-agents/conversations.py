"""Conversations whose users speak, type, interrupt, cancel and truncate at random moments, through openai-agents.

The client validates every event against openai's types; `ResponseOrder` checks their order on its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeModelSendInterrupt, RealtimeModelSendRawMessage, RealtimeRunner
from scenarios import Node, until

from tests.protocol.order import ResponseOrder

CHUNK_BYTES = 4_800
"""100 ms."""
FASTER = 10
"""Times faster than it was spoken is speech sent: what is decided about it is decided in media time."""
SILENCE = bytes(48_000 * 3 // 2)
PATIENCE_S = 20.0
"""What takes this long hangs."""
QUIET_S = 0.5
CROSSED = "conversation_already_has_active_response"
HARMLESS = {"response_cancel_not_active", CROSSED}
"""What a client is told whose cancel or request crossed an event of the node's on the way; nothing is wrong then."""
CARRY_ON = ("Tell me a story.", "And then?", "Go on, please.", "Why is that?")
COUNTRIES = ("France", "Norway", "Peru", "Japan")


class Conversation:
    """One conversation, told by its seed."""

    def __init__(self, node: Node, seed: int) -> None:
        self.node = node
        self.random = random.Random(seed)
        self.raw = []
        self.problems = []
        self.moves = Counter()
        self.order = ResponseOrder()
        self.tools_running = self.tools_run = 0
        self.last_move_at = 0

    async def run(self, moves: int) -> None:
        agent = RealtimeAgent(name="Test", instructions="Answer in one sentence.", tools=[self.tool()])
        runner = RealtimeRunner(agent, config={"tracing_disabled": True})
        where = {"url": f"{self.node.socket_url}?model=voiceedge", "api_key": "any"}
        settings = {"model_name": "gpt-realtime", "turn_detection": self.random.choice(DETECTIONS)}
        async with await runner.run(model_config={**where, "initial_model_settings": settings}) as session:
            self.session = session
            listening = asyncio.create_task(self.listen())
            try:
                for _ in range(moves):
                    await self.move()
                await self.quiet()
                await self.goodbye()
            finally:
                listening.cancel()
                await asyncio.wait([listening])
        assert not self.problems, self.problems[0]

    def tool(self):
        @function_tool
        async def capital(country: str) -> str:
            """Looks up the capital of a country."""
            self.tools_running += 1
            try:
                await asyncio.sleep(self.random.choice((0.0, 0.02, 0.2, 0.6)))
            finally:
                self.tools_running -= 1
                self.tools_run += 1
            return f"Lyon is the capital of {country}."

        return capital

    async def listen(self) -> None:
        async for event in self.session:
            if event.type == "error":
                self.note_error(event.error)
            elif event.type == "raw_model_event" and event.data.type == "raw_server_event":
                try:
                    self.order.see(event.data.data)
                except AssertionError as error:
                    self.problems.append(f"out of order: {error}")
                self.raw.append(event.data.data)
            elif event.type == "raw_model_event" and event.data.type == "exception":
                self.problems.append(f"{event.data.context}: {event.data.exception}")

    def note_error(self, error: object) -> None:
        code = getattr(error, "code", None)
        if code not in HARMLESS:
            self.problems.append(f"error: {error}")
        self.moves[f"told {code}"] += 1

    # ── moves ─────────────────────────────────────────────────────────────────────────────────────────

    async def move(self) -> None:
        name = self.random.choices(list(MOVES), list(MOVES.values()))[0]
        self.moves[name] += 1
        await getattr(self, name)()
        if self.random.random() < 0.35:
            await self.quiet()
        else:
            await asyncio.sleep(self.random.choice((0.0, 0.01, 0.05, 0.2, 0.5, 1.0)))

    async def speak(self) -> None:
        audio = self.node.say(self.random.choice(("question", "followup", "stop"))) + SILENCE
        for begin in range(0, len(audio), CHUNK_BYTES):
            chunk = audio[begin : begin + CHUNK_BYTES]
            await self.session.send_audio(chunk)
            await asyncio.sleep(len(chunk) / 48_000 / FASTER)

    async def barge_in(self) -> None:
        """Speak as soon as there is something to interrupt, or a little later."""
        before = self.count("response.output_audio.delta")
        if self.running():
            with suppress(AssertionError):  # a voice may be waiting for its listener
                await until(lambda: self.count("response.output_audio.delta") > before or not self.running(), "", 3.0)
        await asyncio.sleep(self.random.choice((0.0, 0.05, 0.3)))
        await self.speak()

    async def write(self) -> None:
        await self.session.send_message(self.random.choice(CARRY_ON))

    async def ask_the_tool(self) -> None:
        await self.session.send_message(f"What is the capital of {self.random.choice(COUNTRIES)}?")

    async def cancel(self) -> None:
        self.last_move_at = len(self.raw)
        if self.random.random() < 0.5:
            await self.send({"type": "response.cancel"})
        else:
            await self.session.model.send_event(RealtimeModelSendInterrupt(force_response_cancel=True))

    async def interrupt(self) -> None:
        self.last_move_at = len(self.raw)
        await self.session.interrupt()

    async def truncate(self) -> None:
        """Early, late or again."""
        items = [item_id for item_id, role in self.items() if role == "assistant"]
        if items:
            fields = {"content_index": 0, "audio_end_ms": self.random.choice((0, 1, 250, 700, 1_500, 60_000))}
            await self.send(
                {"type": "conversation.item.truncate", "other_data": {"item_id": self.random.choice(items), **fields}}
            )

    async def send(self, message: dict[str, object]) -> None:
        await self.session.model.send_event(RealtimeModelSendRawMessage(message=message))

    # ── what must hold ────────────────────────────────────────────────────────────────────────────────

    def count(self, kind: str) -> int:
        return sum(event["type"] == kind for event in self.raw)

    def running(self) -> int:
        return self.count("response.created") - self.count("response.done")

    def items(self) -> list[tuple[str, str]]:
        added = (event["item"] for event in self.raw if event["type"] == "conversation.item.added")
        return [(item["id"], item.get("role", "")) for item in added]

    async def quiet(self) -> None:
        """Wait until nothing goes on; nothing may hang, and no turn of the user may be lost."""
        seen, since = -1, time.monotonic()
        give_up = since + PATIENCE_S
        while time.monotonic() - since < QUIET_S:
            await asyncio.sleep(0.02)
            assert time.monotonic() < give_up, f"hangs: {self.running()} responses and {self.tools_running} tools run"
            assert not self.problems, self.problems[0]
            if seen != len(self.raw) or self.running() or self.tools_running:
                seen, since = len(self.raw), time.monotonic()
        assert self.order.all_over(), self.order.states
        self.no_turn_is_lost()

    def no_turn_is_lost(self) -> None:
        asked = answered = crossed = -1
        for position, event in enumerate(self.raw):
            if event["type"] == "response.created":
                answered = position
            elif event["type"] == "conversation.item.added" and _wants_an_answer(event["item"]):
                asked = position
            elif event["type"] == "error" and event["error"]["code"] == CROSSED:
                crossed = position  # the client drops its request; what it wanted answered is in the next prompt
        taken_back = self.last_move_at >= asked
        assert answered > asked or taken_back or crossed > asked, f"nobody answers {self.raw[asked]['item']}"

    async def goodbye(self) -> None:
        """However it went, the next turn is answered in full."""
        before = self.count("response.done")
        await self.session.send_message("Thank you, goodbye.")
        await until(lambda: self.count("response.done") > before, "the last answer", PATIENCE_S)
        last = [event["response"] for event in self.raw if event["type"] == "response.done"][-1]
        assert last["status"] == "completed", last
        assert last["output"][0]["content"][0]["transcript"], last


def _wants_an_answer(item: dict[str, object]) -> bool:
    return item.get("role") == "user" or item["type"] == "function_call_output"


DETECTIONS = (
    {"type": "semantic_vad"},
    {"type": "server_vad", "silence_duration_ms": 300},
    {"type": "server_vad", "interrupt_response": False},
)
MOVES = {"speak": 3, "barge_in": 4, "write": 2, "ask_the_tool": 3, "cancel": 2, "interrupt": 1, "truncate": 2}
"""By how often they are made."""


async def converse(node: Node, seed: int, moves: int) -> dict[str, object]:
    begun = time.monotonic()
    conversation = Conversation(node, seed)
    note = ""
    try:
        await conversation.run(moves)
    except Exception as error:  # noqa: BLE001 - whatever a client raises is its result
        note = f"{type(error).__name__}: {error}"[:400]
    kinds = Counter(event["type"] for event in conversation.raw)
    statuses = Counter(e["response"]["status"] for e in conversation.raw if e["type"] == "response.done")
    return {
        "seed": seed,
        "ok": not note,
        "note": note,
        "seconds": round(time.monotonic() - begun, 1),
        "moves": dict(conversation.moves),
        "events": sum(kinds.values()),
        "responses": dict(statuses),
        "tools": conversation.tools_run,
        "truncated": kinds["conversation.item.truncated"],
    }


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--node", required=True)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--seeds", required=True, help="first and last, with a dash between them")
    parser.add_argument("--moves", type=int, default=8)
    parser.add_argument("--at-once", type=int, default=6)
    asked = parser.parse_args()
    node = Node(asked.node, asked.speech, is_fake=True)
    first, last = map(int, asked.seeds.split("-"))
    free = asyncio.Semaphore(asked.at_once)

    async def one(seed: int) -> None:
        async with free:
            sys.stdout.write(json.dumps(await converse(node, seed, asked.moves)) + "\n")
            sys.stdout.flush()

    async with asyncio.TaskGroup() as tasks:
        for seed in range(first, last + 1):
            tasks.create_task(one(seed))


asyncio.run(main())
