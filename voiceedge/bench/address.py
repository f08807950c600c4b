"""What the command line says of a node: its address, and how it shall find the end of a turn."""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit, urlunsplit

from voiceedge.errors import ConfigError

REALTIME_PATH = "/v1/realtime"
_WEBSOCKET_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_EAGERNESS = ("low", "medium", "high", "auto")


def endpoint(url: str, model: str) -> str:
    """The address to connect to, asking for the node's own trace of every turn.

    Raises:
        ConfigError: `url` is none of the accepted forms.
    """
    parts = _parts(url)
    if parts is None:
        raise ConfigError(f"{url!r} is not a node's address: use ws://HOST:PORT, http://HOST:PORT or HOST:PORT")
    path = parts.path.rstrip("/")
    if not path.endswith("/realtime"):  # …/v1 is what the openai client calls its base_url
        path = path.removesuffix("/v1") + REALTIME_PATH
    asked = urlencode({"trace": "1", "model": model})
    query = f"{parts.query}&{asked}" if parts.query else asked
    return urlunsplit((_WEBSOCKET_SCHEMES[parts.scheme], parts.netloc, path, query, ""))


def _parts(url: str) -> SplitResult | None:
    """None for what is no address."""
    try:
        parts = urlsplit(url if "://" in url else f"ws://{url}")
        known = parts.scheme in _WEBSOCKET_SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of the port only when it is asked for
        return None
    return parts if known else None


def shown_url(url: str) -> str:
    """An address as it may be shown around: without user, password and query, in which keys stand."""
    bare = url.partition("#")[0].partition("?")[0]
    scheme, separator, rest = bare.rpartition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def turn_detection(stated: str) -> dict[str, Any]:
    """The session's `turn_detection` for the form that the command line takes.

    Raises:
        ConfigError: neither `semantic_vad[:EAGERNESS]` nor `server_vad[:SILENCE_MS]`.
    """
    kind, _, setting = stated.partition(":")
    if kind == "semantic_vad" and (not setting or setting in _EAGERNESS):
        return {"type": kind, **({"eagerness": setting} if setting else {})}
    if kind == "server_vad" and (not setting or setting.isdecimal()):
        return {"type": kind, **({"silence_duration_ms": int(setting)} if setting else {})}
    raise ConfigError(
        f"turn detection {stated!r} is neither semantic_vad[:low|medium|high|auto] nor server_vad[:SILENCE_MS]"
    )
