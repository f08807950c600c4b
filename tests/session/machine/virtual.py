"""Virtual time: an event loop whose clock jumps to whatever is due next, and engines' steps that take such time.

Nothing here waits for anything real, so that a minute of conversation takes milliseconds and goes the same way each
time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from itertools import cycle
from typing import Any

from voiceedge.errors import EngineFailed, VoiceEdgeError

MOST_ROUNDS = 200_000
"""Of the event loop: a sequence needs a few thousand, so more means that something spins."""
_END = object()


class Hang(AssertionError):
    """The sequence would never come to its end."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop without sockets, in which time passes only when there is nothing left to do."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = self  # what BaseEventLoop asks how long to wait
        self._moment = 0.0
        self._rounds = 0

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._moment

    def select(self, timeout: float | None) -> tuple[()]:
        """Let time pass; called by BaseEventLoop once a round."""
        self._rounds += 1
        if timeout is None:
            raise Hang("Everybody waits and nothing is due: this would wait for ever.")
        if self._rounds > MOST_ROUNDS:
            raise Hang(f"{MOST_ROUNDS} rounds of the event loop: something spins.")
        self._moment += timeout
        return ()

    def due(self) -> list[asyncio.TimerHandle]:
        """Timers that somebody still waits for."""
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        return [timer for timer in timers if not timer.cancelled()]

    def _process_events(self, events: tuple[()]) -> None:
        """No events ever come from outside."""

    def _write_to_self(self) -> None:
        """No other thread ever wakes this loop."""


class VirtualCompute:
    """Runs engine steps like `session.compute.Compute`, in virtual time and without threads.

    A step first waits, then runs: it takes as long as the engine said through `sleep`, and cannot be interrupted.
    """

    def __init__(self, waits_s: Sequence[float]) -> None:
        self.longest_s: dict[str, float] = {}
        self._waits = cycle(waits_s)
        self._slept_s = 0.0
        self._steps: set[_Step] = set()

    def is_busy(self, before: float) -> bool:
        """Whether a step waits, whenever it is due."""
        del before
        return any(step.is_waiting for step in self._steps)

    @property
    def load(self) -> float:
        """Never so much that anything would be left undone."""
        return 0.0

    def sleep(self, seconds: float) -> None:
        """What the fake engines call instead of `time.sleep`."""
        self._slept_s += seconds

    async def run(self, work: Callable[[], Any], *, deadline: Any, trace: Any = None, name: str = "step") -> Any:
        """Run one step."""
        del deadline, trace, name
        return await self._start(work).result

    async def stream(
        self,
        steps: Callable[[], Iterator[Any]],
        *,
        deadline: Callable[[], float],
        trace: Any = None,
        name: str = "step",
    ) -> AsyncGenerator[Any, None]:
        """Iterate a generator, one `next` a step; it is closed behind the step in flight."""
        del trace, name
        iterator: Iterator[Any] | None = None

        def advance() -> Any:
            nonlocal iterator
            iterator = steps() if iterator is None else iterator
            return next(iterator, _END)

        step: _Step | None = None
        try:
            while True:
                deadline()
                step = self._start(advance)
                if (item := await step.result) is _END:
                    return
                yield item
        finally:
            if step is not None:
                await step.left()
            if iterator is not None and hasattr(iterator, "close"):
                iterator.close()

    def _start(self, work: Callable[[], Any]) -> _Step:
        step = _Step(work, next(self._waits), self._take_slept)
        self._steps.add(step)
        step.result.add_done_callback(lambda _: self._steps.discard(step))
        return step

    def _take_slept(self) -> float:
        slept, self._slept_s = self._slept_s, 0.0
        return slept


class _Step:
    """One call of an engine, on its way."""

    def __init__(self, work: Callable[[], Any], wait_s: float, slept: Callable[[], float]) -> None:
        self._loop = asyncio.get_running_loop()
        self._work = work
        self._slept = slept
        self.result: asyncio.Future[Any] = self._loop.create_future()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._waiting: asyncio.TimerHandle | None = self._loop.call_later(wait_s, self._begin)

    @property
    def is_waiting(self) -> bool:
        """Whether it has not begun."""
        return self._waiting is not None

    async def left(self) -> None:
        """Nobody wants the result any more: take the step back, or wait until it is over, cancelled or not."""
        if self._waiting is not None:
            self._waiting.cancel()
            return
        cancelled: asyncio.CancelledError | None = None
        while not self._over.done():
            try:
                await asyncio.shield(self._over)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def _begin(self) -> None:
        self._waiting = None
        if self.result.cancelled():
            self._over.set_result(None)
            return
        try:
            outcome, error = self._work(), None
        except VoiceEdgeError as failure:
            outcome, error = None, failure
        except Exception as failure:  # noqa: BLE001 - whatever an engine may raise
            outcome, error = None, EngineFailed(f"An engine failed: {failure}")
        self._loop.call_later(self._slept(), self._end, outcome, error)

    def _end(self, outcome: Any, error: Exception | None) -> None:
        self._over.set_result(None)
        if self.result.cancelled():
            return
        if error is None:
            self.result.set_result(outcome)
        else:
            self.result.set_exception(error)
