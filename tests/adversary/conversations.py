"""In a session: more audio, answers, items, tools and settings than anybody needs, and messages made to be heavy."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np

from tests.adversary.attack import attack
from tests.adversary.frames import LONG, SERVED, flooded
from tests.adversary.target import Target
from tests.adversary.wire import TEXT, bearer, connected, event, frame, session, upgrade

ROUND_S = 20.0
"""Patience for a flood, and for whoever is made to wait for his turn."""
RATE_HZ = 24_000
CHUNK_S = 0.02
_ITEM = '{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "First."}]}'


def _append(pcm16: bytes) -> bytes:
    return event("input_audio_buffer.append", audio=base64.b64encode(pcm16).decode())


def _speech(seconds: float) -> bytes:
    """What a voice activity detector takes for speech, in 16 bits: noise that comes and goes."""
    samples = round(seconds * RATE_HZ)
    loudness = 0.1 * (1.0 + np.sign(np.sin(np.arange(samples) * 2 * np.pi / RATE_HZ)))
    noise = np.random.default_rng(0).standard_normal(samples) * loudness
    return (np.clip(noise, -1, 1) * 32767).astype("<i2").tobytes()


def _chunks(pcm16: bytes, seconds: float) -> Iterator[bytes]:
    size = 2 * round(seconds * RATE_HZ)
    for begin in range(0, len(pcm16), size):
        yield _append(pcm16[begin : begin + size])


AUDIO: Mapping[str, Callable[[int], Iterable[bytes]]] = {
    "speech in 20 ms": lambda count: _chunks(_speech(count * CHUNK_S), CHUNK_S),
    "speech in 10 s": lambda count: _chunks(_speech(count * CHUNK_S * 4), 10.0),
    "silence in a minute": lambda count: _chunks(bytes(2 * RATE_HZ * 60 * (count // 400 + 1)), 60.0),
    "one byte": lambda count: [_append(b"\x01")] * count,
    "nothing": lambda count: [_append(b"")] * count,
}


@attack(
    *SERVED,
    must="hear it no faster than twice real time, beyond what it keeps",
    is_in=True,
    variants=tuple(AUDIO),
    rate=1.0,
    patience_s=ROUND_S,
)
async def audio_flood(target: Target, kind: str) -> str:
    """Audio as fast as the socket takes it, a hundred times real time: speech, silence, single bytes."""
    async with session(target) as wire:
        return await flooded(target, wire, AUDIO[kind](target.flood))


@attack(
    *("error *", "close 1008", "held", "input_audio_buffer.cleared"),
    must="an error, and nothing of it is kept",
    is_in=True,
    variants=("not base64", "too long", "wrong at its end", "padding"),
    rate=1.0,
    at_once=1,
    patience_s=ROUND_S,
)
async def base64_bomb(target: Target, kind: str) -> str:
    """An append of 20 MB that is no base64, is wrong in its last letter, or holds more than 15 MiB."""
    audio = {
        "not base64": "!" * 20_000_000,
        "too long": "A" * 22_000_000,
        "wrong at its end": "A" * 19_999_999 + "!",
        "padding": "=" * 20_000_000,
    }[kind]
    async with session(target) as wire:
        await wire.send(frame(TEXT, f'{{"type": "input_audio_buffer.append", "audio": "{audio}"}}'))
        return await wire.says("input_audio_buffer.cleared")


@cache
def _recording(seconds: float) -> tuple[bytes, ...]:
    return tuple(_chunks(_speech(seconds), 10.0))


BURST_S = 280.0
"""What a session may send at once is 300."""


@attack(*SERVED, must="hold a customer to what is his", is_in=True, rate=4.0, at_once=4, patience_s=ROUND_S)
async def fresh_allowances(target: Target, _: Any) -> str:
    """Minutes of audio at once, up to what a session is allowed, then a new session with a new allowance."""
    async with session(target) as wire:
        return await flooded(target, wire, _recording(min(BURST_S, target.flood * 0.056)))


def _asks() -> bytes:
    return event("response.create", response={"output_modalities": ["text"]})


def _aside() -> bytes:
    return event("response.create", response={"conversation": "none", "output_modalities": ["text"], "input": []})


def _item(text: str = "Hello.") -> bytes:
    content = [{"type": "input_text", "text": text}]
    return event("conversation.item.create", item={"type": "message", "role": "user", "content": content})


def _tools(count: int, number: int = 0) -> list[dict[str, Any]]:
    properties = {f"field_{number}_{index}": {"type": "string"} for index in range(10)}
    parameters = {"type": "object", "properties": properties}
    return [
        {"type": "function", "name": f"f_{number}_{index}", "description": "A tool.", "parameters": parameters}
        for index in range(count)
    ]


def _update(**settings: Any) -> bytes:
    return event("session.update", session={"type": "realtime", **settings})


EVENTS: Mapping[str, Callable[[int], Iterable[bytes]]] = {
    "responses": lambda count: [_asks()] * count,
    "responses aside": lambda count: [_aside()] * count,
    "requests and cancels": lambda count: [_asks(), event("response.cancel")] * (count // 2),
    "cancels": lambda count: [event("response.cancel")] * count,
    "items": lambda count: [_item()] * count,
    "items in front": lambda count: (
        [event("conversation.item.create", previous_item_id="root", item=json.loads(_ITEM))] * count
    ),
    "commits": lambda count: [event("input_audio_buffer.commit")] * count,
    "alternating tools": lambda count: [
        _update(tools=_tools(8, number % 2), tool_choice="auto") for number in range(count // 4)
    ],
    "alternating instructions": lambda count: [
        _update(instructions=f"You are agent {number}. " + "Be brief. " * 100) for number in range(count // 4)
    ],
    "alternating detection": lambda count: [
        _update(audio={"input": {"turn_detection": detection}})
        for _ in range(count // 8)
        for detection in (None, {"type": "server_vad"}, {"type": "semantic_vad"})
    ],
    "deletions": lambda count: [event("conversation.item.delete", item_id="nobody")] * count,
    "truncations": lambda count: (
        [event("conversation.item.truncate", item_id="nobody", content_index=0, audio_end_ms=10**12)] * count
    ),
}


@attack(
    *SERVED,
    must="serve one at a time, refuse the rest, stay fair",
    is_in=True,
    variants=tuple(EVENTS),
    rate=1.0,
    patience_s=ROUND_S,
)
async def event_flood(target: Target, kind: str) -> str:
    """Thousands of requests for answers, cancels, items, commits, or updates with alternating tools."""
    async with session(target) as wire:
        return await flooded(target, wire, EVENTS[kind](target.flood))


def _spoken() -> dict[str, Any]:
    speech = base64.b64encode(_speech(0.1)).decode()
    return {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": speech}]}


def _commits(count: int) -> Iterator[bytes]:
    yield _update(audio={"input": {"turn_detection": None}})
    for _ in range(count // 2):
        yield _append(_speech(0.11))
        yield event("input_audio_buffer.commit")


UTTERANCES: Mapping[str, Callable[[int], Iterable[bytes]]] = {
    "commits with audio": _commits,
    "items with audio": lambda count: [event("conversation.item.create", item=_spoken())] * count,
    "input with audio": lambda count: (
        [event("response.create", response={"conversation": "none", "input": [_spoken()]})] * count
    ),
}


@attack(
    *SERVED,
    must="listen to two of a session at a time, and read no further with sixteen that wait",
    is_in=True,
    variants=tuple(UTTERANCES),
    rate=1.0,
    patience_s=ROUND_S,
)
async def utterance_flood(target: Target, kind: str) -> str:
    """Thousands of tenths of a second to transcribe: committed by hand, in items, in the input of responses."""
    async with session(target) as wire:
        return await flooded(target, wire, UTTERANCES[kind](target.flood))


@attack(
    *("response.done", "close 1008", "error *"),
    must="one answer at a time; the others do not wait for it",
    is_in=True,
    rate=5.0,
    patience_s=ROUND_S,
)
async def response_loop(target: Target, _: Any) -> str:
    """Sessions that ask for an answer whenever they have one, with nothing in between."""
    async with session(target) as wire:
        for _ in range(max(3, target.flood // 200)):
            await wire.send(_asks())
            if (said := await wire.says("response.done")) != "response.done":
                return said
            await target.leash.hold()
    return said


@attack(*SERVED, must="serve it at the pace of who reads", is_in=True, rate=1.0, patience_s=ROUND_S)
async def amplification(target: Target, _: Any) -> str:
    """An item of 10 KB that is asked for again and again in 70 bytes, by a client that reads all of it."""
    retrieve = event("conversation.item.retrieve", item_id="long")
    content = [{"type": "input_text", "text": LONG}]
    item = {"id": "long", "type": "message", "role": "user", "content": content}
    async with session(target) as wire:
        await wire.send(event("conversation.item.create", item=item))
        return await flooded(target, wire, [retrieve] * min(target.flood, 2_000))


@attack(
    "gone", must="give its place, its slot and its tasks back", is_in=True, rate=20.0, at_once=2, patience_s=ROUND_S
)
async def churn(target: Target, _: Any) -> str:
    """Sessions that ask for an answer, and are gone when it begins."""
    async with session(target) as wire:
        await wire.send(_item(), _asks())
        said = await wire.says("response.created")
        return "gone" if said == "response.created" else said


@attack("gone", must="give its place back", is_in=True, rate=40.0, at_once=2)
async def hasty_churn(target: Target, _: Any) -> str:
    """Good handshakes whose client is gone before they are answered."""
    async with connected(target) as wire:
        await wire.send(upgrade(bearer(target.credentials.hostile_key)), _asks())
        await asyncio.sleep(0)
        return "gone"


def _nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def _object(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


DEPTH = 100_000
DEEP: Mapping[str, Callable[[int], str]] = {
    "lists": lambda depth: "[" * depth,
    "a whole list": _nested,
    "in an unknown event": lambda depth: f'{{"type": "no.such.event", "x": {_nested(depth)}}}',
    "in an ignored field": lambda depth: f'{{"type": "input_audio_buffer.clear", "x": {_nested(depth)}}}',
    "in metadata": lambda depth: f'{{"type": "response.create", "response": {{"metadata": {_object(depth)}}}}}',
    "in a schema": lambda depth: (
        '{"type": "session.update", "session": {"type": "realtime", "tools": [{"type": "function", "name": "f", '
        f'"parameters": {_object(depth)}}}]}}}}'
    ),
    "in an item": lambda depth: f'{{"type": "conversation.item.create", "item": {_object(depth)}}}',
    "in the session": lambda depth: f'{{"type": "session.update", "session": {_object(depth)}}}',
}


@attack(
    *("error *", "close 1008", "input_audio_buffer.cleared"),
    must="an error, and the session goes on",
    is_in=True,
    variants=tuple(DEEP),
    rate=5.0,
)
async def deep_json(target: Target, kind: str) -> str:
    """JSON of 100,000 levels: alone, in a field that nobody reads, in a schema, an item, metadata."""
    async with session(target) as wire:
        await wire.send(frame(TEXT, DEEP[kind](DEPTH)))
        return await wire.says("input_audio_buffer.cleared")


_BRANCHES = {"anyOf": [{"type": "object", "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}} for _ in range(50)]}

HEAVY: Mapping[str, Callable[[], bytes]] = {
    "instructions of 1 MB": lambda: _update(instructions="Obey. " * 170_000),
    "1,000 tools": lambda: _update(tools=_tools(1_000)),
    "a schema of 1 MB": lambda: _update(
        tools=[{**_tools(1)[0], "parameters": {"type": "object", "properties": {f"p{n}": {} for n in range(70_000)}}}]
    ),
    "a description of 1 MB": lambda: _update(tools=[{**_tools(1)[0], "description": "d" * 1_000_000}]),
    "a schema that names itself": lambda: _update(tools=[{**_tools(1)[0], "parameters": _BRANCHES}]),
    "a pattern that explodes": lambda: _update(
        tools=[
            {
                **_tools(1)[0],
                "parameters": {"type": "object", "properties": {"a": {"type": "string", "pattern": "(a|a?)+" * 50}}},
            }
        ]
    ),
    "an item of 5 MB": lambda: _item("word " * 1_000_000),
    "an item of 100,000 parts": lambda: event(
        "conversation.item.create",
        item={"type": "message", "role": "user", "content": [{"type": "input_text", "text": ""}] * 100_000},
    ),
    "an input of 10,000 items": lambda: event(
        "response.create", response={"conversation": "none", "input": [json.loads(_ITEM)] * 10_000}
    ),
    "metadata of 1 MB": lambda: event("response.create", response={"metadata": {"a": "b" * 1_000_000}}),
    "an event id of 1 MB": lambda: event("no.such.event", event_id="x" * 1_000_000),
    "an item id of 1 MB": lambda: event("conversation.item.delete", item_id="x" * 1_000_000),
    "a call's output of 5 MB": lambda: event(
        "conversation.item.create",
        item={"type": "function_call_output", "call_id": "call_1", "output": "x" * 5_000_000},
    ),
    "speech of ten minutes in an item": lambda: event(
        "conversation.item.create",
        item={
            "type": "message",
            "role": "user",
            "content": [{"type": "input_audio", "audio": base64.b64encode(bytes(2 * RATE_HZ * 300)).decode()}],
        },
    ),
}
MILD = frozenset({"a schema that names itself", "a pattern that explodes", "speech of ten minutes in an item"})
"""Small on the wire, or what somebody may mean: what matters is that nobody else waits for it."""
TAKEN = ("session.updated", "conversation.item.done", "response.created", "conversation.item.added")


@attack(
    "refused", must="an error that names the limit", is_in=True, variants=tuple(HEAVY), rate=2.0, patience_s=ROUND_S
)
async def heavy_messages(target: Target, kind: str) -> str:
    """Instructions, tools, schemas, items, metadata and ids of a megabyte and more, or in thousands."""
    async with session(target) as wire:
        with suppress(ConnectionError):
            await wire.send(HEAVY[kind]())
        said = await wire.says(*TAKEN)
    if said.startswith(("error", "close 1008")) or (kind in MILD and said in TAKEN):
        return "refused"
    return f"{said} to {kind}"
