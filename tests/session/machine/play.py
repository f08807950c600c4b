"""Plays a script to a real session, in virtual time, while the rules listen."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count, groupby, islice
from typing import Any

import msgspec

from tests.session.machine.calling import CallingLlm
from tests.session.machine.moves import Move, Ref, Script, Setting
from tests.session.machine.rules import Rules
from tests.session.machine.seen import Broken, Request, brief
from tests.session.machine.sounds import sound
from tests.session.machine.virtual import Hang, VirtualCompute, VirtualLoop
from voiceedge.engines import Engines, Sampling
from voiceedge.engines.fake import FakeTts, fake_engines
from voiceedge.engines.fake_defects import FakeDelays, FakeFailed
from voiceedge.protocol.server_events import ServerEvent, encode
from voiceedge.protocol.session_config import LocalNames, default_session
from voiceedge.session.node import Node
from voiceedge.session.outbox import Outbox
from voiceedge.session.session import Session

SLOTS = 2
BACKLOG_S = 4.0
"""Virtual seconds in which the slowest reader catches up."""
QUIET_S = 300.0
"""Long after the last move: whatever was going on has come to its end."""
SECONDS_A_WORD = 0.12


class Violation(AssertionError):
    """A script that breaks a rule; reads as the script and what is wrong."""

    def __init__(self, script: Script, broken: BaseException, told: Sequence[str]) -> None:
        last = "\n".join(f"  {line}" for line in told[-25:])
        super().__init__(f"{broken!r}\n{script}\nthe last that was told:\n{last}")
        self.broken = broken


@dataclass(slots=True)
class Played:
    """What came of one script."""

    rules: Rules
    sent: Counter[str] = field(default_factory=Counter)
    log: list[Request | str | None] = field(default_factory=list)
    """What was sent, the events received as they came, and None where all had fallen quiet; in their order."""

    def received(self) -> list[dict[str, Any]]:
        """The server's events."""
        return [json.loads(entry) for entry in self.log if isinstance(entry, str)]


def play(script: Script, *, without: frozenset[str] = frozenset()) -> Played:
    """Play a script.

    Args:
        script: what happens.
        without: names of rules that are not checked.

    Raises:
        Violation: a rule does not hold, or the session fails.
    """
    played = Played(Rules(without, words=script.setting.heard == "words"))
    loop = VirtualLoop()
    player = _Player(script, played, loop)
    with errors_logged() as errors:
        try:
            loop.run_until_complete(player.run())
            _left_clean(loop, player.engines, errors)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise Violation(script, _first(error), list(player.told())) from error
        finally:
            _sweep(loop)
    return played


class _Player:
    """The client and the node of one script."""

    def __init__(self, script: Script, played: Played, loop: VirtualLoop) -> None:
        setting = script.setting
        self.script = script
        self.played = played
        self.compute = VirtualCompute(setting.waits_s)
        self.broken: set[Any] = set()
        self.engines = _engines(setting, self.compute, self.broken)
        self.loop = loop
        self._numbers = count(1)

    async def run(self) -> None:
        names = LocalNames(model="fake", transcription="fake", voices=("heart", "ash"))
        node = Node(
            engines=self.engines,
            compute=self.compute,
            names=names,
            instructions="Be kind.",
            sampling=Sampling(max_tokens=64),
            report=lambda *_: None,
            clock=self.loop.time,
            **({} if (after := self.script.setting.draft_after_ms) is None else {"draft_after_ms": after}),
        )
        kind = "transcription" if self.script.setting.transcription_session else "realtime"
        config = default_session(session_id="sess_1", names=names, expires_at=1, kind=kind, instructions="Be kind.")
        outbox = Outbox()
        session = Session(node, config, outbox, wants_trace=False)
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(outbox.drain(self._read))
            await session.run(self._messages())
            writer.cancel()
        await asyncio.sleep(QUIET_S)  # steps in flight end; what a session left behind would show

    def told(self) -> Iterator[str]:
        """The log in words."""
        events = [json.loads(entry) if isinstance(entry, str) else entry for entry in self.played.log if entry]
        for repeats, run in groupby(events, _repeats):
            for event in islice(run, 1 if repeats else None):
                yield f"> {event}" if isinstance(event, Request) else f"< {brief(event)}"
            if more := sum(1 for _ in run):
                yield f"  and {more} more of these"

    async def _read(self, event: ServerEvent) -> None:
        text = encode(event)
        self.played.log.append(text)
        self.played.rules.received(text)
        if self.script.setting.reader_s:
            await asyncio.sleep(self.script.setting.reader_s)

    async def _messages(self) -> AsyncIterator[str]:
        if self.script.setting.opening is not None:
            yield self._event("session.update", session=self.script.setting.opening)
        for move in self.script.moves:
            if move.pause_s:
                await asyncio.sleep(move.pause_s)
            async for message in self._carry_out(move):
                yield message
        if not self.script.setting.hangs_up:
            async for message in self._fall_quiet():
                yield message
            self.played.log.append(None)
            self.played.rules.quiet()

    async def _fall_quiet(self) -> AsyncIterator[str]:
        """Wait until nothing goes on; an idle timeout would go on for ever."""
        await asyncio.sleep(BACKLOG_S)  # what holds is known once a slow reader has read it
        detection = self.played.rules.seen.detection
        if detection is not None and detection.get("idle_timeout_ms"):
            patched = {"audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": None}}}}
            yield self._event("session.update", session=patched)
        await asyncio.sleep(QUIET_S)

    async def _carry_out(self, move: Move) -> AsyncIterator[str]:
        seen = self.played.rules.seen
        details = move.details
        match move.kind:
            case "turn":
                for kind, total in (("speech", details["speech_ms"]), ("silence", details["silence_ms"])):
                    for begin in range(0, total, details["chunk_ms"]):
                        milliseconds = min(details["chunk_ms"], total - begin)
                        await asyncio.sleep(milliseconds / 1000)
                        yield self._append(kind, milliseconds)
            case "burst":  # pipecat's push-to-talk
                running = seen.main
                yield self._event("input_audio_buffer.clear")
                yield self._append("speech", 250)
                yield self._event("response.cancel")
                if running is not None and running.item_audio_ms:
                    item = next(reversed(running.item_audio_ms))
                    yield self._event("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=100)
                yield self._event("input_audio_buffer.commit")
                yield self._event("response.create")
            case "input_audio_buffer.append":
                yield self._append(details["sound"], details["ms"], details["cut_bytes"])
            case "garbage":
                yield self._garbage(details["text"])
            case "break":
                self.broken.add(details["stage"])
                seen.once_broken.add(details["stage"])
            case "mend":
                self.broken.discard(details["stage"])
            case _:
                yield self._event(move.kind, is_bad=move.is_bad, **self._fields(move))

    def _fields(self, move: Move) -> dict[str, Any]:
        details = move.details
        match move.kind:
            case "session.update":
                return {"session": details["session"]}
            case "response.create":
                params = dict(details["response"])
                if details["tagged"] and "metadata" not in params:
                    params["metadata"] = {"tag": f"answer {next(self._numbers)}"}
                return {"response": params} if params else {}
            case "response.cancel":
                return self._cancelled(details["whom"])
            case "conversation.item.create":
                item = dict(details["item"])
                if details["id"] is not None:
                    item["id"] = self._named(details["id"])
                if "content" in item:
                    item["content"] = [self._part(part) for part in item["content"]]
                behind = details["behind"]
                place = {} if behind is None else {"previous_item_id": behind}
                return {
                    "item": item,
                    **({"previous_item_id": self._named(behind)} if isinstance(behind, Ref) else place),
                }
            case "conversation.item.truncate":
                return {
                    "item_id": self._named(details["item_id"]),
                    "content_index": 0,
                    "audio_end_ms": details["audio_end_ms"],
                }
            case "conversation.item.delete" | "conversation.item.retrieve":
                return {"item_id": self._named(details["item_id"])}
        return {}

    def _cancelled(self, whom: str) -> dict[str, Any]:
        responses = self.played.rules.seen.responses
        running = next((one.id for one in responses.values() if one.is_open), None)
        over = next((one.id for one in responses.values() if not one.is_open), "resp_never")
        if whom == "what runs by its id" and running is not None:
            return {"response_id": running}
        return {"response_id": over} if whom == "a response that is over" else {}

    def _part(self, part: dict[str, Any]) -> dict[str, Any]:
        if part.get("audio") == "<speech>":
            return {**part, "audio": sound("speech", 200, self.played.rules.seen.input_format)}
        return {**part, "audio": "%%%"} if part.get("audio") == "<broken>" else part

    def _named(self, ref: Ref) -> str:
        seen = self.played.rules.seen
        choice = seen.answers if ref.kind == "answer" else seen.items
        if ref.kind == "own":
            return f"own_{ref.index}"
        if ref.kind == "unknown" or not choice:
            return "item_never"
        return choice[-1 - ref.index % len(choice)]

    def _append(self, kind: Any, milliseconds: float, cut_bytes: int = 0) -> str:
        audio = sound(kind, milliseconds, self.played.rules.seen.input_format, cut_bytes)
        return self._event("input_audio_buffer.append", audio=audio)

    def _event(self, kind: str, *, is_bad: bool = False, **fields: Any) -> str:
        number = next(self._numbers)
        event = {"type": kind, **fields}
        if number % 7:  # most clients name their events, some do not
            event["event_id"] = f"evt_{number}"
        self._sent(Request(kind, event, event.get("event_id"), is_bad, self.played.rules.seen.audio_ms))
        return msgspec.json.encode(event).decode()

    def _garbage(self, text: str) -> str:
        event_id = "evt_garbage" if "evt_garbage" in text else None
        self._sent(Request("", {}, event_id, True, self.played.rules.seen.audio_ms))
        return text

    def _sent(self, request: Request) -> None:
        self.played.sent[request.type] += 1
        self.played.log.append(request)
        self.played.rules.sent(request)


def _engines(setting: Setting, compute: VirtualCompute, broken: set[Any]) -> Engines:
    delays = FakeDelays(
        end_of_turn_s=setting.end_of_turn_s,
        stt_s=setting.stt_s,
    )
    turns = count()
    heard = {
        "words": "What is the capital of France?",
        "nothing": "",
        "both": lambda _: "Tell me more." if next(turns) % 2 else "",
    }[setting.heard]
    engines = fake_engines(
        delays,
        text=heard,
        end_of_turn=setting.complete,
        fail_at=broken,
        sleep=compute.sleep,
    )
    tts = FakeTts(delay_s=setting.tts_s, seconds_per_word=SECONDS_A_WORD, fail_at=broken, sleep=compute.sleep)
    llm = CallingLlm(
        setting.answer,
        setting.calls,
        slots=SLOTS,
        first_token_delay_s=setting.llm_first_token_s,
        token_delay_s=setting.llm_token_s,
        fail_at=broken,
        sleep=compute.sleep,
    )
    return replace(engines, tts=tts, llm=llm)


@contextmanager
def errors_logged() -> Iterator[list[logging.LogRecord]]:
    """What is logged as an error meanwhile, and nothing of it is printed: it is for people who run a node."""
    records: list[logging.LogRecord] = []
    catcher = logging.Handler(logging.ERROR)
    catcher.emit = records.append  # type: ignore[method-assign]
    catcher.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], FakeFailed)))
    loggers = [logging.getLogger("voiceedge"), logging.getLogger("asyncio")]
    before = [(one.propagate, one.handlers, one.level) for one in loggers]
    for one in loggers:
        one.propagate, one.handlers = False, [catcher]
        one.setLevel(logging.ERROR)
    try:
        yield records
    finally:
        for one, (propagate, handlers, level) in zip(loggers, before, strict=True):
            one.propagate, one.handlers = propagate, handlers
            one.setLevel(level)


def _left_clean(loop: VirtualLoop, engines: Engines, errors: list[logging.LogRecord]) -> None:
    """Nothing stays behind a session."""
    if errors:
        raise Broken("no error inside", f"{errors[0].getMessage()} {errors[0].exc_info and errors[0].exc_info[1]!r}")
    if tasks := asyncio.all_tasks(loop):
        raise Broken("no task left", ", ".join(task.get_name() for task in tasks))
    if due := loop.due():
        raise Broken("no timer left", repr(due))
    if engines.llm.free_slots != SLOTS:  # type: ignore[attr-defined]
        raise Broken("slot given back", f"{engines.llm.free_slots} of {SLOTS} are free")  # type: ignore[attr-defined]


def _sweep(loop: VirtualLoop) -> None:
    """End what a broken sequence has left behind, so that the next one begins in peace."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    try:
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    except Hang:
        pass
    finally:
        loop.close()


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _repeats(event: Any) -> str:
    """Same text for what need not be told again and again."""
    kind: str = event.type if isinstance(event, Request) else event["type"]
    return kind if kind.endswith((".append", ".delta")) else ""
