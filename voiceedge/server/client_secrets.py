"""Short-lived keys for clients that cannot keep one: `ek_`, and a signed token that holds what its bearer may do.

The token is a JWS (RFC 7515, HS256) whose payload is deflated, as its header `zip` says. Nothing is remembered: every
node that has the same secret knows a good one, and a secret opens as many sessions as it likes until it expires.
"""

from __future__ import annotations

import logging
import re
import secrets
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import jwt
import msgspec
from msgspec import Struct

from voiceedge.errors import InvalidRequest, Unauthorised
from voiceedge.server.grant import Grant
from voiceedge.trace import epoch_s

log = logging.getLogger(__name__)

PREFIX = "ek_"
"""OpenAI's; its clients accept no other key in a browser."""
MAX_VALUE_BYTES = 7 * 1024
"""A secret travels in one header line, of which this server and most proxies read 8 KiB, beside other subprotocols."""
KEY_BYTES = 32
"""As long as the hash, which RFC 7518 (3.2) asks for."""
ALGORITHM = "HS256"
_FORM = re.compile(r"ek_[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_RAW_DEFLATE = -15


class Claims(Struct, frozen=True):
    """What a token says; all of it has to be there."""

    aud: Literal["voiceedge.client_secret"]
    """What was signed with the same key for something else is none of ours."""
    iat: int
    """Seconds since 1970."""
    exp: int
    """The second from which on it is not good any more."""
    grant: Grant
    """Of whoever asked for it, with the settings of the sessions that it opens."""


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """A key, and when it ends."""

    value: str
    expires_at: int
    """Seconds since 1970."""


class ClientSecrets:
    """Makes client secrets, and knows those that were made with the same key."""

    def __init__(self, secret: str | None, clock: Callable[[], int] = epoch_s) -> None:
        """Take the node's secret, of at least 32 bytes; without one a random one is made.

        Args:
            secret: what signs; nodes that share it know each other's client secrets.
            clock: seconds since 1970.
        """
        if secret is None:
            log.debug("no secret is set: client secrets are signed with a random one, and end with this process")
        self._key = secrets.token_bytes(KEY_BYTES) if secret is None else secret.encode()
        self._clock = clock
        self._jws = jwt.PyJWS(algorithms=[ALGORITHM])

    def make(self, grant: Grant, lifetime_s: int) -> ClientSecret:
        """Sign what its bearer may do; the settings in it have been checked. It ends with the grant at the latest.

        Raises:
            InvalidRequest: they are too long to travel in a header.
        """
        now = self._clock()
        exp = now + lifetime_s if grant.ends_at is None else min(now + lifetime_s, grant.ends_at)
        claims = Claims(aud="voiceedge.client_secret", iat=now, exp=exp, grant=grant)
        payload = zlib.compress(msgspec.json.encode(claims), level=9, wbits=_RAW_DEFLATE)
        value = PREFIX + self._jws.encode(payload, self._key, ALGORITHM, headers={"zip": "DEF"})
        if len(value) > MAX_VALUE_BYTES:
            raise InvalidRequest(
                f"The session's settings are too long for a client secret, which would be {len(value)} characters of "
                f"{MAX_VALUE_BYTES} at most: send the longest of them in a session.update.",
                code="session_too_long",
                param="session",
            )
        return ClientSecret(value, claims.exp)

    def grant(self, value: str) -> Grant:
        """Say what the bearer of a client secret may do.

        Raises:
            Unauthorised: it was not made with this key, was changed since, or has expired.
        """
        if len(value) > MAX_VALUE_BYTES or not _FORM.fullmatch(value):
            raise _incorrect()
        try:
            payload = self._jws.decode(value.removeprefix(PREFIX), self._key, algorithms=[ALGORITHM])
            claims = msgspec.json.decode(zlib.decompress(payload, wbits=_RAW_DEFLATE), type=Claims)
        except (jwt.InvalidTokenError, zlib.error, msgspec.DecodeError, UnicodeError) as error:
            raise _incorrect() from error
        if claims.exp <= self._clock():
            raise Unauthorised("The client secret has expired: ask for a new one.", code="token_expired")
        return msgspec.structs.replace(claims.grant, is_ephemeral=True)


def _incorrect() -> Unauthorised:
    """One answer for whatever is wrong: who forges learns nothing from it."""
    return Unauthorised("The client secret is not one of this node.")
