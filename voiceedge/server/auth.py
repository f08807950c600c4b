"""Who connects, as far as the handshake tells: the one place that decides about keys.

Client secrets (`ek_…`) are checked. Every other key, and none at all, is taken as it is: who reaches the port may talk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from voiceedge.server.client_secrets import PREFIX, ClientSecrets

BEARER = "bearer "
SUBPROTOCOL_KEY = "openai-insecure-api-key."
"""How a browser, whose WebSockets have no headers, brings its key."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who connects."""

    session: dict[str, Any]
    """What their sessions begin with, as in a session.update: a client secret's settings, {} for other keys."""
    is_ephemeral: bool
    """Came with a client secret, which opens sessions and nothing else."""


def identify(headers: Mapping[str, str], subprotocols: Sequence[str], client_secrets: ClientSecrets) -> Identity:
    """Decide who a request or a handshake comes from.

    Args:
        headers: by lower-case name.
        subprotocols: what a handshake offers; () for a request.
        client_secrets: knows a good one.

    Raises:
        Unauthorised: a client secret that is not good.
    """
    key = key_of(headers, subprotocols)
    if key is None or not key.startswith(PREFIX):
        return Identity(session={}, is_ephemeral=False)
    return Identity(session=client_secrets.settings(key), is_ephemeral=True)


def key_of(headers: Mapping[str, str], subprotocols: Sequence[str]) -> str | None:
    """Find the key, None without one. Never looked for in the URL, which proxies write into their logs."""
    authorization = headers.get("authorization", "")
    if authorization.lower().startswith(BEARER):
        return authorization[len(BEARER) :].strip()
    if "api-key" in headers:  # Azure's
        return headers["api-key"].strip()
    keys = (name.removeprefix(SUBPROTOCOL_KEY) for name in subprotocols if name.startswith(SUBPROTOCOL_KEY))
    return next(keys, None)
