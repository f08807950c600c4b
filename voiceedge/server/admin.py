"""Who may see what the node shows its operator: `/metrics`, `/trace`."""

from __future__ import annotations

import base64
import hmac
import math
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from voiceedge.server.address import Proxies, is_loopback_address
from voiceedge.server.auth import BEARER
from voiceedge.server.bad_keys import BadKeys
from voiceedge.server.refusals import refusal
from voiceedge.trace import Clock, now

Endpoint = Callable[[Request], Awaitable[Response]]
"""What answers a request."""

BASIC = "basic "
ASK = {"WWW-Authenticate": 'Basic realm="VoiceEdge", charset="UTF-8"', "Cache-Control": "no-store"}
"""A browser asks for name and password then (RFC 7617); any name will do."""
WRONG_KEY = "This is for the node's operator: send the admin key as a bearer token, or as the password to any name."
TOO_MANY = "Too many admin keys that were not good have come from your address."
NOT_HERE = (
    "Without an admin key this is for requests from the node's own machine to localhost only, not through a proxy: "
    "set admin_key to see it from elsewhere."
)
LOCALHOST = "localhost"
PROXY_HEADERS = ("forwarded", "via", "x-real-ip")
"""Whoever sends one of these, or any `x-forwarded-…`, passes on what somebody else has asked."""


class Admin:
    """Guards what only the operator may see.

    With a key, whoever brings it. Without, whoever asks from the node's own machine: a proxy there would let the whole
    world in, so what has come through one does not count.

    Unlike other keys this one is chosen by people, and might be guessed: an address from which too many wrong ones came
    has to wait, whatever it brings.
    """

    def __init__(self, key: str | None, proxies: Proxies | None = None, clock: Clock = now) -> None:
        self._key = None if key is None else key.encode()
        self._proxies = proxies or Proxies()
        self._wrong = BadKeys()
        self._clock = clock

    def guard(self, endpoint: Endpoint) -> Endpoint:
        """The same endpoint, for the operator only; others get 401 or 429 (a key is set), or 403 (none is)."""

        async def guarded(request: Request) -> Response:
            refused = self._refused(request)
            return await endpoint(request) if refused is None else refused

        return guarded

    def _refused(self, request: Request) -> Response | None:
        """The refusal of whoever is not the operator."""
        if self._key is None:
            is_here = _is_from_here(request) and not self._proxies.is_proxy(request.scope)
            return None if is_here else refusal(403, "admin_only", NOT_HERE)
        brought, address, moment = _key_of(request), self._proxies.client(request.scope), self._clock()
        if brought and (wait_s := self._wrong.wait_s(address, moment)) > 0:
            return refusal(429, "too_many_bad_keys", TOO_MANY, {"Retry-After": str(math.ceil(wait_s))})
        if hmac.compare_digest(brought, self._key):
            return None
        if brought:  # a browser asks without one first
            self._wrong.count(address, moment)
        return refusal(401, "admin_key_required", WRONG_KEY, ASK)


def _key_of(request: Request) -> bytes:
    """The key that a request brings; empty, which is no key, without one."""
    authorization = request.headers.get("authorization", "")
    if authorization.lower().startswith(BEARER):
        return authorization[len(BEARER) :].strip().encode("latin-1")  # the bytes that came
    if authorization.lower().startswith(BASIC):
        try:
            _, _, password = base64.b64decode(authorization[len(BASIC) :], validate=True).partition(b":")
        except ValueError:
            return b""
        return password
    return b""


def _is_from_here(request: Request) -> bool:
    """Whether a request comes from this machine and is meant for it, as far as one can know.

    A page of any site can point its own name at 127.0.0.1 and let a browser on this machine ask (DNS rebinding): the
    name that the browser then says is not one of this machine's.
    """
    if any(name in PROXY_HEADERS or name.startswith("x-forwarded-") for name in request.headers):
        return False
    sender = request.client.host if request.client is not None else ""  # a Unix socket has none: a proxy's, most likely
    asked = _name_of(request.headers.get("host", LOCALHOST))
    return is_loopback_address(sender) and (asked == LOCALHOST or is_loopback_address(asked))


def _name_of(host: str) -> str:
    """A host without its port; empty where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
