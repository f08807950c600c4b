"""Static keys of a few known callers, of which the file holds only hashes.

    [[key]]
    name = "shop-7"            # in the log, and the tenant unless one is named
    sha256 = "2bb80d53…"       # voiceedge token key shop-7
    sessions = 2               # at a time; optional
    seconds = 3600             # of a conversation; optional

A key is made by the node, of 256 random bits: no table and no guessing finds it from its hash, so a slow password hash
would only slow the handshake down.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from voiceedge.errors import ConfigError, Unauthorised
from voiceedge.server.grant import Count, Grant, Name

log = logging.getLogger(__name__)

PREFIX = "ve_"
"""By which people and secret scanners recognise a key."""
MAX_KEY_BYTES = 256
KEY_BYTES = 32


class StoredKey(Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of the file."""

    name: Name
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    tenant: Name | None = None
    sessions: Count | None = None
    seconds: Count | None = None


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    key: list[StoredKey] = []


class ApiKeys:
    """The keys of one file, read again when it has changed."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            ConfigError: it cannot be read, or is no such file.
        """
        self._path = path
        self._grants: dict[str, Grant] = {}
        self._version: tuple[int, int] | None = None
        self._complaint: str | None = None
        self._read()

    def refresh(self) -> None:
        """Read the file again if it has changed: a key whose entry is gone is not good any more.

        A file that cannot be read any more leaves the keys as they were: half a file must not lock everybody out. That
        is said once, and not to everybody who knocks.
        """
        complaint = None
        try:
            self._read()
        except ConfigError as error:
            complaint = str(error)
            if complaint != self._complaint:
                log.warning("The keys stay as they were. %s", complaint)
        self._complaint = complaint

    def knows(self, key_hash: str) -> bool:
        """Whether the key that a grant was given for is still good."""
        return key_hash in self._grants

    def _read(self) -> None:
        try:
            stat = self._path.stat()
            version = (stat.st_mtime_ns, stat.st_size)
            if version == self._version:
                return
            text = self._path.read_bytes()
            self._version = version  # whatever is in it: the same text is not read twice
            stored = msgspec.convert(tomllib.loads(text.decode()), _File).key
        except OSError as error:
            raise ConfigError(f"The keys in {self._path} cannot be read: {error.strerror}.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
            raise ConfigError(f"{self._path} is no file of keys: {error}.") from error
        grants = {one.sha256: _grant(one) for one in stored}
        if len(grants) < len(stored) or len({one.name for one in stored}) < len(stored):
            raise ConfigError(f"{self._path} holds a name or a key twice.")
        self._grants = grants

    def grant(self, key: str) -> Grant:
        """Say what the bearer of a key may do.

        Raises:
            Unauthorised: there is no such key.
        """
        # found by its hash: how long that takes says something about the hash, and nothing about the key
        found = self._grants.get(hashed(key)) if len(key) <= MAX_KEY_BYTES else None
        if found is None:
            raise Unauthorised("The key is not good.")
        return found


def _grant(stored: StoredKey) -> Grant:
    return Grant(
        tenant=stored.tenant or stored.name,
        subject=stored.name,
        key_hash=stored.sha256,
        sessions=stored.sessions,
        seconds=stored.seconds,
    )


def make_key() -> str:
    """Make a new key; only its hash belongs into the file."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def hashed(key: str) -> str:
    """What the file holds of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
