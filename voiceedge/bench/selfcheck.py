"""Whether the bench itself can be trusted: a client that is too busy measures itself and not the node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from voiceedge.bench.figures import Distribution, Tally
from voiceedge.errors import OperatorError
from voiceedge.trace import MILLISECONDS_A_SECOND, cpu_now, now

CPU_PERCENT = 80.0
"""Of the one core that the event loop can use. The share that is left is what keeps a message from waiting for
those before it: at 80 % it waits for four of its kind on average (M/M/1), 1 ms of work; then it grows quickly."""
LAG_MS = 20.0
"""The length of an append. With more than one lag in twenty that is longer, the p95 of the turns may be the client's
own. (Fewer are a busy machine's; the report shows the p99 of both lags beside the figures.)"""
DROPPED_PERCENT = 1.0
"""Of the conversations that should have begun: beyond it the node was asked for less than the report says."""
_LOOK_S = 0.020


class RunVoid(OperatorError):
    """The bench was not able to measure what it was asked to; its figures say nothing about the node."""

    exit_code = 4


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """How the bench itself did while it measured."""

    cpu_percent: float
    """Processor time of this process over the duration, in per cent of one core."""
    loop_lag_ms: Distribution
    """How late the event loop woke who had asked to be woken: so late is an arrival noticed."""
    append_lag_ms: Distribution
    """How late the microphone sent its appends; counted against the node, which cannot help it."""
    offered: int = 0
    """Conversations that should have begun, in a run with arrivals."""
    dropped: int = 0
    """Of those, which could not."""

    @property
    def faults(self) -> tuple[str, ...]:
        """What makes the run void, a clause each; empty for a run that can be trusted."""
        lags = (("the event loop woke", self.loop_lag_ms.p95), ("the microphone sent", self.append_lag_ms.p95))
        found = [
            f"{what} more than {LAG_MS:.0f} ms late too often (p95 {lag:.0f} ms)"
            for what, lag in lags
            if lag is not None and lag > LAG_MS
        ]
        if self.cpu_percent > CPU_PERCENT:
            found.append(f"this client used {self.cpu_percent:.0f} % of a core (at most {CPU_PERCENT:.0f} %)")
        if self.offered and 100.0 * self.dropped / self.offered > DROPPED_PERCENT:
            found.append(f"{self.dropped} of {self.offered} conversations could not begin (raise --at-most)")
        return tuple(found)

    @property
    def void(self) -> bool:
        """Whether the figures of the run say nothing about the node."""
        return bool(self.faults)


class SelfWatch:
    """Looks after the bench while it runs."""

    def __init__(self) -> None:
        self._begun, self._cpu_s = now(), cpu_now()
        self._loop_lags = Tally()
        self.append_lags = Tally()
        """Milliseconds on the wall; whoever sends appends adds them."""

    async def watch(self) -> None:
        """Look whether the event loop keeps its times, until cancelled."""
        while True:
            due = now() + _LOOK_S
            await asyncio.sleep(_LOOK_S)
            self._loop_lags.add(max(0.0, now() - due) * MILLISECONDS_A_SECOND)

    def check(self, offered: int = 0, dropped: int = 0) -> SelfCheck:
        """What was seen until now."""
        lasted_s = max(now() - self._begun, _LOOK_S)
        return SelfCheck(
            cpu_percent=100.0 * (cpu_now() - self._cpu_s) / lasted_s,
            loop_lag_ms=self._loop_lags.distribution,
            append_lag_ms=self.append_lags.distribution,
            offered=offered,
            dropped=dropped,
        )


@asynccontextmanager
async def checking() -> AsyncIterator[SelfWatch]:
    """Watch for as long as the body lasts."""
    seen = SelfWatch()
    # no TaskGroup: it would put the body's own error into a group
    looking = asyncio.create_task(seen.watch(), name="bench.selfcheck")
    try:
        yield seen
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
