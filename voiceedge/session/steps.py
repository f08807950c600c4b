"""Steps of engine work: what waits for a thread, what one thread runs together, and what comes of it."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any

from voiceedge.engines import Batch, Row
from voiceedge.errors import EngineFailed, VoiceEdgeError
from voiceedge.trace import TurnTrace, now

Deadline = Callable[[], float]
"""When a listener would notice, in seconds of the clock. Called from any thread, for as long as the step waits."""
log = logging.getLogger(__name__)
END = object()
"""What a step gives when its generator is over."""


class Iteration:
    """A blocking generator that is iterated by threads, one step and one thread at a time."""

    def __init__(self, steps: Callable[[], Iterator[Any]]) -> None:
        self._steps = steps
        self._iterator: Iterator[Any] | None = None

    @property
    def has_begun(self) -> bool:
        """Whether the generator exists, and with it the engine's own stream that it stands for."""
        return self._iterator is not None

    @property
    def row(self) -> Row | None:
        """The run of the model that the next step needs, if others could share it."""
        row: Row | None = getattr(self._iterator, "row", None)
        return row

    def advance(self) -> Any:
        """Run the next step; what it gives, or `END`."""
        if self._iterator is None:
            self._iterator = self._steps()  # here, not in the event loop: an engine may work before its first step
        return next(self._iterator, END)

    def close(self) -> None:
        """Close the generator. Nobody may be in a step of it."""
        close = getattr(self._iterator, "close", None)  # iterators that are not generators have nothing to close
        if close is not None:
            close()


@dataclass(slots=True, eq=False)
class Step:
    """One call of an engine, and who waits for it."""

    deadline: Deadline
    number: int
    work: Callable[[], Any]
    result: Future[Any]
    trace: TurnTrace | None
    name: str
    asked: float
    iteration: Iteration | None = None
    row: Row | None = None
    is_first: bool = True
    """Whether the engine has no state of this work yet: then it may as well be another engine."""
    due: float = -math.inf
    """What the deadline was when it was last asked for."""
    is_given_up: bool = False
    """Whether the thread that runs it was given up: then only that thread may touch the iteration, if it comes back."""
    context: Context = field(default_factory=copy_context)
    """Whose work it is, for the log."""

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


@dataclass(frozen=True, slots=True)
class Failure:
    """What came of a step that raised."""

    error: Exception


@dataclass(slots=True, eq=False)
class Run:
    """What one thread runs at a time: a step, or those that share a run of their model."""

    name: str
    model: object | None
    """Whose run it is, where several could share it."""
    steps: Sequence[Step]
    batch: Batch | None
    begun: float
    thread: int
    """Identity of the thread."""
    seen_s: float | None = None
    """When the watchdog first saw it, in its own seconds."""
    is_given_up: bool = False

    def outcomes(self) -> list[Any]:
        """Run the batch, if there is one, and then each step; what each returned, or a `Failure`."""
        begun = now()
        for step in self.steps:
            if step.trace is not None:
                step.trace.waited(step.asked, begun)
        if self.batch is not None:
            try:
                self.batch.run()
            except Exception:
                log.exception("A batch of %d failed; each is run alone.", len(self.batch.rows))
        share_s = (now() - begun) / max(len(self.steps), 1)
        return [step.context.run(_outcome, step, share_s) for step in self.steps]

    def give_up(self) -> None:
        """Nobody waits for it any more."""
        self.is_given_up = True
        for step in self.steps:
            step.is_given_up = True

    def leave(self) -> None:
        """Close what was iterated, in the thread that came back too late: nobody else may have done so."""
        for step in self.steps:
            try:
                if step.iteration is not None:
                    step.iteration.close()
            except Exception:
                log.exception("An engine's generator could not be closed.")


def _outcome(step: Step, share_s: float) -> Any:
    """Run one step, whose share of a batch took `share_s` seconds."""
    begun = now()
    try:
        return step.work()
    except VoiceEdgeError as error:
        return Failure(error)
    except BaseException as error:  # a panic in Rust is no Exception, and the thread has to go on
        log.exception("An engine step failed.")
        failed = EngineFailed(f"An engine failed ({type(error).__name__}).")  # its text may quote the user
        failed.__cause__ = error
        return Failure(failed)
    finally:
        if step.trace is not None:
            step.trace.worked(share_s + now() - begun)


async def close_behind(step: Step | None, iteration: Iteration) -> None:
    """Close a generator, behind the step in flight if there is one: that cannot be interrupted."""
    if step is None or step.result.cancel():
        iteration.close()
        return
    loop = asyncio.get_running_loop()
    closed = loop.create_future()

    def finish(_: Future[Any]) -> None:
        try:
            if not step.is_given_up:  # else a thread is in it, and closes it should it ever come back
                iteration.close()
        except Exception:
            log.exception("An engine's generator could not be closed.")
        loop.call_soon_threadsafe(_resolve, closed)

    step.result.add_done_callback(finish)
    await _until(closed)


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
