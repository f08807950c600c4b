"""JSON Web Tokens of an identity provider: who may talk here, and how much.

What a token is checked with is decided by the node and never by the token: its header only says which of the known keys
it claims, and an algorithm that has to be that key's own and one of those configured. `jku`, `x5u`, `jwk` and `crit`
lead nowhere (RFC 8725).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

import jwt
import msgspec
from jwt import PyJWK
from msgspec import Meta, Struct

from voiceedge.errors import Unauthorised
from voiceedge.server.grant import Grant, Limits, Name
from voiceedge.server.jwks import Jwks
from voiceedge.trace import epoch_s

Algorithm = Literal["EdDSA", "ES256", "RS256", "HS256"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
LEEWAY_S = 30
"""Two machines' clocks may differ by so much."""
MAX_TOKEN_BYTES = 7 * 1024
"""It travels in one header line, of which 8 KiB are read."""
MAX_KEY_ID = 256
_REQUIRED = ["exp", "nbf", "iss", "aud", "sub"]
_UNREADABLE = (ValueError, TypeError, RecursionError)
"""JSON with fields of other types, or nested too deep, which older PyJWT lets through."""

Moment = Annotated[float, Meta(ge=0, le=2**53)]
"""Seconds since 1970; RFC 7519 allows fractions, and JSON infinity."""


class UncheckedError(Unauthorised):
    """A token is not good, which could be seen without checking a signature."""


class Claim(Limits, frozen=True):
    """The claim `voiceedge` of a token."""

    tenant: Name | None = None
    """Who pays; the subject, where it is not said."""
    session: dict[str, Any] = msgspec.field(default_factory=dict)
    """The agent: what its sessions begin with, as in a session.update."""


class _Claims(Struct, frozen=True):
    sub: Name
    exp: Moment
    nbf: Moment
    jti: Name | None = None
    voiceedge: Claim = Claim()


class Tokens:
    """Checks tokens of one issuer for one audience.

    Args:
        keys: The issuer's public keys; the shared secret for HS256, which has to be the only algorithm then.
        issuer: `iss` that a token must have.
        audience: `aud` that has to be among a token's.
        algorithms: What may have signed.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        keys: Jwks | bytes,
        *,
        issuer: str,
        audience: str,
        algorithms: tuple[Algorithm, ...],
        clock: Callable[[], int] = epoch_s,
    ) -> None:
        # a secret and a public key are never candidates for the same token (CVE-2016-10555)
        assert (algorithms == ("HS256",)) if isinstance(keys, bytes) else "HS256" not in algorithms
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._algorithms = algorithms
        self._clock = clock

    async def grant(self, token: str) -> Grant:
        """Say what the bearer of a token may do.

        Raises:
            Unauthorised: it is not good; one message for whatever is wrong with it, but for its time. UncheckedError,
                if that cost next to nothing.
            KeysUnavailable: that cannot be told now.
        """
        algorithm, key = await self._named(token)
        try:
            claims = msgspec.convert(self._decoded(token, key, algorithm), _Claims)
            msgspec.json.encode(claims)  # JSON may hold half a character (\ud800), which goes into no log and no answer
        except (jwt.InvalidTokenError, jwt.PyJWKError, msgspec.ValidationError, *_UNREADABLE) as error:
            raise _not_good() from error
        now = self._clock()
        if claims.exp + LEEWAY_S <= now:
            raise Unauthorised("The token has expired.", code="token_expired")
        if claims.nbf - LEEWAY_S > now:
            raise Unauthorised("The token is not good yet: are both clocks right?", code="token_not_yet_valid")
        allowed = claims.voiceedge
        return Grant(
            tenant=allowed.tenant or claims.sub,
            subject=claims.sub,
            token_id=claims.jti,
            ends_at=math.ceil(claims.exp) + LEEWAY_S,  # in the leeway, too, a session is one
            updates=(allowed.session,) if allowed.session else (),
            **allowed.limits(),
        )

    async def _named(self, token: str) -> tuple[str, PyJWK | bytes]:
        """Find what a token is checked with.

        Raises:
            UncheckedError: there is nothing.
            KeysUnavailable: that cannot be told now.
        """
        try:
            if len(token) > MAX_TOKEN_BYTES:
                raise _not_good()
            return await self._key(jwt.get_unverified_header(token))
        except (Unauthorised, jwt.InvalidTokenError, jwt.PyJWKError, *_UNREADABLE) as error:
            raise UncheckedError(str(_not_good())) from error

    async def _key(self, header: dict[str, Any]) -> tuple[str, PyJWK | bytes]:
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in self._algorithms:
            raise _not_good()
        if isinstance(self._keys, bytes):
            return "HS256", self._keys
        if key_id is not None and (not isinstance(key_id, str) or len(key_id) > MAX_KEY_ID):
            raise _not_good()
        key = await self._keys.key(key_id)
        if key.algorithm_name != algorithm:
            raise _not_good()
        return str(algorithm), key

    def _decoded(self, token: str, key: PyJWK | bytes, algorithm: str) -> dict[str, Any]:
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=self._audience,
            issuer=self._issuer,
            # times are judged by the node's own clock, above
            options={"require": _REQUIRED, "verify_exp": False, "verify_nbf": False, "verify_iat": False},
        )


def _not_good() -> Unauthorised:
    """One answer for whatever is wrong: who forges learns nothing from it."""
    return Unauthorised("The token is not good.")
