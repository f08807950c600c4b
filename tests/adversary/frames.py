"""In a session: frames that break the rules of RFC 6455, and many that keep them."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from tests.adversary.attack import Over, attack
from tests.adversary.target import Target
from tests.adversary.wire import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    Wire,
    bearer,
    connected,
    event,
    frame,
    head,
    session,
    upgrade,
)

CLEAR, CLEARED = event("input_audio_buffer.clear"), "input_audio_buffer.cleared"
"""What costs next to nothing, and how it is answered: sent behind a flood, it says whether one is still served."""
BIG = 25 * 1024 * 1024
SERVED = (CLEARED, "held", "close 1008", "error *")
"""Of a flood: everything was taken, or as much as the attacker's patience and the node's allowance let through, or the
session is over."""


async def after(wire: Wire, *data: bytes) -> str:
    """Send, and say how the node ends it."""
    with suppress(ConnectionError):
        await wire.send(*data)
    return await wire.end()


async def flooded(target: Target, wire: Wire, pieces: Iterable[bytes]) -> str:
    """Send a flood and read what comes meanwhile; say whether the node still serves in the end."""
    answer = asyncio.create_task(_served(wire))
    try:
        await wire.flood(pieces)
        await wire.send(CLEAR)
    except TimeoutError:
        if not answer.done():
            answer.cancel()
            return "held"  # no more is taken of it now: the node reads as fast as it is allowed to
    except ConnectionError:
        pass  # what the node has said is being read
    try:
        return await answer
    except Over as over:
        return "held" if str(over) == "silence" else str(over)


async def _served(wire: Wire) -> str:
    """Pass over all errors until the flood's end is answered."""
    while True:
        said = await wire.says(CLEARED)
        if not said.startswith("error"):
            return said


@attack("close 1002", must="close with 1002", is_in=True, variants=("text", "ping", "empty"))
async def unmasked_frame(target: Target, kind: str) -> str:
    """A frame without a mask, which every client has to use."""
    opcode = {"text": TEXT, "ping": PING, "empty": BINARY}[kind]
    async with session(target) as wire:
        return await after(wire, frame(opcode, b"" if kind == "empty" else b"{}", masked=False))


@attack("close 1002", must="close with 1002", is_in=True, variants=(*range(1, 8),))
async def reserved_bits(target: Target, bits: int) -> str:
    """A frame with a reserved bit set, such as the one of compression."""
    async with session(target) as wire:
        return await after(wire, frame(TEXT, "{}", reserved=bits))


@attack("close 1002", must="close with 1002, inflating nothing", is_in=True)
async def compression_bomb(target: Target, _: Any) -> str:
    """A compressed frame of 64 KiB that would be 64 MiB, though compression was offered in vain."""
    deflated = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = deflated.compress(bytes(64 * 1024 * 1024)) + deflated.flush(zlib.Z_SYNC_FLUSH)
    async with session(target, "Sec-WebSocket-Extensions: permessage-deflate") as wire:
        return await after(wire, frame(TEXT, bomb[:-4], reserved=4))


@attack("close 1002", must="close with 1002", is_in=True, variants=(3, 4, 5, 6, 7, 11, 12, 13, 14, 15))
async def reserved_opcodes(target: Target, opcode: int) -> str:
    """A frame of an opcode that means nothing."""
    async with session(target) as wire:
        return await after(wire, frame(opcode, "{}"))


CONTROL: Mapping[str, tuple[bytes, ...]] = {
    "ping in fragments": (frame(PING, fin=False),),
    "close in fragments": (frame(CLOSE, b"\x03\xe8", fin=False),),
    "long ping": (frame(PING, bytes(126)),),
    "long pong": (frame(PONG, bytes(70_000)),),
    "close of one byte": (frame(CLOSE, b"\x03"),),
    "continuation of nothing": (frame(CONT, "{}"),),
    "a message in a message": (frame(TEXT, '{"type":', fin=False), frame(TEXT, "{}")),
    "ping in a message": (frame(TEXT, "{", fin=False), frame(PING, "x"), frame(BINARY, "{}")),
}


@attack("close 1002", must="close with 1002", is_in=True, variants=tuple(CONTROL))
async def control_frames(target: Target, kind: str) -> str:
    """A control frame in fragments or too long, a fragment of nothing, a message within another."""
    async with session(target) as wire:
        return await after(wire, *CONTROL[kind])


@attack(
    *("close 1002", "close 1007"),
    must="close with 1002",
    is_in=True,
    variants=(0, 1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535),
)
async def close_codes(target: Target, code: int) -> str:
    """A goodbye with a code that must not be sent."""
    async with session(target) as wire:
        return await after(wire, frame(CLOSE, code.to_bytes(2, "big")))


INVALID = {
    "text": frame(TEXT, b'{"type": "\xff\xfe"}'),
    "half a character": frame(TEXT, b'{"type": "\xe2\x82"}'),
    "surrogate": frame(TEXT, b'{"type": "\xed\xa0\x80"}'),
    "overlong": frame(TEXT, b'{"type": "\xc0\xaf"}'),
    "in fragments": frame(TEXT, b'{"a": "\xe2', fin=False) + frame(CONT, b'\xff"}'),
    "goodbye": frame(CLOSE, b"\x03\xe8\xff\xff"),
}


@attack("close 1007", "close 1002", must="close with 1007", is_in=True, variants=tuple(INVALID))
async def invalid_utf_8(target: Target, kind: str) -> str:
    """Text that is no UTF-8, in a message, in fragments and in a goodbye."""
    async with session(target) as wire:
        return await after(wire, INVALID[kind])


@attack(
    "close 1009",
    "close 1002",
    must="close on the head, holding nothing",
    is_in=True,
    variants=(1 << 63, (1 << 63) - 1, 1 << 40, BIG),
)
async def promised_length(target: Target, length: int) -> str:
    """The head of a frame of 25 MiB, or of exabytes, and nothing behind it."""
    async with session(target) as wire:
        return await after(wire, head(TEXT, length))


def _blanks(size: int, piece: int, opcode: int) -> Iterator[bytes]:
    """A message of blanks in fragments."""
    for begin in range(0, size, piece):
        yield frame(opcode if begin == 0 else CONT, b" " * piece, fin=begin + piece >= size)


@attack(
    *("close 1009", "closed", "close 1008", "held"),
    must="close with 1009 at 24 MiB",
    is_in=True,
    variants=("whole", "fragments"),
    rate=1.0,
    at_once=1,
)
async def oversized_message(target: Target, kind: str) -> str:
    """A message of 25 MiB, in one frame or in fragments of 64 KiB."""
    pieces = _blanks(BIG, BIG if kind == "whole" else 65_536, TEXT)
    async with session(target) as wire:
        return await flooded(target, wire, pieces)


def _small(size: int) -> bytes:
    """A good message, as long as one likes."""
    return json.dumps({"type": "input_audio_buffer.clear", "event_id": "x" * size}).encode()


FLOODS: Mapping[str, Callable[[int], Iterable[bytes]]] = {
    "tiny messages": lambda count: [frame(TEXT, "x")] * count,
    "empty messages": lambda count: [frame(TEXT)] * count,
    "pings": lambda count: [frame(PING, b"x" * 125)] * count,
    "pongs": lambda count: [frame(PONG, b"x" * 125)] * count,
    "fragments of a byte": lambda count: [
        frame(TEXT, b"{", fin=False),
        *[frame(CONT, b" ", fin=False)] * count,
        frame(CONT, _small(1)[1:]),
    ],
    "empty fragments": lambda count: [
        frame(TEXT, b"{", fin=False),
        *[frame(CONT, fin=False)] * count,
        frame(CONT, _small(1)[1:]),
    ],
    "pings in a message": lambda count: [
        frame(TEXT, b"{", fin=False),
        *[frame(PING, b"x")] * count,
        frame(CONT, _small(1)[1:]),
    ],
    "unknown events": lambda count: [event("no.such.event", padding="x" * 200)] * count,
    "binary": lambda count: [frame(BINARY, bytes(range(256)))] * count,
}


@attack(
    *SERVED, must="serve it at the node's own pace, or close with 1008", is_in=True, variants=tuple(FLOODS), rate=1.0
)
async def frame_flood(target: Target, kind: str) -> str:
    """Thousands of tiny or empty frames, pings, pongs or fragments, as fast as the node takes them."""
    async with session(target) as wire:
        return await flooded(target, wire, FLOODS[kind](target.flood))


@attack(*SERVED, "closed", "close 100?", must="take no notice", is_in=True, rate=1.0)
async def talk_after_goodbye(target: Target, _: Any) -> str:
    """A goodbye, and then thousands of messages more."""
    async with session(target) as wire:
        return await flooded(target, wire, [frame(CLOSE, b"\x03\xe8"), *[CLEAR] * target.flood])


@attack(
    "closed",
    must="give it up within 30 s: pings are not answered",
    is_in=True,
    is_slow=True,
    patience_s=45.0,
    at_once=3,
)
async def half_open(target: Target, _: Any) -> str:
    """A session whose client is gone without a goodbye: nothing is read, sent, answered or closed."""
    async with connected(target) as wire:
        await wire.send(upgrade(bearer(target.credentials.hostile_key)))
        if (answer := await wire.status()) != "HTTP 101":
            return answer
        return await wire.hung_up()


LONG = "word " * 2_000
"""An item of 10 KB; to ask for it takes 70 bytes."""
RETRIEVALS = 3_000
"""30 MB: more than the buffers of both systems hold."""


AWAY = 45
"""Drips (a second each) for which nothing is read: the node gives up after 35 s."""


@attack(
    "closed",
    "close 1008",
    "close 1011",
    must="give its place back after 35 s",
    is_in=True,
    is_slow=True,
    at_once=2,
    patience_s=60.0,
)
async def never_reading(target: Target, _: Any) -> str:
    """A client that asks for megabytes and for an answer, and reads nothing of it."""
    content = [{"type": "input_text", "text": LONG}]
    item = {"id": "long", "type": "message", "role": "user", "content": content}
    async with session(target) as wire:
        wire.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of asyncio's sockets
        await wire.send(event("conversation.item.create", item=item))
        await wire.send(*[event("conversation.item.retrieve", item_id="long")] * RETRIEVALS, event("response.create"))
        await asyncio.sleep(AWAY * target.drip_s)
        wire.writer.transport.resume_reading()  # type: ignore[attr-defined]  # of what was sent before, there is some
        return await wire.end()
