"""HTTP that tells two readers two things, other methods, other paths, other origins, and keys where none belong."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np

from tests.adversary.attack import attack
from tests.adversary.credentials import ORIGIN
from tests.adversary.target import Target
from tests.adversary.wire import CREATED, PATH, bearer, connected, request, upgrade

MINT = "/v1/realtime/client_secrets"
BEHIND = request("GET", "/v1/node").decode()
"""What is smuggled: harmless, and answered with 200 where it gets through."""

_BOTH = ("Content-Length: 4", "Transfer-Encoding: chunked")
_ENDED = f"0\r\n\r\n{BEHIND}"
_SMUGGLED: dict[str, bytes] = {
    "both lengths": request("POST", MINT, *_BOTH, body=_ENDED),
    "both, chunked first": request("POST", MINT, *reversed(_BOTH), body=_ENDED),
    "two lengths": request("POST", MINT, "Content-Length: 0", "Content-Length: 6", body=BEHIND),
    "a list of lengths": request("POST", MINT, "Content-Length: 0, 6", body=BEHIND),
    "a signed length": request("POST", MINT, "Content-Length: +0", body=BEHIND),
    "a length in hex": request("POST", MINT, "Content-Length: 0x0", body=BEHIND),
    "another coding": request("POST", MINT, "Transfer-Encoding: xchunked", body=_ENDED),
    "two codings": request("POST", MINT, "Transfer-Encoding: chunked, identity", body=_ENDED),
    "coding twice": request("POST", MINT, _BOTH[1], "Transfer-Encoding: x", body=_ENDED),
    "a vertical tab": request("POST", MINT, "Transfer-Encoding:\x0bchunked", body=_ENDED),
    "a space before the colon": request("POST", MINT, "Transfer-Encoding : chunked", body=_ENDED),
    "a broken chunk": request("POST", MINT, _BOTH[1], body=f"1;\nx\r\nZZ\r\n\r\n{BEHIND}"),
    "a negative chunk": request("POST", MINT, _BOTH[1], body=f"-1\r\n\r\n{BEHIND}"),
    "NUL in a header": request("POST", MINT, "X-A: a\x00b", body=BEHIND),
    "a bare CR": request("POST", MINT, "X-A: a\rX-B: b", body=BEHIND),
    "no host": request("POST", MINT, host=None, body=BEHIND),
    "two hosts": request("POST", MINT, "Host: evil.example", body=BEHIND),
}
"""By what is wrong with them; a node that reads on behind its refusal answers twice."""


@attack(
    *("HTTP 400", "HTTP 401", "HTTP 501", "closed"),
    must="one answer at most, and nothing that stands behind it",
    variants=tuple(_SMUGGLED),
    rate=50,
)
async def smuggling(target: Target, variant: str) -> str:
    """A request whose end two servers would see at two places, with another one behind it."""
    async with connected(target) as wire:
        await wire.send(_SMUGGLED[variant])
        return await wire.statuses()


@attack("HTTP 400", "HTTP 401", must="read it as one line or refuse it", rate=50)
async def folded_header(target: Target, _: Any) -> str:
    """A header that goes on in the next line, to hide what it says."""
    async with connected(target) as wire:
        await wire.send(request("POST", MINT, "X-A: b", " Transfer-Encoding: chunked", "Connection: close"))
        return await wire.statuses()


@attack(
    *("HTTP 401", f"HTTP 101 {CREATED}", "closed"),
    must="answer the handshake alone",
    variants=("refused", "let in"),
    is_in=True,
)
async def pipelined_behind_upgrade(target: Target, variant: str) -> str:
    """A handshake, good or not, with a request for the metrics in the same packet."""
    key = target.credentials.hostile_key if variant == "let in" else "none"
    async with connected(target) as wire:
        await wire.send(upgrade(bearer(key)), request("GET", "/metrics"))
        if variant == "refused":
            return await wire.statuses()
        if (answer := await wire.status()) != "HTTP 101":
            return answer
        return f"HTTP 101 {await wire.says(CREATED)}"


_METHODS = {
    ("DELETE", MINT): ("HTTP 405",),
    ("GET", MINT): ("HTTP 405",),
    ("PUT", PATH): ("HTTP 405",),
    ("POST", "/v1/node"): ("HTTP 405", "HTTP 404"),
    ("POST", "/healthz"): ("HTTP 405",),
    ("TRACE", "/"): ("HTTP 405",),
    ("CONNECT", "evil.example:443"): ("HTTP 404", "HTTP 405", "HTTP 400"),
    ("OPTIONS", "*"): ("HTTP 404", "HTTP 405", "HTTP 400"),
    ("PROPFIND", "/web/"): ("HTTP 405", "HTTP 404"),
    ("GET", "http://evil.example/metrics"): ("HTTP 404", "HTTP 400"),
    ("get", "/healthz"): ("HTTP 405", "HTTP 400"),
}


@attack("refused", must="405, or nothing of that name", variants=tuple(_METHODS), rate=50)
async def other_methods(target: Target, variant: tuple[str, str]) -> str:
    """Another method than the path has, also by `X-HTTP-Method-Override`, or a path as for a proxy."""
    method, path = variant
    async with connected(target) as wire:
        await wire.send(request(method, path, "X-HTTP-Method-Override: GET", "Content-Length: 0", "Connection: close"))
        answer = await wire.statuses()
    return "refused" if answer in _METHODS[variant] else f"{answer} to {method} {path}"


_ELSEWHERE = (
    "/web/../../../../../../etc/passwd",
    "/web/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/web/..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/web/%252e%252e%252f%252e%252e%252fetc/passwd",
    "/web/..\\..\\..\\..\\etc\\passwd",
    "/web/..%5c..%5cserver%5capp.py",
    "/web//etc/passwd",
    "/web/%2fetc%2fpasswd",
    "/web/../server/app.py",
    "/web/%00../server/app.py",
    "/web/%c0%ae%c0%ae/server/app.py",
    "/web/./../config.py",
    "/web/",
    "/.env",
    "/.git/config",
    "//evil.example/%2e%2e",
)


@attack("refused", must="404, and no file but the page's own", variants=_ELSEWHERE, rate=50)
async def path_traversal(target: Target, path: str) -> str:
    """A path that leaves the folder of the page: plain, encoded once or twice, with backslashes, with NUL."""
    async with connected(target) as wire:
        await wire.send(request("GET", path, "Connection: close"))
        answer = await wire.everything()
    return "refused" if answer[9:12] in {b"400", b"404", b"405"} else f"HTTP {answer[9:12].decode()} to {path}"


_ORIGINS = (
    "https://evil.example",
    "null",
    "",
    f"{ORIGIN}.evil.example",
    f"{ORIGIN}:444",
    f"{ORIGIN}@evil.example",
    f"https://evil.example/{ORIGIN}",
    "http://app.example",
    "https://evil-app.example",
    "file://",
    "https://app.example%00.evil.example",
    "http://localhost:3000",
)


@attack("HTTP 403", "HTTP 429", must="403, though the key is good", variants=_ORIGINS, rate=50)
async def cross_origin(target: Target, origin: str) -> str:
    """A handshake with a good key from a page of another site, or of a name that looks like the allowed one."""
    async with connected(target) as wire:
        await wire.send(upgrade(bearer(target.credentials.hostile_key), f"Origin: {origin}"))
        return await wire.statuses()


_REBOUND = (
    "evil.example",
    "evil.example:8080",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "2130706433.nip.io",
)


@attack("HTTP 403", must="403: the name is none of this machine's", variants=_REBOUND, node="open", rate=50)
async def dns_rebinding(target: Target, name: str) -> str:
    """A page whose own name has been pointed at 127.0.0.1 connects to an open node, and asks it for its turns."""
    async with connected(target) as wire:
        await wire.send(upgrade(f"Origin: http://{name}", host=name))
        answer = await wire.statuses()
    if answer != "HTTP 403":
        return answer
    async with connected(target) as wire:
        await wire.send(request("GET", "/trace", f"Origin: http://{name}", "Connection: close", host=name))
        return await wire.statuses()


_PLACES = {
    "api_key": "{path}&api_key={key}",
    "key": "{path}&key={key}",
    "access_token": "{path}&access_token={key}",
    "authorization": "{path}&authorization=Bearer%20{key}",
    "api-key": "{path}&api-key={key}",
    "fragment": "{path}#{key}",
}


@attack("HTTP 401", "HTTP 400", "HTTP 429", must="401: a key in a URL is none", variants=tuple(_PLACES), rate=50)
async def key_in_url(target: Target, place: str) -> str:
    """A good key in the URL, where proxies and logs would see it."""
    path = _PLACES[place].format(path=PATH, key=target.credentials.hostile_key)
    async with connected(target) as wire:
        await wire.send(upgrade(path=path))
        return await wire.statuses()


_PROXIED = (
    "X-Forwarded-For: 127.0.0.1",
    "X-Real-IP: 127.0.0.1",
    "Forwarded: for=127.0.0.1",
    "X-Forwarded-Host: localhost",
)


@attack("HTTP 403", "HTTP 401", must="403: it came through a proxy", variants=_PROXIED, rate=50)
async def pretended_address(target: Target, header: str) -> str:
    """A request for what is the operator's that says of itself that it comes from the node's own machine."""
    for path in ("/trace", "/trace/events"):
        async with connected(target) as wire:
            await wire.send(request("GET", path, header, "Connection: close"))
            answer = await wire.statuses()
        if answer not in {"HTTP 403", "HTTP 401"}:
            return f"{answer} to {path}"
    return answer


_BODIES = {
    "too long": ("HTTP 413", "closed"),
    "endless": ("HTTP 413", "closed"),
    "deep": ("HTTP 400",),
    "list": ("HTTP 400",),
    "no text": ("HTTP 400",),
    "huge number": ("HTTP 400", "HTTP 200"),
    "long life": ("HTTP 400",),
    "instructions": ("HTTP 400",),
}


@attack("refused", "HTTP 429", must="4xx, and no more than 64 KiB are held", variants=tuple(_BODIES))
async def hostile_bodies(target: Target, kind: str) -> str:
    """A request for a client secret with a good key and a body that is too long, endless, too deep or no JSON."""
    letters = "".join(map(chr, np.random.default_rng(0).integers(97, 123, 50_000)))  # deflate makes little of them
    body = {
        "too long": "x" * 70_000,
        "endless": "",
        "deep": "[" * 60_000,
        "list": "[]",
        "no text": "\xff\xfe",
        "huge number": '{"session": {"type": "realtime", "max_output_tokens": 1e999}}',
        "long life": '{"expires_after": {"seconds": 99999999}}',
        "instructions": f'{{"session": {{"type": "realtime", "instructions": "{letters}"}}}}',
    }[kind]
    length = "Transfer-Encoding: chunked" if kind == "endless" else f"Content-Length: {len(body.encode('latin-1'))}"
    async with connected(target) as wire:
        await wire.send(
            request("POST", MINT, bearer(target.credentials.hostile_key), length, "Connection: close", body=body)
        )
        if kind == "endless":
            with suppress(ConnectionError, TimeoutError):
                await wire.flood([b"1000\r\n" + b"x" * 4096 + b"\r\n"] * 64)
        answer = await wire.statuses()
    return "refused" if answer in _BODIES[kind] else f"{answer} to {kind}"
