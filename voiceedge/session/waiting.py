"""What waits for a thread, and what of it goes next: the most urgent step, and whoever may share its run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from voiceedge.engines import Batch, Row
from voiceedge.session.steps import Step
from voiceedge.trace import now

GATHER_S = 0.004
"""So long a run waits for those that the last one served. They are back within a millisecond, unless the event loop
has to wait for a core itself; without this, sessions fall into a step of one alone and then all the others. Only who
was served is waited for, so a session alone never waits."""
JOIN_S = 1.0
"""A row joins the run of a more urgent one if its deadline is no further off than this: each row makes a run longer by
a quarter, and who has a second of audio left, or only drafts, can wait for that of a listener who sits in silence."""


@dataclass(slots=True)
class _SharedRun:
    """How far the sessions are that decode with one model."""

    is_running: bool = False
    away: int = 0
    """How many the last run served that have not come back for the next."""
    until: float = 0.0
    """So long they are waited for."""


class Waiting:
    """The steps that wait. Whoever calls holds the scheduler's lock."""

    def __init__(self, is_out: Callable[[Step], bool]) -> None:
        """`is_out` tells whether a step has to wait because its engine is out of service."""
        self._is_out = is_out
        self._steps: list[Step] = []
        # by model; one that is gone, because another was loaded, must not be kept by what is known of it
        self._shared: WeakKeyDictionary[object, _SharedRun] = WeakKeyDictionary()

    @property
    def steps(self) -> tuple[Step, ...]:
        """Those that wait."""
        return tuple(self._steps)

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, step: Step) -> None:
        """Let a step wait."""
        self._steps.append(step)
        if step.row is not None:
            self._shared.setdefault(step.row.model, _SharedRun()).away -= 1

    def next(self) -> list[Step]:
        """The most urgent step that can run now, and behind it the rows that may share its run; none, if none can."""
        self._steps = [step for step in self._steps if not step.result.cancelled()]
        ready = sorted(filter(self._is_ready, self._steps), key=Step.urgency)
        if not ready or ready[0].row is None:
            return ready[:1]
        first, *others = ready
        model, latest = ready[0].row.model, max(first.urgency()[0], now()) + JOIN_S
        rows = [step for step in others if step.row is not None and step.row.model is model]
        return [first, *(step for step in rows if step.urgency()[0] <= latest)]

    def reserve(self, steps: list[Step]) -> Batch | None:
        """Take from `steps` those that do not join the first one; the rest no longer waits."""
        first, *others = steps
        batch = None
        if first.row is not None:
            self._shared[first.row.model].is_running = True
            batch = first.row.batch([step.row for step in others])
        rows: Sequence[Row | None] = [first.row] if batch is None else batch.rows
        steps[1:] = [step for step in others if any(step.row is row for row in rows)]
        self._steps = [step for step in self._steps if step not in steps]
        return batch

    def served(self, model: object, rows: int) -> None:
        """A run of this model is over, or was given up; so many may come back for the next one."""
        self._shared[model] = _SharedRun(away=rows, until=now() + GATHER_S)

    def gathering_s(self) -> float | None:
        """Seconds until the next run begins without those who did not come back; None when none is to begin."""
        waits = [
            run.until - now()
            for step in self._steps
            if step.row is not None and not (run := self._shared[step.row.model]).is_running
        ]
        return max(min(waits), 0.0) if waits else None

    def take_stuck(self, timeout_s: float) -> list[Step]:
        """Take away what has waited for its engine to come back for so long."""
        stuck = [step for step in self._steps if self._is_out(step) and now() - step.asked > timeout_s]
        self._steps = [step for step in self._steps if step not in stuck]
        return stuck

    def take_all(self) -> list[Step]:
        """Take everything away."""
        steps, self._steps = self._steps, []
        return steps

    def _is_ready(self, step: Step) -> bool:
        if step.row is None:
            return not self._is_out(step)
        run = self._shared[step.row.model]
        return not run.is_running and (run.away <= 0 or now() >= run.until)
