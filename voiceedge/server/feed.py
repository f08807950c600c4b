"""What the node does, told to whoever watches `/trace`: server-sent events.

A watcher has no queue. Each has only the number of the last turn that it was told, and the turns that are kept stand
for whoever is behind: if it falls so far behind that one of them is gone, its stream ends, and the browser begins anew.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Literal

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from voiceedge import __version__
from voiceedge.server.admission import Admission
from voiceedge.server.live import Figures, Live, LiveTurn, short
from voiceedge.server.network import round_trip_ms
from voiceedge.server.readiness import State, readiness
from voiceedge.server.refusals import refusal
from voiceedge.server.serving import DRAIN_S
from voiceedge.session.node import Node
from voiceedge.session.session import Session
from voiceedge.trace import Clock, cpu_now, epoch_s, now

TICK_S = 0.25
"""How often a watcher is told what has changed: as often as an eye can follow figures."""
BEAT_S = 15.0
"""After so long without an event one is sent all the same: proxies close what is silent, and who hears nothing for
longer than this knows that the node is gone."""
RETRY_MS = 2000
"""When a browser that has lost its stream tries again."""
MAX_WATCHERS = 16
"""Full: 503."""
CPU_WINDOW_S = 4.0
"""What the CPU's share is an average of."""
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""The latter keeps nginx from holding events back."""


class LiveSession(Struct, frozen=True):
    """One open session, as the page shows it."""

    id: str
    """The end of its name."""
    state: Literal["idle", "hearing", "thinking", "speaking"]
    opened_at: int
    """Seconds since 1970."""
    turn: int
    """Number of its last turn, 0 before the first."""
    total_ms: float | None
    """Server voice-to-voice of that turn."""
    round_trip_ms: float | None
    """Network, there and back, as the last turn tells it."""


class Room(Struct, frozen=True):
    """What the node has left."""

    sessions: int
    max_sessions: int
    state: State
    """As `/readyz` says it."""
    queue: int
    """Engine steps that wait for a thread."""
    cpu: float | None
    """Cores that the process kept busy, on average of the last seconds; None while that is not known."""
    cores: int


class Standing(Struct, frozen=True):
    """What changes all the time."""

    sessions: tuple[LiveSession, ...]
    """In the order they came."""
    capacity: Room


class Snapshot(Struct, frozen=True):
    """What a watcher begins with."""

    version: str
    at: int
    """The node's clock, seconds since 1970: ages count from it."""
    limits: dict[str, float]
    """Of the budget: what a single turn, or a segment of it, should not exceed, in ms."""
    turns: tuple[LiveTurn, ...]
    """The oldest first."""
    figures: Figures
    standing: Standing


class Beat(Struct, frozen=True):
    """Nothing has happened, and the node is still there."""

    at: int
    """The node's clock, seconds since 1970."""


class Feed:
    """Tells watchers what the node does."""

    def __init__(
        self,
        live: Live,
        sessions: Callable[[], Sequence[Session]],
        admission: Admission,
        node: Node,
        *,
        cores: int,
        clock: Clock = now,
        cpu: Clock = cpu_now,
        tick_s: float = TICK_S,
        drain_s: float = DRAIN_S,
    ) -> None:
        """Wire a feed; it does nothing while nobody watches.

        Args:
            live: remembers the turns.
            sessions: those that are open (`Sockets.sessions`).
            admission: knows how many there may be, and whether the node is about to stop.
            node: has the queue for the CPU, and knows which engines are missing.
            cores: that the node may use, as its threads are planned.
            clock: seconds.
            cpu: seconds of CPU time used so far.
            tick_s: how often it looks.
            drain_s: how long answers may take to finish when the node stops.
        """
        self._live = live
        self._sessions = sessions
        self._admission = admission
        self._node = node
        self._cores = cores
        self._clock = clock
        self._cpu = cpu
        self._tick_s = tick_s
        self._drain_s = drain_s
        self._cpu_samples: deque[tuple[float, float]] = deque()
        self._seen: tuple[float, Standing] | None = None  # one look serves all watchers of a tick
        self._draining_since: float | None = None
        self._encoder = msgspec.json.Encoder()
        self.watchers = 0
        """How many there are."""

    async def endpoint(self, _: Request) -> Response:
        """`GET /trace/events`: what `events` tells, as server-sent events."""
        if self.watchers >= MAX_WATCHERS:
            return refusal(503, "too_many_watchers", f"{MAX_WATCHERS} others watch already.", {"Retry-After": "5"})
        return _Watching(self)

    async def frames(self) -> AsyncIterator[bytes]:
        """The same as `events`, as they are written (WHATWG HTML, 9.2)."""
        async for event, data in self.events():
            retry = b"retry: %d\n" % RETRY_MS if event == "snapshot" else b""
            yield b"%sevent: %s\ndata: %s\n\n" % (retry, event.encode(), self._encoder.encode(data))

    async def events(self) -> AsyncIterator[tuple[str, Struct]]:
        """What one watcher is told: (event, data), until the node stops or the watcher is too far behind.

        First `snapshot`; then `turn` (`LiveTurn`) for each turn that ends and `figures` behind it; `sessions`
        (`Standing`) when something of it has changed, four times a second at most; `beat` when nothing has for
        `BEAT_S`.
        """
        number, standing = self._live.turns, self._standing()
        told_at, is_over = self._clock(), False
        yield "snapshot", self._snapshot(standing)
        while not is_over:
            is_over = self._is_over()  # asked before the last look, so that nothing is left untold
            await asyncio.sleep(self._tick_s)
            turns = self._live.since(number)
            if turns is None:
                return  # it took so little that turns are gone which it has not seen
            number = self._live.turns
            told: list[tuple[str, Struct]] = [("turn", turn) for turn in turns]
            if turns:
                told.append(("figures", self._live.figures))
            if (latest := self._standing()) != standing:
                standing = latest
                told.append(("sessions", standing))
            if not told and self._clock() - told_at >= BEAT_S:
                told.append(("beat", Beat(epoch_s())))
            if told:
                told_at = self._clock()
            for event in told:
                yield event

    def _snapshot(self, standing: Standing) -> Snapshot:
        budget = self._live.budget
        # of several for the same thing the widest stays
        limits = {limit.what: limit.ms for limit in sorted(budget.limits, key=lambda limit: limit.ms)}
        return Snapshot(__version__, epoch_s(), limits, self._live.recent, self._live.figures, standing)

    def _is_over(self) -> bool:
        """Whether the node stops: the port is closed only when nobody listens any more."""
        if not self._admission.is_draining:
            return False
        if self._draining_since is None:
            self._draining_since = self._clock()
        return self._admission.sessions == 0 or self._clock() - self._draining_since > self._drain_s

    def _standing(self) -> Standing:
        if self._seen is None or self._clock() - self._seen[0] >= self._tick_s / 2:
            self._seen = self._clock(), self._look()
        return self._seen[1]

    def _look(self) -> Standing:
        capacity = Room(
            sessions=self._admission.sessions,
            max_sessions=self._admission.max_sessions,
            state=readiness(self._node, self._admission),
            queue=self._node.compute.waiting,
            cpu=self._busy_cores(),
            cores=self._cores,
        )
        return Standing(tuple(map(self._shown, self._sessions())), capacity)

    def _shown(self, session: Session) -> LiveSession:
        last = self._live.last_of(session.config.id)
        return LiveSession(
            id=short(session.config.id),
            state=session.state,
            opened_at=session.opened_at,
            turn=last.turn if last is not None else 0,
            total_ms=last.total_ms if last is not None else None,
            round_trip_ms=round_trip_ms(last.facts) if last is not None else None,
        )

    def _busy_cores(self) -> float | None:
        """To a tenth, so that it changes only when something has."""
        moment, used = self._clock(), self._cpu()
        while self._cpu_samples and moment - self._cpu_samples[0][0] > CPU_WINDOW_S:
            self._cpu_samples.popleft()
        self._cpu_samples.append((moment, used))
        earlier_moment, earlier_used = self._cpu_samples[0]
        if moment - earlier_moment < 1.0:
            return None
        return round((used - earlier_used) / (moment - earlier_moment), 1)


class _Watching(StreamingResponse):
    """One watcher's stream, counted for as long as it lasts."""

    def __init__(self, feed: Feed) -> None:
        super().__init__(feed.frames(), media_type="text/event-stream", headers=HEADERS)
        self._feed = feed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._feed.watchers += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._feed.watchers -= 1
