"""Who connects: the one place that decides, before a handshake is upgraded or a request is answered.

A node may know static keys (`ve_…`), tokens of an issuer (three parts with dots) and the client secrets (`ek_…`) that
it signs itself. Without keys and tokens it is open: whoever reaches the port may talk, and brings any key or
none, since clients insist on sending one; but an `ek_…` has to be one of its own.

An address that brings forged tokens one after another is told to wait, and its tokens are not looked at meanwhile: to
check a signature of an issuer is work that strangers could give. But behind the address of one who floods there may be
an office, or a mobile network, of honest people: a token that was good before is judged all the same, so that whoever
has talked may connect anew, and so are static keys and client secrets, because a hash of a few bytes costs less than
the refusal and none of them is guessed. For the same reason those that are not good do not count, nor does what is no
token at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from msgspec.structs import replace

from voiceedge.errors import Forbidden, LimitReached, Unauthorised
from voiceedge.server import api_keys
from voiceedge.server.address import UNKNOWN, Proxies, is_loopback
from voiceedge.server.api_keys import ApiKeys
from voiceedge.server.bad_keys import BadKeys
from voiceedge.server.client_secrets import PREFIX, ClientSecrets
from voiceedge.server.grant import ANYBODY, Grant
from voiceedge.server.known_tokens import KnownTokens
from voiceedge.server.revoked import Revoked
from voiceedge.server.tokens import Tokens, UncheckedError
from voiceedge.trace import Clock, now

BEARER = "bearer "
SUBPROTOCOL_KEY = "openai-insecure-api-key."
"""How a browser, whose WebSockets have no headers, brings its key."""
REVOKED = "The key or token is not good any more."


class Door:
    """Knows who may come in.

    Args:
        client_secrets: Knows a good one.
        api_keys: Static keys; None for none.
        tokens: Tokens of an issuer; None for none.
        revoked: What is not good any more before its time; None for nothing.
        origins: Where pages may come from (`https://shop.example`) whose scripts connect. Empty: anywhere, when a key
            is asked for, which no browser sends by itself; else this machine and, unless `is_local`, this node.
        is_local: Only this machine reaches the node. A page of any site can then point its own name at this machine
            (DNS rebinding), so that it seems to come from the node: what counts is that its name is the machine's.
        proxies: Who may say whom they ask for.
        clock: Seconds.
    """

    def __init__(
        self,
        client_secrets: ClientSecrets,
        *,
        api_keys: ApiKeys | None = None,
        tokens: Tokens | None = None,
        revoked: Revoked | None = None,
        origins: Sequence[str] = (),
        is_local: bool = True,
        proxies: Proxies | None = None,
        clock: Clock = now,
    ) -> None:
        self.client_secrets = client_secrets
        """Also those that it makes."""
        self.proxies = proxies or Proxies()
        """Know the address that somebody comes from."""
        self._bad_keys = BadKeys()
        self._good_tokens = KnownTokens()
        self._clock = clock
        self._api_keys = api_keys
        self._tokens = tokens
        self._revoked = revoked
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._is_local = is_local

    @property
    def is_open(self) -> bool:
        """Whether anybody may come in."""
        return self._api_keys is None and self._tokens is None

    async def grant(
        self, headers: Mapping[str, str], subprotocols: Sequence[str] = (), address: str = UNKNOWN
    ) -> Grant:
        """Say what the sender of a request or a handshake may do.

        Args:
            headers: by lower-case name.
            subprotocols: what a handshake offers; () for a request.
            address: where it comes from (`Proxies.client`).

        Raises:
            Unauthorised: no key, or one that is not good.
            LimitReached: too many forged tokens have come from the address, and this key is not good either, or is a
                token that nobody knows and was not looked at.
            Forbidden: the page that connects is none of those that may.
            KeysUnavailable: whether a token is good cannot be told now.
        """
        self._check_origin(headers)
        key = key_of(headers, subprotocols)
        if key is None or not self._is_token(key):
            return await self._granted(key)
        wait_s = self._bad_keys.wait_s(address, self._clock())
        if wait_s > 0 and key not in self._good_tokens:
            raise _too_many(wait_s)
        try:
            granted = await self._granted(key)
        except UncheckedError:
            raise
        except Unauthorised:
            self._good_tokens.forget(key)
            self._bad_keys.count(address, self._clock())
            raise
        self._good_tokens.remember(key)
        return granted

    def is_good(self, grant: Grant) -> bool:
        """Whether what was granted once still is: static keys may be taken away, and tokens revoked."""
        if self._revoked is not None:
            self._revoked.refresh()
            if self._revoked.names(grant):
                return False
        if grant.key_hash is None:
            return True
        if self._api_keys is None:
            return False
        self._api_keys.refresh()
        return self._api_keys.knows(grant.key_hash)

    async def _granted(self, key: str | None) -> Grant:
        granted = await self._known(key)
        if not self.is_good(granted):
            raise Unauthorised(REVOKED, code="token_revoked")
        return granted

    async def _known(self, key: str | None) -> Grant:
        if key is not None and key.startswith(PREFIX):
            granted = self.client_secrets.grant(key)
            # what is made for anybody else has a token's end or a static key's hash
            if not self.is_open and replace(granted, updates=(), is_ephemeral=False) == ANYBODY:
                raise Unauthorised("The client secret is of a node that asks for no key, and this one does.")
            return granted
        if self.is_open:
            return ANYBODY
        if key is None:
            raise Unauthorised("A key is needed: send it as Authorization: Bearer.", code="missing_api_key")
        if self._api_keys is not None and key.startswith(api_keys.PREFIX):
            self._api_keys.refresh()
            return self._api_keys.grant(key)
        if self._tokens is not None:
            return await self._tokens.grant(key)
        raise Unauthorised("The key is not good.")

    def _is_token(self, key: str) -> bool:
        """Whether a key is looked at as one that an issuer has signed."""
        is_static = self._api_keys is not None and key.startswith(api_keys.PREFIX)
        return self._tokens is not None and not is_static and not key.startswith(PREFIX)

    def _check_origin(self, headers: Mapping[str, str]) -> None:
        """A page of any site can make its visitor's browser connect to a node that the visitor reaches."""
        origin = headers.get("origin")
        if origin is None:  # no browser
            return
        if self._origins:
            allowed = origin.rstrip("/").lower() in self._origins
        else:
            allowed = not self.is_open or self._is_near(origin, headers.get("host", ""))
        if not allowed:
            raise Forbidden(f"Pages of {origin[:200]} may not connect here.", code="origin_not_allowed")

    def _is_near(self, origin: str, host: str) -> bool:
        """Whether a page comes from this machine or, where others may reach it, from this node."""
        try:
            parts = urlsplit(origin)
            is_same = not self._is_local and parts.netloc.lower() == host.lower()
            return is_same or is_loopback(parts.hostname or "")
        except ValueError:
            return False


def _too_many(wait_s: float) -> LimitReached:
    return LimitReached(
        "Too many keys that were not good have come from your address.",
        code="too_many_bad_keys",
        retry_after_s=math.ceil(wait_s),
    )


def key_of(headers: Mapping[str, str], subprotocols: Sequence[str]) -> str | None:
    """Find the key, None without one. Never looked for in the URL, which proxies write into their logs."""
    authorization = headers.get("authorization", "")
    if authorization.lower().startswith(BEARER):
        return authorization[len(BEARER) :].strip()
    if "api-key" in headers:  # Azure's
        return headers["api-key"].strip()
    keys = (name.removeprefix(SUBPROTOCOL_KEY) for name in subprotocols if name.startswith(SUBPROTOCOL_KEY))
    return next(keys, None)
