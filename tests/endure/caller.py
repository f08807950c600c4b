"""One client that behaves as clients do in the long run: whole turns, interruptions, second thoughts, sudden ends."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode

from tests.endure.ledger import Ledger, Page
from tests.endure.marks import INSTRUCTIONS, MARKED_SPEED, SPEED

End = Literal["settled", "closed", "aborted", "half-open"]
PATIENCE_S = 60.0
"""How long somebody who is not marked waits for what has to come: a node that has lost a thread may take a while."""
MARKED_PATIENCE_S = 12.0
LATEST_S = 0.5
"""A microphone that is further behind than this has lost the audio."""
TOOL = {
    "type": "function",
    "name": "weather",
    "description": "Says how the weather is.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
QUESTIONS = ("What is the capital of France?", "Why is the sky blue?", "How is the weather in Kyoto?")


@dataclass(frozen=True, slots=True)
class Speech:
    """Utterances and the room between them, as bytes of one wire format."""

    format: dict[str, Any]
    bytes_a_second: int
    utterances: tuple[bytes, ...]
    room: bytes
    """A second of it."""


class Caller:
    """One session."""

    def __init__(
        self, socket: ClientConnection, speech: Speech, ledger: Ledger, name: str, random: Random, *, is_marked: bool
    ) -> None:
        self._socket = socket
        self._speech = speech
        self._ledger = ledger
        self._random = random
        self._is_marked = is_marked
        self._page = Page(ledger, name, is_marked=is_marked)
        self._waiting: list[tuple[frozenset[str], asyncio.Future[dict[str, Any] | None]]] = []
        self._to_say = bytearray()
        self._items: list[str] = []
        self._leaves = False
        self._is_mute = False
        self._has_flooded = False

    async def talk(self, seconds: float, end: End) -> None:
        """Do one thing after the other for so long, wherever that ends, and leave."""
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(self._read())
            microphone = tasks.create_task(self._listen_to_the_room())
            try:
                with suppress(TimeoutError, ConnectionClosed):
                    async with asyncio.timeout(seconds):
                        await self._settings()
                        while not reading.done():
                            await self._act()
                with suppress(ConnectionClosed):
                    await self._leave(end)
            finally:
                microphone.cancel()
                self._page.close()
                self._leaves = True
                if not reading.done():
                    self._socket.transport.abort()

    # ── what it does ──────────────────────────────────────────────────────────────────────────────────

    async def _act(self) -> None:
        acts: dict[Callable[[], Awaitable[None]], int] = {
            self._whole_turn: 8,
            self._barge_in: 4,
            self._cancel: 3,
            self._write: 3,
            self._use_tool: 2,
            self._ask_aside: 2,
            self._settings: 2,
            self._commit_by_hand: 2,
            self._edit: 2,
            self._send_nonsense: 1,
            self._stay_silent: 1,
        }
        if self._is_marked:
            acts[self._flood] = 1
        (act,) = self._random.choices(list(acts), list(acts.values()))
        self._ledger.acts[act.__name__.strip("_")] += 1
        await act()
        await asyncio.sleep(self._random.uniform(0.0, 1.0))

    async def _whole_turn(self) -> None:
        """Speak, and hear the answer out."""
        await self._quiet()
        done = self._expect("response.done")
        await self._speak()
        await self._await(done, "nobody answered")

    async def _barge_in(self) -> None:
        """Speak into the answer."""
        await self._quiet()
        begun = self._expect("response.output_audio.delta", "response.output_text.delta", "response.done")
        await self._speak()
        await self._await(begun, "nobody answered")
        await asyncio.sleep(self._random.uniform(0.0, 1.5))
        done = self._expect("response.done")
        await self._speak()
        await self._await(done, "nobody answered who interrupted")

    async def _cancel(self) -> None:
        """Ask, and think better of it, at any moment."""
        await self._ask(self._random.choice(QUESTIONS))
        await asyncio.sleep(self._random.expovariate(4.0))
        await self._send("response.cancel")
        await self._quiet()

    async def _write(self) -> None:
        """Ask in writing."""
        await self._quiet()
        done = self._expect("response.done", "error")
        await self._ask(self._random.choice(QUESTIONS))
        await self._await(done, "nobody answered what was written")

    async def _use_tool(self) -> None:
        """Have a function called, and say what it returned; not always."""
        await self._quiet()
        done = self._expect("response.done", "error")
        await self._ask("How is the weather in Kyoto?", tools=[TOOL], tool_choice="required")
        answer = await self._await(done, "nobody called a function")
        for item in ((answer or {}).get("response") or {}).get("output", ()):
            if item["type"] == "function_call" and self._random.random() < 0.8:
                output = {"type": "function_call_output", "call_id": item["call_id"], "output": "It rains."}
                await self._send("conversation.item.create", item=output)
                done = self._expect("response.done", "error")
                await self._send("response.create")
                await self._await(done, "nobody said what a function returned")

    async def _ask_aside(self) -> None:
        """Ask for a response beside the conversation, or for several at once."""
        for number in range(self._random.choice((1, 1, 3, 6))):
            entry = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": f"Say {number}."}]}
            aside = {"conversation": "none", "output_modalities": ["text"], "input": [entry], "metadata": {"n": "1"}}
            await self._send("response.create", response=aside)
        await asyncio.sleep(self._random.uniform(0.0, 1.0))

    async def _settings(self) -> None:
        """Change the session's settings, but for what tells whether it is marked."""
        random = self._random
        detection: dict[str, Any] | None = random.choice(
            (
                {"type": "server_vad"},
                {"type": "server_vad", "silence_duration_ms": random.randrange(200, 800)},
                {"type": "semantic_vad", "eagerness": random.choice(("high", "auto"))},
                {"type": "server_vad", "interrupt_response": False},
            )
        )
        session = {
            "type": "realtime",
            "instructions": "Answer in one short sentence." if self._is_marked else INSTRUCTIONS,
            "output_modalities": [random.choice(("audio", "audio", "audio", "text"))],
            "tools": random.choice(([], [TOOL])),
            "audio": {
                "input": {
                    "format": self._speech.format,
                    "turn_detection": detection,
                    "transcription": random.choice((None, {"model": "whisper-1"})),
                },
                "output": {"speed": MARKED_SPEED if self._is_marked else SPEED},
            },
        }
        updated = self._expect("session.updated", "error")
        await self._send("session.update", session=session)
        await self._await(updated, "settings were not taken")

    async def _commit_by_hand(self) -> None:
        """Push to talk."""
        await self._quiet()
        done = self._expect("response.done", "error")
        await self._send("session.update", session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
        await self._send("input_audio_buffer.clear")
        await self._speak()
        await self._send("input_audio_buffer.commit")
        await self._send("response.create")
        await self._await(done, "nobody answered what was committed")
        await self._settings()

    async def _edit(self) -> None:
        """Truncate, delete and fetch items, some of which are there no more."""
        for _ in range(self._random.randrange(1, 5)):
            item_id = self._random.choice([*self._items[-8:], "item_unknown"])
            kind = self._random.choice(("truncate", "truncate", "delete", "retrieve"))
            more = {"content_index": 0, "audio_end_ms": self._random.randrange(3000)} if kind == "truncate" else {}
            await self._send(f"conversation.item.{kind}", item_id=item_id, **more)

    async def _send_nonsense(self) -> None:
        """Send what is no message, or none that is known."""
        nonsense = ("{", "[]", '{"type": "no.such.event"}', '{"type": "session.update", "session": {"tools": 7}}')
        await self._socket.send(self._random.choice(nonsense))

    async def _stay_silent(self) -> None:
        """Say nothing; those who are marked want to hear when they have for long."""
        await asyncio.sleep(self._random.uniform(1.0, 4.0))

    async def _flood(self) -> None:
        """Send much more than a microphone would, all at once."""
        self._has_flooded = True
        seconds = self._random.choice((1, 5, 20))
        audio = b64encode(self._speech.room * seconds).decode()
        for _ in range(self._random.choice((1, 5))):
            await self._send("input_audio_buffer.append", audio=audio)
        for _ in range(self._random.choice((0, 300))):
            await self._send("input_audio_buffer.clear")

    # ── what that is made of ──────────────────────────────────────────────────────────────────────────

    async def _speak(self) -> None:
        """Say something into the microphone."""
        utterance = self._random.choice(self._speech.utterances)
        self._to_say += utterance
        await asyncio.sleep(len(utterance) / self._speech.bytes_a_second)

    async def _ask(self, text: str, **response: Any) -> None:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        await self._send("conversation.item.create", item=item)
        await self._send("response.create", **({"response": response} if response else {}))

    async def _quiet(self) -> None:
        """Wait until nothing is being answered any more."""
        if not await self._is_quiet(self._patience_s):
            self._page.expected(f"responses have no end: {sorted(self._page.open)}")

    async def _is_quiet(self, patience_s: float) -> bool:
        """Wait until nothing is being answered any more, or nothing has come for so long: an answer may last longer."""
        with suppress(TimeoutError):
            while self._page.open:
                async with asyncio.timeout(patience_s):
                    if await self._expect() is None:
                        break
        return not self._page.open

    def _expect(self, *kinds: str) -> asyncio.Future[dict[str, Any] | None]:
        """The next event of these types, or of any where none is named; None when there will be none."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((frozenset(kinds), future))
        return future

    async def _await(self, event: asyncio.Future[dict[str, Any] | None], complaint: str) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(self._patience_s):
                return await event
        except TimeoutError:
            self._page.expected(complaint)
            return None

    @property
    def _patience_s(self) -> float:
        return MARKED_PATIENCE_S if self._is_marked else PATIENCE_S

    async def _send(self, kind: str, **fields: Any) -> None:
        self._page.sent(kind)
        await self._socket.send(json.dumps({"type": kind, **fields}))

    async def _listen_to_the_room(self) -> None:
        """The microphone: what is to be said, else the room."""
        loop, step_s = asyncio.get_running_loop(), self._random.choice((0.02, 0.04, 0.1))
        size = round(step_s * self._speech.bytes_a_second)
        due = loop.time()
        with suppress(ConnectionClosed):
            while True:
                piece = bytes(self._to_say[:size])
                del self._to_say[:size]
                piece += self._speech.room[: size - len(piece)]
                if not self._is_mute:
                    await self._send("input_audio_buffer.append", audio=b64encode(piece).decode())
                due += step_s
                if loop.time() > due + LATEST_S:
                    due = loop.time()
                await asyncio.sleep(max(due - loop.time(), 0.0))

    async def _read(self) -> None:
        """Take all that comes until the connection is over."""
        try:
            async for message in self._socket:
                event = json.loads(message)
                self._page.see(event)
                if event["type"] == "conversation.item.added":
                    self._items = [*self._items[-15:], event["item"]["id"]]
                self._tell(event)
        except ConnectionClosed:
            pass
        finally:
            if not self._leaves:
                self._hung_up()
            self._tell(None)

    def _tell(self, event: dict[str, Any] | None) -> None:
        """Give an event to whoever waits for it; None is the end."""
        waiting, self._waiting = self._waiting, []
        for kinds, future in waiting:
            if future.done():
                continue
            if event is None or not kinds or event["type"] in kinds:
                future.set_result(event)
            else:
                self._waiting.append((kinds, future))

    def _hung_up(self) -> None:
        code, reason = self._socket.close_code, self._socket.close_reason
        if self._has_flooded and code == CloseCode.POLICY_VIOLATION:
            self._ledger.refused["flood"] += 1
            return
        self._ledger.find("hung up on", f"{code} {reason}")
        self._page.expected(f"the node hung up: {code} {reason}")

    async def _leave(self, end: End) -> None:
        """Go, in one of the ways in which clients do."""
        if end == "settled":
            self._is_mute = True
            self._to_say.clear()
            await self._send("input_audio_buffer.clear")
            if not await self._is_quiet(PATIENCE_S):
                self._page.find_endless()
        self._leaves = True
        if end == "half-open":
            self._is_mute = True
            self._socket.transport.pause_reading()
            await asyncio.sleep(self._random.uniform(2.0, 30.0))
        if end in {"aborted", "half-open"}:
            self._socket.transport.abort()
        else:
            await self._socket.close()
        self._ledger.ends[end] += 1
