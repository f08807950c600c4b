"""What a run looks like from outside while it lasts."""

from __future__ import annotations

import math
from bisect import insort
from dataclasses import replace

from voiceedge.bench.options import BenchOptions
from voiceedge.bench.progress import Doing, Progress
from voiceedge.bench.row import TurnRow
from voiceedge.budget import rank


class Watcher:
    """Tells whoever watches the run what all conversations do, and how long the answers took so far.

    Args:
        options: Of the run; `progress` is told, and the clock is its own.
        turns: How many there will be; None where only the time is known.
        ends: When the time is over; None where only the number of turns is known.
    """

    def __init__(self, options: BenchOptions, turns: int | None, ends: float | None = None) -> None:
        self._progress = options.progress
        self._now = options.pace.now
        self._begun = self._now()
        self._ends = ends
        self._doing: dict[int, Doing] = {}
        self._totals: list[float] = []
        """Of all turns in order, infinite for failed ones."""
        self._failed = 0
        self._last = Progress(1, turns, "", "connecting", left_s=self._left_s(turns))

    def expect(self, session: int) -> None:
        """A conversation is to be shown from now on."""
        self._doing[session] = "connecting"

    def forget(self, session: int) -> None:
        """A conversation is over and need not be shown."""
        self._doing.pop(session, None)

    def tell(self, session: int, audio: str, doing: Doing) -> None:
        """A conversation does something else."""
        self._doing[session] = doing
        turn, turns = len(self._totals) + 1, self._last.turns
        self._show(replace(self._last, turn=turn if turns is None else min(turn, turns), audio=audio, doing=doing))

    def turn_done(self, session: int, row: TurnRow) -> None:
        """A conversation has finished a turn."""
        self._doing[session] = "done"
        self._failed += row.client_v2v_ms is None
        insort(self._totals, math.inf if row.client_v2v_ms is None else row.client_v2v_ms)
        progress = replace(
            self._last,
            turn=len(self._totals),
            audio=row.audio,
            doing="done",
            p50_ms=self._percentile(50),
            p95_ms=self._percentile(95),
            failed=self._failed,
            left_s=self._left_s(self._last.turns),
        )
        self._show(progress)

    def _show(self, progress: Progress) -> None:
        progress = replace(progress, all_doing=tuple(self._doing.values()))
        if progress != self._last:
            self._last = progress
            if self._progress is not None:
                self._progress(progress)

    def _percentile(self, percent: float) -> float | None:
        found = self._totals[rank(len(self._totals), percent) - 1]
        return found if math.isfinite(found) else None

    def _left_s(self, turns: int | None) -> float | None:
        """Until the end, where it is known; else what the turns so far took, for each that is to come."""
        if self._ends is not None:
            return max(0.0, self._ends - self._now())
        done = len(self._totals)
        if turns is None or not done:
            return None
        return max(turns - done, 0) * (self._now() - self._begun) / done
