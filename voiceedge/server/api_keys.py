"""Static keys of a few known callers, of which the file holds only hashes.

    [[key]]
    name = "shop-7"            # in the log, and the tenant unless one is named
    sha256 = "2bb80d53…"       # voiceedge token key shop-7
    sessions = 2               # at a time; optional
    seconds = 3600             # of a conversation; optional
    audio_seconds_an_hour = 7200                            # of all together; also sessions_, messages_, bytes_an_hour

A key is made by the node, of 256 random bits: no table and no guessing finds it from its hash, so a slow password hash
would only slow the handshake down.
"""

from __future__ import annotations

import hashlib
import secrets
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from voiceedge.errors import Unauthorised
from voiceedge.server.grant import Grant, Limits, Name
from voiceedge.server.watched_file import WatchedFile

PREFIX = "ve_"
"""By which people and secret scanners recognise a key."""
MAX_KEY_BYTES = 256
KEY_BYTES = 32


class StoredKey(Limits, frozen=True, forbid_unknown_fields=True):
    """An entry of the file."""

    name: Name
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    tenant: Name | None = None


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    key: list[StoredKey] = []


class ApiKeys:
    """The keys of one file; one whose entry is taken out is not good any more."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            ConfigError: it cannot be read, or is no such file.
        """
        self._file = WatchedFile(path, _read_keys, "file of keys")

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        self._file.refresh()

    def knows(self, key_hash: str) -> bool:
        """Whether the key that a grant was given for is still good."""
        return key_hash in self._file.content

    def grant(self, key: str) -> Grant:
        """Say what the bearer of a key may do.

        Raises:
            Unauthorised: there is no such key.
        """
        # found by its hash: how long that takes says something about the hash, and nothing about the key
        found = self._file.content.get(hashed(key)) if len(key) <= MAX_KEY_BYTES else None
        if found is None:
            raise Unauthorised("The key is not good.")
        return found


def _read_keys(text: str) -> dict[str, Grant]:
    """What a file of keys grants, by the keys' hashes.

    Raises:
        ValueError: it is no such file.
    """
    stored = msgspec.convert(tomllib.loads(text), _File).key
    grants = {one.sha256: _grant(one) for one in stored}
    if len(grants) < len(stored) or len({one.name for one in stored}) < len(stored):
        raise ValueError("it holds a name or a key twice")
    return grants


def _grant(stored: StoredKey) -> Grant:
    return Grant(
        tenant=stored.tenant or stored.name,
        subject=stored.name,
        key_hash=stored.sha256,
        **stored.limits(),
    )


def make_key() -> str:
    """Make a new key; only its hash belongs into the file."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def hashed(key: str) -> str:
    """What the file holds of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
