"""The scheduler: all engine work of the node passes here in small steps, earliest deadline first.

A deadline is when a listener would notice; it is asked for when a thread is free, so that what waits can become
urgent. A step (an encoder run, a token, a clause) is never interrupted: who is cancelled while its step runs drops the
result, and the engine is free again after that one step.

Tokens of several sessions are decoded in one run of the model: at most one such run of a model is in flight, and
whoever waits for one when it begins joins it, except those who have time and would make one wait who has none.

A step that does not come back is given up after a while: who waits for it is told, its thread is replaced, and whatever
it was in belongs to that thread for good. Nobody begins with its engine until another one stands there
(`engines/renewal`); what is in the middle of something goes on.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

from voiceedge.engines.renewal import Renewal
from voiceedge.errors import EngineFailed, EngineHung, Overloaded
from voiceedge.session.blame import Blame
from voiceedge.session.load import Load
from voiceedge.session.steps import END, Deadline, Failure, Iteration, Run, Step, close_behind
from voiceedge.session.waiting import Waiting
from voiceedge.session.watchdog import STEP_TIMEOUT_S, Watchdog, where
from voiceedge.trace import TurnTrace, now

T = TypeVar("T")
StepSink = Callable[[str, float, float, int], None]
"""Takes (name, seconds waited, seconds run, rows) of a step, or of a run that several shared: then the wait is the
longest of theirs, and the rows are how many they were. Called from the thread that ran it, before anybody is given the
result: it must take microseconds."""
log = logging.getLogger(__name__)

MAX_WAITING = 1024
"""Steps that may wait. A session has at most a handful, so more means that the node is far beyond its sessions."""
MOST_HANGING = 3
"""Threads that may hang at a time. Each keeps the weights that it is in, and there is no way to end it but with the
process: once can be chance, three times is a machine or a model that will not get better."""
CLOSE_S = 5.0
"""How long steps in flight may take when the node stops."""


class Compute:
    """A few threads that run engine steps, the most urgent first."""

    def __init__(
        self,
        workers: int,
        observe: StepSink | None = None,
        *,
        renewal: Renewal | None = None,
        timeout_s: float = STEP_TIMEOUT_S,
        on_doomed: Callable[[str], None] | None = None,
    ) -> None:
        """Start the threads.

        Args:
            workers: how many steps run at a time.
            observe: is told of each of them.
            renewal: what loads engines anew; None where nothing does.
            timeout_s: a step that takes longer is given up, and its thread replaced.
            on_doomed: called once, from a thread, with why this cannot go on for long: the process should be started
                anew.
        """
        self._observe = observe
        self._renewal = renewal
        self._blame = Blame(renewal)
        self._timeout_s = timeout_s
        self._on_doomed = on_doomed
        self.longest_s: dict[str, float] = {}
        """The longest step so far by name, in seconds: what a more urgent step may have to wait for a thread."""
        self._load = Load(workers)
        self._waiting = Waiting(self._blame.is_out)  # full: `Overloaded`
        self._runs: list[Run] = []  # what runs, one a thread
        self._hanging: list[Run] = []  # what was given up and has not come back
        self._doomed: str | None = None
        self._numbers = itertools.count()
        self._wake = threading.Condition()
        self._closed = False
        self._names = itertools.count()
        self._threads: list[threading.Thread] = []
        for _ in range(workers):
            self._begin_thread()
        if renewal is not None:
            renewal.on_change = self._look_again
        self._watchdog = Watchdog(timeout_s, self._look)

    @property
    def waiting(self) -> int:
        """Steps that wait for a thread."""
        return len(self._waiting)

    @property
    def load(self) -> float:
        """Steps that run, or keep a listener waiting, a thread, over the last seconds: from 1 on the CPU is short."""
        return self._load.average(now())

    def is_busy(self, before: float) -> bool:
        """Whether one more step would have to wait, or others wait already, for the sake of what is due before then.

        What is due later goes later, and what of it runs is short: sessions that come and go, and are warmed, keep
        nobody from what idle time is for.
        """
        steps = self._waiting.steps
        runs = [run for run in tuple(self._runs) if any(step.due < before for step in run.steps)]
        return any(step.due < before for step in steps) or len(runs) >= len(self._threads)

    @property
    def hanging(self) -> int:
        """Threads that hang inside an engine."""
        return len(self._hanging)

    @property
    def is_stuck(self) -> bool:
        """Whether threads would not end with the process: they hang, or load an engine."""
        return bool(self._hanging) or (self._renewal is not None and bool(self._renewal.out))

    @property
    def doomed(self) -> str | None:
        """Why the process should be started anew; None while it need not."""
        return self._doomed

    @property
    def renewal(self) -> Renewal | None:
        """What loads engines anew."""
        return self._renewal

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
            EngineFailed: the step raised something that is not a `VoiceEdgeError`, or its engine is being loaded.
            EngineHung: the step has not come back.
            Overloaded: too many steps wait.
        """
        asked = deadline if callable(deadline) else _always(deadline)
        result: T = await asyncio.wrap_future(self._submit(work, asked, trace, name).result)
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
        iteration = Iteration(steps)
        step: Step | None = None
        try:
            while True:
                step = self._submit(iteration.advance, deadline, trace, name, iteration)
                item = await asyncio.wrap_future(step.result)
                if item is END:
                    return
                yield item
        finally:
            await close_behind(step, iteration)

    def close(self) -> None:
        """Stop the threads once their steps in flight are done, but wait no longer than for an honest one.

        What waits is cancelled; what hangs is left behind.
        """
        with self._wake:
            self._closed = True
            for step in self._waiting.take_all():
                step.result.cancel()
            self._wake.notify_all()
        if self._renewal is not None:
            self._renewal.close()
        until = now() + min(CLOSE_S, self._timeout_s)
        for thread in self._threads:
            thread.join(max(until - now(), 0.0))
        self._watchdog.close()
        with self._wake:
            self._hanging += self._runs

    def _submit(
        self,
        work: Callable[[], Any],
        deadline: Deadline,
        trace: TurnTrace | None,
        name: str,
        iteration: Iteration | None = None,
    ) -> Step:
        step = Step(deadline, next(self._numbers), work, Future(), trace, name, now(), iteration)
        if iteration is not None:
            step.row, step.is_first = iteration.row, not iteration.has_begun
        step.urgency()  # asked for again when a thread is free; until then this is what is known of it
        with self._wake:
            if self._closed:
                raise EngineFailed("The node is shutting down.")
            if len(self._waiting) >= MAX_WAITING:
                raise Overloaded("Too much work is waiting for the CPU.", retry_after_s=5)
            self._waiting.add(step)
            self._wake.notify_all()  # one thread may be waiting for just this row
        return step

    # ── the threads ───────────────────────────────────────────────────────────────────────────────────

    def _begin_thread(self) -> None:
        """Begin a thread that works.

        Raises:
            RuntimeError: there may be no more.
        """
        thread = threading.Thread(target=self._work, name=f"compute-{next(self._names)}", daemon=True)
        thread.start()
        self._threads.append(thread)  # only those that have begun can be waited for

    def _work(self) -> None:
        while self._run_next():
            pass  # what was run is forgotten here: it may hold an engine that has been replaced

    def _run_next(self) -> bool:
        """Wait for work and do it; False when this thread is to end."""
        run = self._next()
        if run is None:
            return False
        try:
            return self._do(run)
        except BaseException:  # nobody may wait for ever, and the thread has to go on
            log.exception("A run of %s was not brought to its end.", run.name)
            return self._abort(run)

    def _do(self, run: Run) -> bool:
        """Run what was taken, and give what came of it to those who wait; False when this thread is to end."""
        outcomes = run.outcomes()
        ran_s = now() - run.begun
        if not self._come_back(run, ran_s):
            return False
        if run.steps:
            self._tell(run.name, run.begun - min(step.asked for step in run.steps), ran_s, len(run.steps))
        for step, outcome in zip(run.steps, outcomes, strict=True):
            self._blame.judge(step, outcome, run.begun)
            if isinstance(outcome, Failure):
                step.result.set_exception(outcome.error)
            else:
                step.result.set_result(outcome)
        return True

    def _next(self) -> Run | None:
        """Wait for the most urgent work and take it; None when there will be none any more."""
        with self._wake:
            while not self._closed and not (steps := self._waiting.next()):
                self._wake.wait(self._waiting.gathering_s())
            if self._closed:
                return None
            row, batch = steps[0].row, self._waiting.reserve(steps)
            running = [step for step in steps if step.result.set_running_or_notify_cancel()]
            model = None if row is None else row.model
            run = Run(steps[0].name, model, running, batch, now(), threading.get_ident())
            self._runs.append(run)
        return run

    def _come_back(self, run: Run, ran_s: float) -> bool:
        """Note that a run is over; False when it was given up: then the thread has been replaced, and ends."""
        with self._wake:
            if not run.is_given_up:
                kept_waiting_s = sum(step.overdue_s(run.begun) for step in run.steps)
                self._load.add(kept_waiting_s + ran_s, run.begun + ran_s)
                self._leave(run, ran_s)
                return True
        log.warning("A step of %s came back after %.0f s; nobody waits for it any more.", run.name, ran_s)
        run.leave()
        with self._wake:
            self._hanging = [other for other in self._hanging if other is not run]
        return False

    def _abort(self, run: Run) -> bool:
        """Fail whatever of a run nobody has been told of; False when it was given up."""
        with self._wake:
            if run in self._runs:
                self._leave(run, now() - run.begun)
        if run.is_given_up:
            return False
        for step in run.steps:
            if not step.result.done():
                step.result.set_exception(EngineFailed(f"A step of {run.name} was not brought to its end."))
        return True

    def _leave(self, run: Run, ran_s: float) -> None:
        """Nobody runs this any more, or waits for it."""
        self._runs.remove(run)
        self.longest_s[run.name] = max(self.longest_s.get(run.name, 0.0), ran_s)
        if run.model is not None:
            self._waiting.served(run.model, len(run.steps))
            self._wake.notify_all()

    def _tell(self, name: str, waited_s: float, ran_s: float, rows: int) -> None:
        """Let whoever observes know of a run."""
        try:
            if self._observe is not None:
                self._observe(name, waited_s, ran_s, rows)
        except Exception:  # whoever looks on must not keep the results from those who wait for them
            log.exception("A run of %s could not be observed.", name)

    # ── what is given up ──────────────────────────────────────────────────────────────────────────────

    def _look(self, awake_s: float) -> None:
        """Give up what takes too long. Called by the watchdog."""
        with self._wake:
            hung = [run for run in self._runs if self._is_overdue(run, awake_s)]
            for run in hung:
                run.give_up()
                self._leave(run, now() - run.begun)
                self._hanging.append(run)
            stuck = self._waiting.take_stuck(self._timeout_s)
        for run in hung:
            self._give_up(run)
        for step in stuck:
            if step.result.set_running_or_notify_cancel():
                step.result.set_exception(EngineFailed(f"The engine for {step.name} is being loaded anew."))
        if self._renewal is not None and (stage := self._renewal.lost(now())) is not None:
            self._end(f"{stage} cannot be loaded")

    def _is_overdue(self, run: Run, awake_s: float) -> bool:
        if run.seen_s is None:
            run.seen_s = awake_s
        return awake_s - run.seen_s >= self._timeout_s

    def _give_up(self, run: Run) -> None:
        """Let nobody wait for a run any more, and let another thread do the work of the one that hangs in it."""
        log.error(
            "A step of %s has not come back for %.0f s: its turn fails, its thread hangs (%d of %d). It is here:\n%s",
            run.name,
            now() - run.begun,
            self.hanging,
            MOST_HANGING,
            where(run.thread),
        )
        self._blame.hung(run.name, run.begun)  # before anybody can begin with the engine anew
        with self._wake:
            self._threads = [thread for thread in self._threads if thread.ident != run.thread]
        for step in run.steps:
            step.result.set_exception(EngineHung(f"A step of {run.name} has not come back."))
        self._replace_thread()
        if self.hanging >= MOST_HANGING:
            self._end(f"{self.hanging} threads hang")

    def _replace_thread(self) -> None:
        """Begin a thread for one that hangs, unless so many do that the process would fill with them."""
        try:
            with self._wake:
                if not self._closed and self.hanging <= MOST_HANGING:
                    self._begin_thread()
        except RuntimeError:
            log.exception("There is no thread in the place of one that hangs.")
            self._end("no thread can be begun")

    def _end(self, why: str) -> None:
        """Say, once, that this cannot go on."""
        if self._doomed is None:
            self._doomed = why
            if self._on_doomed is not None:
                self._on_doomed(why)

    def _look_again(self) -> None:
        """What waits may be able to run now."""
        with self._wake:
            self._wake.notify_all()


def _always(deadline: float) -> Deadline:
    return lambda: deadline
