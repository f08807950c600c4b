"""Before anybody is let in: connections without requests, requests without an end, and what is no request at all."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

from tests.adversary.attack import Over, attack
from tests.adversary.target import Target
from tests.adversary.wire import PATH, Wire, bearer, connected, request, upgrade

HANDSHAKES = 10_000
REFUSED = ("HTTP 401", "HTTP 429")
TIMES = 16.0
"""Patience for a limit of 10 s."""


async def _drip(wire: Wire, target: Target, data: bytes) -> str:
    """Send a byte at a time until the node has had enough."""
    answer = asyncio.create_task(wire.statuses())
    with suppress(ConnectionError):
        for byte in data:
            wire.writer.write(bytes([byte]))
            done, _ = await asyncio.wait([answer], timeout=target.drip_s)
            if done:
                break
    return await answer


@attack(
    "closed", "HTTP 408", must="close within 10 s of the connect", is_slow=True, patience_s=TIMES, at_once=50, rate=50
)
async def slow_head(target: Target, _: Any) -> str:
    """A handshake's head, one byte a second, that would take minutes to be whole."""
    async with connected(target) as wire:
        return await _drip(wire, target, upgrade(bearer("x" * 200)))


@attack(
    *("closed", "HTTP 408"),
    must="close within 10 s of the connect",
    variants=("nothing", "half"),
    is_slow=True,
    patience_s=TIMES,
    at_once=100,
    rate=50,
)
async def unfinished_head(target: Target, variant: str) -> str:
    """Nothing, or half of a head, and then nothing more."""
    async with connected(target) as wire:
        if variant == "half":
            await wire.send(upgrade(bearer("x"))[:-2])
        return await wire.statuses()


IDLE, ROOM_S = 150, 5.0


@attack(
    "closed",
    must="close the oldest of an address that has more than 128, and answer who comes next",
    variants=("nothing", "half"),
    rate=2,
    at_once=2,
)
async def idle_connections(target: Target, variant: str) -> str:
    """150 connections from one address that say nothing, or half of a head, and stay; then a request from there."""
    async with AsyncExitStack() as open_ones:
        idle = [await open_ones.enter_async_context(connected(target)) for _ in range(IDLE)]
        with suppress(ConnectionError):
            for wire in idle if variant == "half" else ():
                await wire.send(upgrade(bearer("x"))[:-2])
        async with connected(target) as late:
            await late.send(request("GET", "/healthz", "Connection: close"))
            if (answer := await late.statuses()) != "HTTP 200":
                return f"{answer} to who comes next"
        async with asyncio.timeout(ROOM_S):  # sooner than for the time it takes
            return await idle[0].statuses()


@attack(
    *("closed", "HTTP 400", "HTTP 401", "HTTP 408"),
    must="refuse who has no key without the body, and close on who has one within 10 s",
    variants=("no key", "good key"),
    is_slow=True,
    patience_s=TIMES,
    at_once=50,
    rate=50,
)
async def slow_body(target: Target, variant: str) -> str:
    """A request for a client secret whose body comes one byte a second."""
    key = target.credentials.hostile_key if variant == "good key" else "none"
    length = "Content-Length: 60000"
    async with connected(target) as wire:
        await wire.send(request("POST", "/v1/realtime/client_secrets", bearer(key), length, "Connection: close"))
        return await _drip(wire, target, b" " * 200)


@attack(
    "closed",
    must="close within 10 s",
    node="tls",
    is_slow=True,
    patience_s=TIMES,
    at_once=100,
    rate=50,
    variants=(0, 5),
)
async def half_tls(target: Target, length: int) -> str:
    """The first bytes of a TLS handshake, or none, and then nothing more."""
    async with connected(target, tls=False) as wire:
        await wire.send(CLIENT_HELLO[:length])
        return "closed" if not await wire.everything() else "data"


CLIENT_HELLO = b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x02" + bytes(32) + b"\x00\x00\x04\xc0\x13\x00\x2f\x01\x00"
"""Of TLS 1.1: an RSA and an ECDHE suite, no extensions."""
ALERT = 0x15


@attack("alert", "closed", must="end it with an alert", node="tls", variants=(1, 2), rate=50)
async def old_tls(target: Target, minor: int) -> str:
    """A handshake of TLS 1.0 or 1.1."""
    async with connected(target, tls=False) as wire:
        await wire.send(CLIENT_HELLO[:10] + bytes([minor]) + CLIENT_HELLO[11:])
        answer = await wire.everything()
        if not answer:
            return "closed"
        return "alert" if answer[0] == ALERT else "accepted"


@attack("closed", "alert", must="close", node="tls", variants=("GET", "websocket", "garbage"), rate=50)
async def plain_on_tls(target: Target, variant: str) -> str:
    """Plain HTTP, a plain handshake or random bytes to the port that speaks TLS."""
    data = {
        "GET": request("GET", "/healthz"),
        "websocket": upgrade(bearer(target.credentials.hostile_key)),
        "garbage": random.Random(0).randbytes(500),
    }
    async with connected(target, tls=False) as wire:
        await wire.send(data[variant])
        answer = await wire.everything()
        if not answer:
            return "closed"
        return "alert" if answer[0] == ALERT else "answered"


@attack("connected", must="forget them", at_least=HANDSHAKES, rate=500, at_once=8)
async def connects(target: Target, _: Any) -> str:
    """10,000 connections that are gone as soon as they are there."""
    async with connected(target, tls=False):
        return "connected"


GARBAGE = random.Random(7).randbytes(600) + b"\r\n\r\n"
_WRONG_TOKEN = "eyJhbGciOiJFZERTQSIsImtpZCI6IkVkRFNBIn0.e30.AAAA"

HOSTILE: dict[str, tuple[Callable[[Target], bytes], tuple[str, ...]]] = {
    "no key": (lambda _: upgrade(), REFUSED),
    "wrong key": (lambda _: upgrade(bearer("ve_" + "A" * 43)), REFUSED),
    "wrong token": (lambda _: upgrade(bearer(_WRONG_TOKEN)), REFUSED),
    "lost key": (lambda target: upgrade(bearer(target.credentials.lost_key)), REFUSED),
    "wrong secret": (
        lambda _: upgrade("Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.ek_a.b.c"),
        REFUSED,
    ),
    "wrong path": (lambda _: upgrade(path="/admin"), ("HTTP 403", "HTTP 404", *REFUSED)),
    "wrong origin": (
        lambda target: upgrade(bearer(target.credentials.hostile_key), "Origin: https://evil.example"),
        ("HTTP 403", "HTTP 429"),
    ),
    "wrong version": (lambda _: upgrade(version="7"), ("HTTP 426", "HTTP 400")),
    "no WebSocket key": (
        lambda _: request("GET", PATH, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
        ("HTTP 400",),
    ),
    "garbage": (lambda _: GARBAGE, ("HTTP 400", "closed")),
    "TLS": (lambda _: CLIENT_HELLO + b"\r\n\r\n", ("HTTP 400", "closed")),
    "POST": (lambda _: upgrade(method="POST"), ("HTTP 400", "HTTP 405")),
}
"""Handshakes that open nothing, and what each is answered."""


async def _shake(target: Target, kind: str) -> str:
    async with connected(target) as wire:
        await wire.send(HOSTILE[kind][0](target))
        answer = await wire.statuses()
    return answer if answer in HOSTILE[kind][1] else f"{answer} to {kind}"


HOSTILE_ANSWERS = sorted({answer for _, answers in HOSTILE.values() for answer in answers})


@attack(
    *HOSTILE_ANSWERS,
    must="refuse each before the upgrade, with flat memory",
    variants=tuple(HOSTILE),
    at_least=HANDSHAKES,
    rate=250,
    at_once=8,
    addresses=1,
)
async def hostile_handshakes(target: Target, kind: str) -> str:
    """10,000 handshakes from one address without a key, with a bad one, to a bad path, of a bad form, or garbage."""
    return await _shake(target, kind)


@attack(
    *HOSTILE_ANSWERS,
    must="refuse each before the upgrade, with flat memory",
    variants=tuple(HOSTILE),
    at_least=HANDSHAKES,
    rate=250,
    at_once=8,
)
async def hostile_handshakes_from_everywhere(target: Target, kind: str) -> str:
    """The same 10,000 handshakes from 250 addresses."""
    return await _shake(target, kind)


@attack(
    *("HTTP 400", "HTTP 414", "HTTP 431", "HTTP 401", "closed"),
    must="refuse before 64 KiB are read",
    variants=("line", "lines", "url", "subprotocols", "key", "host", "cookie"),
)
async def oversized_head(target: Target, variant: str) -> str:
    """A head with a line of 64 KiB, 5,000 lines, a URL of 100 KiB, 10,000 subprotocols, or a key of 60 KB."""
    data = {
        "line": upgrade("X-Long: " + "x" * 65_536),
        "lines": upgrade(*(f"X-{number}: x" for number in range(5_000))),
        "url": upgrade(path=PATH + "&x=" + "x" * 102_400),
        "subprotocols": upgrade("Sec-WebSocket-Protocol: " + ", ".join(f"p{number}" for number in range(10_000))),
        "key": upgrade(bearer("x" * 60_000)),
        "host": upgrade(host="x" * 65_536),
        "cookie": upgrade("Cookie: " + "a=b; " * 13_000),
    }[variant]
    async with connected(target) as wire:
        with suppress(ConnectionError):
            await wire.send(data)
        return await wire.statuses()


@attack("HTTP 400", "closed", must="answer as HTTP/1.1 or close", variants=("preface", "h2c"), rate=50)
async def http_2(target: Target, variant: str) -> str:
    """HTTP/2 by prior knowledge, or asked for with an upgrade."""
    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    async with connected(target) as wire:
        if variant == "preface":
            await wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)
            return await wire.statuses()
        upgraded = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
        await wire.send(request("GET", "/trace", *upgraded, "X-Forwarded-For: 127.0.0.1"))
        answer = await wire.status()
        # an h2c that is not spoken is a request like any other
        return "HTTP 400" if answer in {"HTTP 400", "HTTP 403"} else answer


@attack("HTTP 101", must="offer no extension", is_in=True, variants=("one", "many", "strange"))
async def compression_offered(target: Target, variant: str) -> str:
    """A handshake that offers permessage-deflate: once, a thousand times, or with strange parameters."""
    offered = {
        "one": "permessage-deflate; client_max_window_bits",
        "many": ", ".join(["permessage-deflate"] * 300),
        "strange": 'permessage-deflate; server_max_window_bits=99; x="\\"", x-webkit-deflate-frame',
    }[variant]
    async with connected(target) as wire:
        await wire.send(upgrade(bearer(target.credentials.hostile_key), f"Sec-WebSocket-Extensions: {offered}"))
        answer = await wire.answer_head()
        if b"sec-websocket-extensions" in answer.lower():
            raise Over("negotiated")
        return f"HTTP {answer[9:12].decode()}"
