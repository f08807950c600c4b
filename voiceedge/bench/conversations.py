"""Conversations with a node, held at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial

from voiceedge.bench.caller import Caller, call
from voiceedge.bench.exchange import Exchange
from voiceedge.bench.options import BenchOptions, NodeFull, NodeUnreachable
from voiceedge.bench.plan import Line, Plan
from voiceedge.bench.progress import Doing
from voiceedge.bench.row import TurnRow, turn_row
from voiceedge.bench.selfcheck import SelfWatch
from voiceedge.bench.watching import Watcher
from voiceedge.trace import MILLISECONDS_A_SECOND

Over = Callable[[], bool]
"""Whether the time has come to end, at the end of the turns that are being held."""


async def at_once(
    options: BenchOptions,
    planned: Iterable[Plan],
    watcher: Watcher,
    seen: SelfWatch,
    over: Over,
) -> list[Conversation]:
    """Hold conversations at the same time, until the slowest has played all its recordings or it is `over`.

    In a ramp all of them end as soon as the node does not let one in: so many are too many, whatever the others do.
    """
    plans = tuple(planned)
    attendance = Attendance((plan.session for plan in plans), over, all_or_none=options.ramp)
    conversations = [Conversation(options, plan, attendance, watcher, seen) for plan in plans]
    async with asyncio.TaskGroup() as tasks:
        held = [tasks.create_task(one.hold(), name=f"bench.conversation.{one.plan.session}") for one in conversations]
        await attendance.empty.wait()
        for one, task in zip(conversations, held, strict=True):
            if one.encores or attendance.given_up:
                task.cancel()
    return conversations


class Attendance:
    """Who is still there: knows when the last one has said what it came to say."""

    def __init__(self, sessions: Iterable[int], over: Over, *, all_or_none: bool = False) -> None:
        self._busy = set(sessions)
        self._knocking = set(self._busy)
        """Those of which it is not known yet whether the node lets them in."""
        self._all_or_none = all_or_none
        self.over = over
        self.empty = asyncio.Event()
        self.given_up = False
        """Whether the others need not go on, because one could not."""

    def let_in(self, session: int) -> None:
        """The node has opened a session for a conversation."""
        self._knocking.discard(session)
        self._look()

    def leave(self, session: int, ended_by: NodeUnreachable | None = None) -> None:
        """One conversation has said everything, or can say no more."""
        self._busy.discard(session)
        self._knocking.discard(session)
        self.given_up = self.given_up or (ended_by is not None and self._all_or_none)
        self._look()

    def _look(self) -> None:
        # how many the node does let in is wanted as well
        if not self._busy or (self.given_up and not self._knocking):
            self.empty.set()


class Conversation:
    """Goes through the lines of a plan, in as many sessions as it takes."""

    def __init__(
        self,
        options: BenchOptions,
        plan: Plan,
        attendance: Attendance,
        watcher: Watcher,
        seen: SelfWatch,
        arrives: float | None = None,
    ) -> None:
        self.plan = plan
        self.rows: list[TurnRow] = []
        self.round_trip_s: float | None = None
        self.connections = 0
        """Sessions that the node opened for it."""
        self.connect_ms: float | None = None
        """From when the conversation was due to begin to when its first session could be talked in."""
        self.ended_by: NodeUnreachable | None = None
        """Why it ended before its last line."""
        self.encores = 0
        """Lines said again behind the last, uncounted: nobody is measured on a node that the others have left."""
        self._options = options
        self._attendance = attendance
        self._watcher = watcher
        self._seen = seen
        self.arrives = options.pace.now() if arrives is None else arrives
        """When it was due to begin."""
        self._unsettled: Exchange | None = None
        self._counted: Exchange | None = None
        """The last one that has a row."""

    @property
    def refused(self) -> bool:
        """Whether the node never let it in, because it was full."""
        return self.connections == 0 and isinstance(self.ended_by, NodeFull)

    async def hold(self) -> None:
        """Play every line and fill `rows`; then play on until the other conversations have done the same."""
        opening_s = self.plan.opening_s
        try:
            while (line := self._next()) is not None:
                self._watch(line.recording.name, "connecting")
                await self._session(opening_s)
                opening_s = self._options.think.low
        except NodeUnreachable as error:
            if not self._is_through:
                self.ended_by = error
        self._attendance.leave(self.plan.session, self.ended_by)

    async def _session(self, opening_s: float) -> None:
        tapes = self._options.tapes
        async with call(self._options, partial(tapes.of, self.plan.session) if tapes else None) as caller:
            self.connections += 1
            self._attendance.let_in(self.plan.session)
            self.round_trip_s = caller.round_trip_s
            if self.connect_ms is None:
                self.connect_ms = (self._options.pace.now() - self.arrives) * MILLISECONDS_A_SECOND
            try:
                async with caller.conversation(opening_s):
                    while (line := self._next()) is not None:
                        self.encores += self._is_through
                        self._done(caller, await caller.say(line, self._watch))
                        if caller.lost or self._options.fresh:
                            break
            finally:
                self._settle(caller)

    @property
    def _is_through(self) -> bool:
        """Whether all lines were said; what follows is an encore."""
        return len(self.rows) == len(self.plan.lines)

    def _next(self) -> Line | None:
        """The line that is to be said next; None when nothing is."""
        lines = self.plan.lines
        if self._attendance.over():
            return None
        if not self._is_through:
            return lines[len(self.rows)]
        return None if self._attendance.empty.is_set() else lines[self.encores % len(lines)]

    def _done(self, caller: Caller, exchange: Exchange) -> None:
        self._settle(caller)
        for lag_s in exchange.lags_s:
            self._seen.append_lags.add(lag_s / self._options.pace.speed * MILLISECONDS_A_SECOND)
        self._unsettled = exchange
        if self.encores:
            return
        self.rows.append(self._row(exchange))
        self._watcher.turn_done(self.plan.session, self.rows[-1])
        if self._is_through:
            self._attendance.leave(self.plan.session)

    def _settle(self, caller: Caller) -> None:
        """What was still to come for the last exchange, while the next one interrupted it, has come."""
        exchange, self._unsettled = self._unsettled, None
        if exchange is None:
            return
        is_counted = self._counted is exchange
        if is_counted:
            self.rows[-1] = self._row(exchange)
        caller.note(exchange, self.plan.run, self.plan.session, counted=is_counted)

    def _row(self, exchange: Exchange) -> TurnRow:
        self._counted = exchange
        return turn_row(exchange, self.plan.run, self.plan.session, self.connections)

    def _watch(self, audio: str, doing: Doing) -> None:
        self._watcher.tell(self.plan.session, audio, doing)
