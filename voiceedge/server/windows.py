"""How much was used within the last hour, by name: a sliding window out of two counters.

What was counted in the hour before this one counts for the share of it that the last sixty minutes still cover, as if
it had been used evenly. Two numbers a name, whatever is counted and however much of it. Pure arithmetic on moments.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

HOUR_S = 3600.0
MAX_NAMES = 20_000
"""That are remembered, in 6 MB; then the one that was not asked for longest is forgotten."""


@dataclass(frozen=True, slots=True)
class Use:
    """What was used under a name, seen from one moment."""

    before: float
    """In the hour before the one that runs."""
    now: float
    """In the one that runs."""
    gone: float
    """Share of it that is over, 0 to 1."""

    @property
    def counted(self) -> float:
        """What counts of it."""
        return self.before * (1 - self.gone) + self.now

    def wait_s(self, limit: float, amount: float) -> float:
        """Seconds until the limit of an hour leaves so much; 0 where it does.

        What is more than the limit is never left: an hour.
        """
        if self.counted + amount <= limit:
            return 0.0
        if amount > limit:
            return HOUR_S
        if self.now + amount <= limit:  # what is in the way is of the hour before
            return (_share_gone(self.before, limit - self.now - amount) - self.gone) * HOUR_S
        return (1 - self.gone + _share_gone(self.now, limit - amount)) * HOUR_S


@dataclass(slots=True)
class _Counters:
    hour: int
    """Which one `now` is about."""
    now: float = 0.0
    before: float = 0.0


class Windows:
    """Counts by name. Limits may differ from one call to the next: all judge the same use."""

    def __init__(self) -> None:
        self._counters: OrderedDict[str, _Counters] = OrderedDict()

    def use(self, name: str, at: float) -> Use:
        """What was used under a name, seen from the moment `at` in seconds."""
        counters = self._at(name, at)
        return Use(counters.before, counters.now, at % HOUR_S / HOUR_S)

    def take(self, name: str, limit: float, amount: float, at: float, *, drains: bool = False) -> float:
        """Use so much if the limit of an hour leaves it: 0, or the seconds until it will.

        `drains` is for what has been used already: where not all of it is left, the rest is used up.
        """
        use = self.use(name, at)
        wait_s = use.wait_s(limit, amount)
        if wait_s == 0:
            self.add(name, amount, at)
        elif drains and use.counted < limit:
            self.add(name, limit - use.counted, at)
            wait_s = self.use(name, at).wait_s(limit, amount)
        return wait_s

    def add(self, name: str, amount: float, at: float) -> None:
        """Count what was used, whatever the limit."""
        self._at(name, at).now += amount

    def _at(self, name: str, at: float) -> _Counters:
        """The counters of a name, as of this hour."""
        hour = int(at // HOUR_S)
        counters = self._counters.setdefault(name, _Counters(hour))
        self._counters.move_to_end(name)
        if len(self._counters) > MAX_NAMES:
            self._counters.popitem(last=False)
        if counters.hour != hour:
            counters.before = counters.now if hour == counters.hour + 1 else 0.0
            counters.now, counters.hour = 0.0, hour
        return counters


def _share_gone(counted: float, left: float) -> float:
    """What share of its hour has to be gone until of `counted` no more than `left` counts."""
    return 1 - left / counted if counted > left else 0.0
