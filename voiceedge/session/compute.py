"""The scheduler: all engine work of the node passes here in small steps, earliest deadline first.

A deadline is when a listener would notice; it is asked for when a thread is free, so that what waits can become
urgent. A step (an encoder run, a token, a clause) is never interrupted: who is cancelled while its step runs drops the
result, and the engine is free again after that one step.

Tokens of several sessions are decoded in one run of the model: at most one such run of a model is in flight, and
whoever waits for one when it begins joins it, except those who have time and would make one wait who has none.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from voiceedge.engines import Batch, Row
from voiceedge.errors import EngineFailed, Overloaded, VoiceEdgeError
from voiceedge.session.load import Load
from voiceedge.trace import TurnTrace, now

T = TypeVar("T")
Deadline = Callable[[], float]
"""When a listener would notice, in seconds of the clock. Called from any thread, for as long as the step waits."""
StepSink = Callable[[str, float, float, int], None]
"""Takes (name, seconds waited, seconds run, rows) of a step, or of a run that several shared: then the wait is the
longest of theirs, and the rows are how many they were. Called from the thread that ran it, before anybody is given the
result: it must take microseconds."""
log = logging.getLogger(__name__)

MAX_WAITING = 1024
"""Steps that may wait. A session has at most a handful, so more means that the node is far beyond its sessions."""
GATHER_S = 0.004
"""So long a run waits for those that the last one served. They are back within a millisecond, unless the event loop
has to wait for a core itself; without this, sessions fall into a step of one alone and then all the others. Only who
was served is waited for, so a session alone never waits."""
JOIN_S = 1.0
"""A row joins the run of a more urgent one if its deadline is no further off than this: each row makes a run longer by
a quarter, and who has a second of audio left, or only drafts, can wait for that of a listener who sits in silence."""
_END = object()


@dataclass(slots=True, eq=False)
class _Step:
    deadline: Deadline
    number: int
    work: Callable[[], Any]
    result: Future[Any]
    trace: TurnTrace | None
    name: str
    asked: float
    row: Row | None
    due: float = -math.inf
    """What the deadline was when it was last asked for."""

    def urgency(self) -> tuple[float, int]:
        """Sorts steps: the earliest deadline first, equals in the order they came."""
        try:
            self.due = self.deadline()
        except Exception:  # the thread has to go on, and the step must not wait for ever
            log.exception("The deadline of %s could not be told.", self.name)
            self.due = -math.inf
        return self.due, self.number

    def overdue_s(self, begun: float) -> float:
        """Seconds that a listener has waited for it by the moment it began."""
        return max(begun - max(self.asked, self.due), 0.0)


@dataclass(slots=True)
class _SharedRun:
    """How far the sessions are that decode with one model."""

    is_running: bool = False
    away: int = 0
    """How many the last run served that have not come back for the next."""
    until: float = 0.0
    """So long they are waited for."""


class Compute:
    """A few threads that run engine steps, the most urgent first."""

    def __init__(self, workers: int, observe: StepSink | None = None) -> None:
        """`workers` is how many steps run at a time; `observe` is told of each of them."""
        self._observe = observe
        self.longest_s: dict[str, float] = {}
        """The longest step so far by name, in seconds: what a more urgent step may have to wait for a thread."""
        self._load = Load(workers)
        self._waiting: list[_Step] = []  # full: `Overloaded`
        self._shared: dict[object, _SharedRun] = {}  # by model
        self._running = 0
        self._numbers = itertools.count()
        self._wake = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"compute-{index}", daemon=True) for index in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Steps that wait for a thread."""
        return len(self._waiting)

    @property
    def load(self) -> float:
        """Steps that run, or keep a listener waiting, a thread, over the last seconds: from 1 on the CPU is short."""
        return self._load.average(now())

    @property
    def is_busy(self) -> bool:
        """Whether one more step would have to wait, or others wait already."""
        return bool(self._waiting) or self._running >= len(self._threads)

    async def run(
        self,
        work: Callable[[], T],
        *,
        deadline: float | Deadline,
        trace: TurnTrace | None = None,
        name: str = "step",
    ) -> T:
        """Run one step and return its result. `name` is what it is counted as in `longest_s`.

        Raises:
            EngineFailed: the step raised something that is not a `VoiceEdgeError`.
            Overloaded: too many steps wait.
        """
        asked = deadline if callable(deadline) else _always(deadline)
        result: T = await asyncio.wrap_future(self._submit(work, asked, trace, name))
        return result

    async def stream(
        self,
        steps: Callable[[], Iterator[T]],
        *,
        deadline: Deadline,
        trace: TurnTrace | None = None,
        name: str = "step",
    ) -> AsyncGenerator[T, None]:
        """Iterate a blocking generator, one `next` a step.

        Use under `contextlib.aclosing`: when the scope is left, also by cancellation, the generator has been closed
        behind the step in flight and the engine's stream is free.
        """
        iterator: Iterator[T] | None = None
        step: Future[Any] | None = None

        def advance() -> Any:
            nonlocal iterator
            if iterator is None:
                iterator = steps()  # here and not in the event loop: an engine may do work before its first step
            return next(iterator, _END)

        def close() -> None:
            getattr(iterator, "close", _nothing)()

        try:
            while True:
                step = self._submit(advance, deadline, trace, name, getattr(iterator, "row", None))
                item = await asyncio.wrap_future(step)
                if item is _END:
                    return
                yield item
        finally:
            await self._close_behind(step, close)

    async def _close_behind(self, step: Future[Any] | None, close: Callable[[], None]) -> None:
        """Close the generator, behind the step in flight if there is one: that cannot be interrupted."""
        if step is None or step.cancel():
            close()
            return
        loop = asyncio.get_running_loop()
        closed = loop.create_future()

        def finish(_: Future[Any]) -> None:
            try:
                close()
            except Exception:
                log.exception("An engine's generator could not be closed.")
            loop.call_soon_threadsafe(_resolve, closed)

        step.add_done_callback(finish)
        await _until(closed)

    def close(self) -> None:
        """Stop the threads once their steps in flight are done; what waits is cancelled."""
        with self._wake:
            self._closed = True
            for step in self._waiting:
                step.result.cancel()
            self._waiting.clear()
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()

    def _submit(
        self,
        work: Callable[[], Any],
        deadline: Deadline,
        trace: TurnTrace | None,
        name: str,
        row: Row | None = None,
    ) -> Future[Any]:
        result: Future[Any] = Future()
        step = _Step(deadline, next(self._numbers), work, result, trace, name, now(), row)
        with self._wake:
            if self._closed:
                raise EngineFailed("The node is shutting down.")
            if len(self._waiting) >= MAX_WAITING:
                raise Overloaded("Too much work is waiting for the CPU.", retry_after_s=5)
            self._waiting.append(step)
            if row is not None:
                self._shared.setdefault(row.model, _SharedRun()).away -= 1
            self._wake.notify_all()  # one thread may be waiting for just this row
        return result

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._closed and not (steps := self._most_urgent()):
                    self._wake.wait(self._gathering_s())
                if self._closed:
                    return
                batch = self._reserve(steps)
                running = [step for step in steps if step.result.set_running_or_notify_cancel()]
                self._running += 1
            begun = now()
            outcomes = _run(running, batch)
            ran_s, name = now() - begun, steps[0].name
            kept_waiting_s = sum(step.overdue_s(begun) for step in running)
            with self._wake:
                self._running -= 1
                self._load.add(kept_waiting_s + ran_s, begun + ran_s)
                self.longest_s[name] = max(self.longest_s.get(name, 0.0), ran_s)
                if (row := steps[0].row) is not None:
                    self._shared[row.model] = _SharedRun(away=len(running), until=now() + GATHER_S)
                    self._wake.notify_all()
            if running:
                self._tell(name, begun - min(step.asked for step in running), ran_s, len(running))
            for step, outcome in zip(running, outcomes, strict=True):
                if isinstance(outcome, _Failure):
                    step.result.set_exception(outcome.error)
                else:
                    step.result.set_result(outcome)

    def _tell(self, name: str, waited_s: float, ran_s: float, rows: int) -> None:
        """Let whoever observes know of a run."""
        try:
            if self._observe is not None:
                self._observe(name, waited_s, ran_s, rows)
        except Exception:  # whoever looks on must not keep the results from those who wait for them
            log.exception("A run of %s could not be observed.", name)

    def _most_urgent(self) -> list[_Step]:
        """The most urgent step that can run now, and behind it the rows that may share its run."""
        self._waiting = [step for step in self._waiting if not step.result.cancelled()]
        ready = sorted(filter(self._is_ready, self._waiting), key=_Step.urgency)
        if not ready or ready[0].row is None:
            return ready[:1]
        first, *others = ready
        model, latest = ready[0].row.model, max(first.urgency()[0], now()) + JOIN_S
        rows = [step for step in others if step.row is not None and step.row.model is model]
        return [first, *(step for step in rows if step.urgency()[0] <= latest)]

    def _is_ready(self, step: _Step) -> bool:
        if step.row is None:
            return True
        run = self._shared[step.row.model]
        return not run.is_running and (run.away <= 0 or now() >= run.until)

    def _gathering_s(self) -> float | None:
        """Seconds until the next run begins without those who did not come back; None when none is to begin."""
        waits = [
            run.until - now()
            for step in self._waiting
            if step.row is not None and not (run := self._shared[step.row.model]).is_running
        ]
        return max(min(waits), 0.0) if waits else None

    def _reserve(self, steps: list[_Step]) -> Batch | None:
        """Take from `steps` those that do not join the first one; the rest no longer waits."""
        first, *others = steps
        batch = None
        if first.row is not None:
            self._shared[first.row.model].is_running = True
            batch = first.row.batch([step.row for step in others])
        rows: Sequence[Row | None] = [first.row] if batch is None else batch.rows
        steps[1:] = [step for step in others if any(step.row is row for row in rows)]
        self._waiting = [step for step in self._waiting if step not in steps]
        return batch


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception


def _run(steps: list[_Step], batch: Batch | None) -> list[Any]:
    """Run `batch` for all of `steps`, if there is one, and then each; what each returned, or a `_Failure`."""
    begun = now()
    for step in steps:
        if step.trace is not None:
            step.trace.waited(step.asked, begun)
    if batch is not None:
        try:
            batch.run()
        except Exception:
            log.exception("A batch of %d failed; each is run alone.", len(batch.rows))
    share_s = (now() - begun) / max(len(steps), 1)
    return [_outcome(step, share_s) for step in steps]


def _outcome(step: _Step, share_s: float) -> Any:
    """Run one step, whose share of a batch took `share_s` seconds."""
    begun = now()
    try:
        return step.work()
    except VoiceEdgeError as error:
        return _Failure(error)
    except BaseException as error:  # a panic in Rust is no Exception, and the thread has to go on
        log.exception("An engine step failed.")
        failed = EngineFailed(f"An engine failed: {error}")
        failed.__cause__ = error
        return _Failure(failed)
    finally:
        if step.trace is not None:
            step.trace.worked(share_s + now() - begun)


def _always(deadline: float) -> Deadline:
    return lambda: deadline


def _nothing() -> None:
    """Iterators that are not generators, or were never made, have nothing to close."""


async def _until(done: asyncio.Future[None]) -> None:
    """Wait to the end even when cancelled meanwhile, and be cancelled then."""
    cancelled: asyncio.CancelledError | None = None
    while not done.done():
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
