"""What the bench is asked to do, checked before anything is sent."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from voiceedge.bench.address import endpoint, turn_detection
from voiceedge.bench.interval import Interval
from voiceedge.bench.pace import Pace
from voiceedge.bench.progress import Progress
from voiceedge.bench.row import LEADING_SILENCE, NETWORK, UNEXPLAINED, ZERO_SHIFT
from voiceedge.bench.tape import Tapes
from voiceedge.budget import TOTAL, Budget
from voiceedge.engines import Tts
from voiceedge.errors import ConfigError, OperatorError
from voiceedge.trace import SEGMENTS

Listen = Literal["full", "first-audible"]

LONGEST_RTT_MS = 5000.0
"""Two geostationary hops and some; above it handshakes time out."""
A_SECOND = Interval(1.0, 1.0)
LIMITED = (TOTAL, ZERO_SHIFT, *SEGMENTS, NETWORK, LEADING_SILENCE, UNEXPLAINED)
"""What a limit can be for: a turn, or one of its legs."""


class NodeUnreachable(OperatorError):
    """The node cannot be reached, or does not let the bench in."""

    exit_code = 3


class NodeFull(NodeUnreachable):
    """The node holds as many sessions as it takes."""

    def __init__(self, message: str, sessions: int = 0) -> None:
        super().__init__(message)
        self.sessions = sessions
        """How many it let in, of those that were asked for at once."""


class Halt:
    """Ends a run early, at the end of the turns that are being held: for whoever has seen enough."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self) -> None:
        """End it."""
        self.asked = True


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
    barge_in: Interval | None = None
    """Seconds of every answer that are heard before the next recording interrupts it; None hears answers out."""
    via_rtt_ms: float | None = None
    """A round trip that is put between the bench and the node."""
    tapes: Tapes | None = None
    """Where the conversations are recorded."""
    seed: int = 0
    """The same seed gives the same orders and pauses."""
    budget: Budget = field(default_factory=Budget)
    """What the turns are held against."""
    ramp: bool = False
    """Look for the largest number of conversations at once that keeps the budget, up to `at_most`."""
    soak_s: float | None = None
    """Go on with runs for so long."""
    arrivals_per_minute: float | None = None
    """Conversations of `turns` turns begin at random moments, so many a minute, whatever the node does."""
    at_most: int = 64
    """Conversations at once, with `ramp` and with arrivals."""
    halt: Halt = field(default_factory=Halt)
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
    check_limits(options.budget)
    for name, number in (
        ("sessions", options.sessions),
        ("runs", options.runs),
        ("turns", options.turns),
        ("at-most", options.at_most),
    ):
        if number is not None and number < 1:
            raise ConfigError(f"{name} is {number}: at least 1 makes a run")
    for name, amount in (("soak", options.soak_s), ("arrivals", options.arrivals_per_minute)):
        if amount is not None and not 0.0 < amount < math.inf:
            raise ConfigError(f"{name} is {amount:g}: it has to be more than 0")
    _check_kind(options)
    _check_scenario(options)
    if options.listen not in get_args(Listen):
        raise ConfigError(f"listen {options.listen!r} is neither {' nor '.join(get_args(Listen))}")


def check_limits(budget: Budget) -> None:
    """Refuse limits for what no turn has.

    Raises:
        ConfigError: says which, and what there is.
    """
    for limit in budget.limits:
        if limit.what not in LIMITED:
            raise ConfigError(f"{limit}: no part of a turn is called {limit.what!r}, only {', '.join(LIMITED)}")


def _check_kind(options: BenchOptions) -> None:
    """What cannot be asked for at the same time."""
    if options.ramp and (options.soak_s is not None or options.arrivals_per_minute is not None):
        raise ConfigError("a ramp goes by numbers of conversations: it takes neither --soak nor --arrivals")
    if options.runs > 1 and (options.ramp or options.soak_s is not None):
        raise ConfigError("--ramp and --soak go on until they know enough: --runs does not go with them")
    if options.sessions > 1 and (options.ramp or options.arrivals_per_minute is not None):
        raise ConfigError(
            "--ramp and --arrivals say how many conversations there are: --sessions does not go with them"
        )


def _check_scenario(options: BenchOptions) -> None:
    """What makes no conversation."""
    if options.via_rtt_ms is not None and not 0.0 <= options.via_rtt_ms <= LONGEST_RTT_MS:
        raise ConfigError(f"via-rtt is {options.via_rtt_ms:g}: 0 to {LONGEST_RTT_MS:g} ms are a round trip")
    if options.barge_in is not None and options.listen == "first-audible":
        raise ConfigError("an answer that is stopped at its first sound cannot be interrupted: leave --listen at full")
    if options.tapes is not None and options.arrivals_per_minute is not None:
        raise ConfigError("every conversation has a tape of its own, and arrivals are too many: no --wav with them")
