"""What the node did lately: its last turns, and what can be counted of them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from itertools import islice

from msgspec import Struct

from voiceedge.budget import Budget, rank
from voiceedge.protocol.extensions import TracedSegment, TurnTraced
from voiceedge.server.network import NETWORK, round_trip_ms
from voiceedge.trace import epoch_s

KEPT_TURNS = 200
"""Turns that are kept: half an hour of one conversation, five minutes of a node that is full. The oldest go."""
KEPT_SESSIONS = 512
"""Sessions whose last turn is known, twice as many as can be open at a time. The oldest go."""
SHOWN_OF_ID = 6
"""Letters of a session's name that are shown: enough to find it in the log, of no use to anybody else."""


class LiveTurn(Struct, frozen=True):
    """One turn, as the page shows it. Holds no words."""

    number: int
    """Of the turns of this node, from 1."""
    at: int
    """When it was over, seconds since 1970."""
    session: str
    """The end of the session's name."""
    turn: int
    """Of the turns of its session, from 1."""
    status: str
    total_ms: float | None
    marks_ms: dict[str, float]
    critical_path: tuple[TracedSegment, ...]
    facts: dict[str, int | float | str]


class Percentiles(Struct, frozen=True):
    """Of the same times, in ms; None where no turn has one."""

    p50: float | None
    p95: float | None


class LimitKept(Struct, frozen=True):
    """How a limit of the budget does over the last turns."""

    what: str
    percentile: float
    limit_ms: float
    found_ms: float | None
    """None when the percentile lies among failed turns, or no turn tells it."""
    kept: bool


class Figures(Struct, frozen=True):
    """What the last turns say together, and what was counted since the start."""

    turns: int
    """Since the start."""
    last: int
    """How many of them, the newest, the percentiles are of: those that were heard."""
    failed: int
    """Of the kept ones."""
    over_budget: dict[str, int]
    """Since the start, by the segment that was to blame."""
    total: Percentiles
    segments: dict[str, Percentiles]
    budget: tuple[LimitKept, ...]


class Live:
    """Remembers turns as they end. A sink of `Judge`; all of it happens in the event loop."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.turns = 0
        """Turns since the start."""
        self.over_budget: Counter[str] = Counter()
        """Turns since the start that were over budget, by segment."""
        self._last: deque[LiveTurn] = deque(maxlen=KEPT_TURNS)
        self._by_session: dict[str, LiveTurn] = {}
        self._figures: Figures | None = None

    def report(self, session_id: str, turn: TurnTraced) -> None:
        """Remember a turn."""
        self.turns += 1
        seen = LiveTurn(
            number=self.turns,
            at=epoch_s(),
            session=short(session_id),
            turn=turn.turn,
            status=turn.status,
            total_ms=turn.total_ms,
            marks_ms=turn.marks_ms,
            critical_path=turn.critical_path,
            facts=turn.facts,
        )
        self._last.append(seen)
        self._by_session.pop(session_id, None)
        self._by_session[session_id] = seen
        if len(self._by_session) > KEPT_SESSIONS:
            del self._by_session[next(iter(self._by_session))]
        if isinstance(segment := turn.facts.get("over_budget"), str):
            self.over_budget[segment] += 1
        self._figures = None

    @property
    def recent(self) -> tuple[LiveTurn, ...]:
        """The turns that are kept, the oldest first."""
        return tuple(self._last)

    def since(self, number: int) -> tuple[LiveTurn, ...] | None:
        """Turns after `number`, the oldest first; None when one of them is no longer kept."""
        new = self.turns - number
        return None if new > len(self._last) else tuple(islice(self._last, len(self._last) - new, None))

    def last_of(self, session_id: str) -> LiveTurn | None:
        """The last turn of a session, None before its first."""
        return self._by_session.get(session_id)

    @property
    def figures(self) -> Figures:
        """What the turns say together; worked out once for each turn, and only if somebody looks."""
        if self._figures is None:
            self._figures = self._work_out()
        return self._figures

    def _work_out(self) -> Figures:
        heard = [turn for turn in self._last if turn.total_ms is not None]
        failed = [turn for turn in self._last if turn.total_ms is None and turn.status == "failed"]
        judged = [*heard, *failed]  # who was interrupted before the first sound waited for nothing
        times: dict[str, list[float]] = {}
        for turn in heard:
            for leg in _legs(turn):
                times.setdefault(leg.segment, []).append(leg.ms)
        verdicts = self.budget.verdicts([turn.total_ms for turn in judged], [_legs(turn) for turn in judged])
        return Figures(
            turns=self.turns,
            last=len(heard),
            failed=len(failed),
            over_budget=dict(self.over_budget),
            total=_percentiles(turn.total_ms for turn in heard if turn.total_ms is not None),
            segments={segment: _percentiles(ms) for segment, ms in times.items()},
            budget=tuple(
                LimitKept(one.limit.what, one.limit.percentile, one.limit.ms, one.found_ms, one.kept)
                for one in verdicts
            ),
        )


def short(session_id: str) -> str:
    """The end of a session's name."""
    return session_id[-SHOWN_OF_ID:]


def _legs(turn: LiveTurn) -> tuple[TracedSegment, ...]:
    """The node's own path, and the network where it was measured."""
    ms = round_trip_ms(turn.facts)
    return turn.critical_path if ms is None else (*turn.critical_path, TracedSegment(NETWORK, ms))


def _percentiles(times: Iterable[float]) -> Percentiles:
    ordered = sorted(times)
    if not ordered:
        return Percentiles(None, None)
    return Percentiles(*(ordered[rank(len(ordered), percent) - 1] for percent in (50.0, 95.0)))
