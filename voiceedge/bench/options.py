"""What the bench is asked to do, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import urlencode, urlsplit, urlunsplit

from voiceedge.bench.interval import Interval
from voiceedge.bench.pace import Pace
from voiceedge.engines import Tts
from voiceedge.errors import ConfigError, OperatorError

Listen = Literal["full", "first-audible"]
Doing = Literal["connecting", "speaking", "waiting", "listening", "done"]

REALTIME_PATH = "/v1/realtime"
_WEBSOCKET_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_EAGERNESS = ("low", "medium", "high", "auto")


A_SECOND = Interval(1.0, 1.0)


class NodeUnreachable(OperatorError):
    """The node cannot be reached, or does not let the bench in."""

    exit_code = 3


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the run is, for a live line."""

    turn: int
    """From 1, over all conversations and runs."""
    turns: int
    audio: str
    """Name of the recording."""
    doing: Doing
    all_doing: tuple[Doing, ...] = ()
    """What each of the conversations does that are held at once."""


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """One run of the probe against one node."""

    url: str
    """`ws://host:port/v1/realtime`, `http://host:port` or `host:port`."""
    audio: tuple[Path, ...] = ()
    """Recordings, folders of recordings, or lists (`.tsv`)."""
    say: tuple[str, ...] = ()
    """Texts that `tts` speaks, played after the recordings."""
    tts: Tts | None = None
    """The voice for `say`."""
    model: str = "voiceedge"
    api_key: str | None = None
    instructions: str | None = None
    """None leaves the node's own."""
    turn_detection: str = "semantic_vad"
    """`semantic_vad[:low|medium|high|auto]` or `server_vad[:SILENCE_MS]`."""
    listen: Listen = "full"
    """`full` hears every answer to its end; `first-audible` stops it (cancel and truncate, as a client does
    on barge-in) once its first audible sample was heard: quicker, but `agent_text` is only a beginning."""
    fresh: bool = False
    """A session for each recording. Otherwise all share one, as turns of one conversation do, and its history
    grows: the node's cache of the conversation is then part of what is measured."""
    think: Interval = A_SECOND
    """Seconds of quiet between the end of an answer and the next recording, drawn anew each time; a late second
    answer shows in it."""
    sessions: int = 1
    """Conversations at once, each with its own order of the recordings and its own pauses."""
    turns: int | None = None
    """Recordings that each conversation plays, some more than once if need be; None for each of them once."""
    runs: int = 1
    """How often everything is done."""
    hesitate: Interval | None = None
    """Seconds of pause that are put into the middle of every recording; None plays them as they are."""
    seed: int = 0
    """The same seed gives the same orders and pauses."""
    timeout_s: float = 20.0
    """A node that sends nothing for so long after the recording's end has not answered."""
    progress: Callable[[Progress], None] | None = None
    pace: Pace = field(default_factory=Pace)
    """Tests run media time faster than the wall."""


def check(options: BenchOptions) -> None:
    """Refuse options that make no run.

    Raises:
        ConfigError: says which, and what it may be.
    """
    endpoint(options.url, options.model)
    turn_detection(options.turn_detection)
    for name, number in (("sessions", options.sessions), ("runs", options.runs), ("turns", options.turns)):
        if number is not None and number < 1:
            raise ConfigError(f"{name} is {number}: at least 1 makes a run")
    if options.listen not in get_args(Listen):
        raise ConfigError(f"listen {options.listen!r} is neither {' nor '.join(get_args(Listen))}")


def endpoint(url: str, model: str) -> str:
    """The address to connect to, asking for the node's own trace of every turn.

    Raises:
        ConfigError: `url` is none of the accepted forms.
    """
    parts = urlsplit(url if "://" in url else f"ws://{url}")
    try:
        known = parts.scheme in _WEBSOCKET_SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:  # urlsplit checks the port only when asked
        known = False
    if not known:
        raise ConfigError(f"{url!r} is not a node's address: use ws://HOST:PORT, http://HOST:PORT or HOST:PORT")
    path = parts.path.rstrip("/")
    if not path.endswith("/realtime"):  # …/v1 is what the openai client calls its base_url
        path = path.removesuffix("/v1") + REALTIME_PATH
    asked = urlencode({"trace": "1", "model": model})
    query = f"{parts.query}&{asked}" if parts.query else asked
    return urlunsplit((_WEBSOCKET_SCHEMES[parts.scheme], parts.netloc, path, query, ""))


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
