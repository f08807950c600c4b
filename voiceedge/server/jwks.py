"""The public keys of whoever issues tokens: a JSON Web Key Set (RFC 7517) from a URL or a file, kept in memory.

A key that is known costs nothing. An unknown one asks the issuer again, but not more often than the cooldown allows:
who invents key ids cannot make this node flood its issuer. Keys are renewed behind the back of those who connect, and
before use where nobody came for long. While the issuer cannot be reached the old ones go on being good, for a bounded
time.
"""

from __future__ import annotations

import asyncio
import http.client
import logging
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import jwt
from jwt import PyJWK, PyJWKSet

from voiceedge.errors import ConfigError, KeysUnavailable, Unauthorised, VoiceEdgeError
from voiceedge.trace import Clock, now

log = logging.getLogger(__name__)

FRESH_S = 300.0
"""Older keys are renewed when somebody uses one, and before that when they are twice as old: a key that its issuer has
withdrawn is good for twice as long at most, while the issuer is there to say so."""
STALE_S = 24 * 3600.0
"""Keys of an issuer that cannot be reached are good for so long: a night's outage there is none here."""
COOLDOWN_S = 30.0
"""Between two questions about keys that nobody knows, and between two attempts that failed."""
PATIENCE_S = 3.0
"""Longest wait for the issuer; somebody may stand at the door meanwhile."""
RETRY_S = 30
MAX_BYTES = 256 * 1024
"""Some hundred keys. A longer answer is no key set."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

Fetch = Callable[[], bytes]
"""Blocks; raises OSError."""


class Jwks:
    """Keys by their id. Belongs to one event loop.

    Args:
        fetch: Reads the key set; runs in a thread.
        name: What it is called in the log and in messages.
        clock: Seconds, monotonic.
    """

    def __init__(self, fetch: Fetch, name: str, clock: Clock = now) -> None:
        self._fetch = fetch
        self._name = name
        self._clock = clock
        self._keys: dict[str | None, PyJWK] = {}
        self._renewed: float | None = None
        self._tried: float | None = None
        self._renewal: asyncio.Task[None] | None = None

    async def key(self, key_id: str | None) -> PyJWK:
        """Find a key.

        Raises:
            Unauthorised: the issuer has no such key.
            KeysUnavailable: nobody can tell, because the issuer has not been reached for too long.
        """
        if (key_id not in self._keys or self._is_older(2 * FRESH_S)) and not self._is_cooling():
            await self._renewed_soon()
        if self._is_older(STALE_S):
            raise KeysUnavailable("Tokens cannot be checked: their issuer is out of reach.", retry_after_s=RETRY_S)
        if self._is_older(FRESH_S) and not self._is_cooling():
            self._renew()
        try:
            return self._keys[key_id]
        except KeyError:
            raise Unauthorised("The token is not good.") from None

    async def close(self) -> None:
        """Wait for the question under way, if there is one."""
        if self._renewal is not None:
            await asyncio.wait([self._renewal])

    def _is_older(self, seconds: float) -> bool:
        return self._renewed is None or self._clock() - self._renewed > seconds

    def _is_cooling(self) -> bool:
        return self._tried is not None and self._clock() - self._tried < COOLDOWN_S

    def _renew(self) -> asyncio.Task[None]:
        """Ask the issuer; whoever comes while it is being asked waits for the same answer."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._ask(), name="jwks")
        return self._renewal

    async def _renewed_soon(self) -> None:
        """Wait for the issuer's answer, but not for long; who is cancelled meanwhile leaves it to the others."""
        await asyncio.wait([self._renew()], timeout=PATIENCE_S)

    async def _ask(self) -> None:
        try:
            self._keys = read_key_set(await asyncio.to_thread(self._fetch))
            self._renewed = self._clock()
        except (OSError, http.client.HTTPException, InvalidKeySet) as error:
            log.warning("the keys of %s cannot be read: %s", self._name, error)
        finally:
            self._tried = self._clock()


class InvalidKeySet(VoiceEdgeError):
    """What was read holds no public key that a token can be checked with."""


def read_key_set(text: bytes) -> dict[str | None, PyJWK]:
    """Read the public signing keys of a key set, by their id; without one, where there is but one key, by None.

    Symmetric keys are left out: what is public cannot be a secret.

    Raises:
        InvalidKeySet: it is none, or holds no such key.
    """
    try:
        keys = [key for key in PyJWKSet.from_json(text.decode()) if _signs(key)]
    except (jwt.PyJWTError, ValueError, AttributeError, LookupError, TypeError, RuntimeError) as error:
        raise InvalidKeySet(f"that is no key set ({type(error).__name__})") from error
    if not keys:
        raise InvalidKeySet("it holds no public key for signatures")
    found: dict[str | None, PyJWK] = {key.key_id: key for key in keys if isinstance(key.key_id, str)}
    if len(keys) == 1:
        found[None] = keys[0]
    if not found:
        raise InvalidKeySet("it holds several keys, and none has an id")
    return found


def _signs(key: PyJWK) -> bool:
    return key.key_type != "oct" and key.public_key_use in (None, "sig")


def source(location: str) -> Fetch:
    """How to read a key set from a URL or a file.

    Raises:
        ConfigError: a URL over which anybody on the way could change the keys.
    """
    parts = urlsplit(location)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return lambda: _download(location)
    if parts.scheme == "http":
        raise ConfigError(f"The keys at {location} would come unprotected: use https.")
    path = Path(location).expanduser()
    if not path.is_file():
        raise ConfigError(f"There is no key set at {path}: give a file or an https URL.")
    return path.read_bytes


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would move the trust to an address that nobody configured."""

    def redirect_request(self, *_: object) -> None:
        return None


def _download(url: str) -> bytes:
    opener = urllib.request.build_opener(_NoRedirects)
    with opener.open(url, timeout=PATIENCE_S) as answer:  # checked to be https, or of this machine
        body: bytes = answer.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise OSError(f"more than {MAX_BYTES} bytes")
    return body
