"""The scheduler: all engine work of the node passes here in small steps, earliest deadline first.

A deadline is when a listener would notice. A step (an encoder run, a token, a clause) is never interrupted: who is
cancelled while its step runs drops the result, and the engine is free again after that one step.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from voiceedge.errors import EngineFailed, Overloaded, VoiceEdgeError
from voiceedge.trace import TurnTrace, now

T = TypeVar("T")
log = logging.getLogger(__name__)

MAX_WAITING = 1024
"""Steps that may wait. A session has at most a handful, so more means that the node is far beyond its sessions."""
_END = object()


@dataclass(order=True, slots=True)
class _Step:
    deadline: float
    number: int
    work: Callable[[], Any] = field(compare=False)
    result: Future[Any] = field(compare=False)
    trace: TurnTrace | None = field(compare=False)
    asked: float = field(compare=False)


class Compute:
    """A few threads that run engine steps, the most urgent first."""

    def __init__(self, workers: int) -> None:
        self._waiting: list[_Step] = []  # a heap; full: `Overloaded`
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

    async def run(self, work: Callable[[], T], *, deadline: float, trace: TurnTrace | None = None) -> T:
        """Run one step and return its result.

        Raises:
            EngineFailed: the step raised something that is not a `VoiceEdgeError`.
            Overloaded: too many steps wait.
        """
        result: T = await asyncio.wrap_future(self._submit(work, deadline, trace))
        return result

    async def stream(
        self,
        steps: Callable[[], Iterator[T]],
        *,
        deadline: Callable[[], float],
        trace: TurnTrace | None = None,
    ) -> AsyncGenerator[T, None]:
        """Iterate a blocking generator, one `next` a step; `deadline` is asked anew for each.

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
                step = self._submit(advance, deadline(), trace)
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

    def _submit(self, work: Callable[[], Any], deadline: float, trace: TurnTrace | None) -> Future[Any]:
        result: Future[Any] = Future()
        step = _Step(deadline, next(self._numbers), work, result, trace, now())
        with self._wake:
            if self._closed:
                raise EngineFailed("The node is shutting down.")
            if len(self._waiting) >= MAX_WAITING:
                raise Overloaded("Too much work is waiting for the CPU.", retry_after_s=5)
            heapq.heappush(self._waiting, step)
            self._wake.notify()
        return result

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._closed:
                    self._wake.wait()
                if self._closed:
                    return
                step = heapq.heappop(self._waiting)
            if step.result.set_running_or_notify_cancel():
                self._run(step)

    def _run(self, step: _Step) -> None:
        if step.trace is not None:
            step.trace.waited(step.asked, now())
        try:
            step.result.set_result(step.work())
        except VoiceEdgeError as error:
            step.result.set_exception(error)
        except BaseException as error:  # a panic in Rust is no Exception, and the thread has to go on
            log.exception("An engine step failed.")
            failed = EngineFailed(f"An engine failed: {error}")
            failed.__cause__ = error
            step.result.set_exception(failed)


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
