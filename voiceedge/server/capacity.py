"""Whether a node has time for one more conversation: told by what is measured, and slow to change its mind.

Pure arithmetic on moments of one clock: whoever measures calls it, several times a second.
"""

from __future__ import annotations

SUSTAINED_S = 5.0
"""So long a node has to be over the upper threshold to be busy, and under the lower one to be so no more. Longer than
what the load is averaged over, and than the moment in which several people begin to speak at once."""
CALM = 0.75
"""The lower threshold, of the upper one. The session that was refused would have brought it back over: with a dozen
conversations one more is a twelfth, and a quarter holds three of them."""
BUSY_LATE_S = 0.1
"""Lateness of the event loop that counts like `busy_load`: every message in and every piece of audio out is late by so
much, whatever the engines do. What the node does itself (`docs/figures.md`) makes it a few milliseconds late."""
MOST_LATE_S = 10 * BUSY_LATE_S
"""More is counted as this: a machine that stood still for a minute has nothing to do for that."""
SHARE = 1 / 16
"""Of a measurement in the average of lateness: four seconds at four a second, as the load is averaged over."""


class Capacity:
    """Busy, or not: a state machine with two thresholds and a time for each.

    Args:
        busy_load: `Compute.load` beyond which the node takes no more.
    """

    def __init__(self, busy_load: float) -> None:
        self.is_busy = False
        """Whether there is no time for one more conversation. Those that are there go on."""
        self._busy_load = busy_load
        self._late_s = 0.0
        self._since: float | None = None  # when what is measured began to contradict `is_busy`

    def measured(self, at: float, load: float, late_s: float) -> None:
        """Take a measurement.

        Args:
            at: the moment, in seconds.
            load: `Compute.load`: steps that run, or keep a listener waiting, a thread.
            late_s: how late the event loop was just now.
        """
        self._late_s += (min(late_s, MOST_LATE_S) - self._late_s) * SHARE
        strain = max(load / self._busy_load, self._late_s / BUSY_LATE_S)
        contradicts = strain < CALM if self.is_busy else strain > 1
        if not contradicts:
            self._since = None
            return
        if self._since is None:
            self._since = at
        if at - self._since >= SUSTAINED_S:
            self.is_busy = not self.is_busy
            self._since = None
