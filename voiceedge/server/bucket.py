"""A token bucket without a clock: moments are given."""

from __future__ import annotations


class TokenBucket:
    """Lets `burst` through at once, and then `rate` a second.

    Whoever may take something may take any amount of it; what the bucket did not hold is owed, and nothing more is to
    be taken until that is paid. So a large thing is never refused and never cut up, and in any stretch of t seconds no
    more is taken than burst + rate * t and the last thing.
    """

    __slots__ = ("_ahead_s", "_paid_at", "_rate")

    def __init__(self, rate: float, burst: float, moment: float) -> None:
        """Begin full, at `moment`; all moments are seconds of one clock that never runs backwards."""
        self._rate = rate
        self._ahead_s = burst / rate
        self._paid_at = moment  # when all that was taken is paid for: then the bucket is full again

    def wait_s(self, moment: float) -> float:
        """Seconds until something may be taken; now, if that is not above zero."""
        return self._paid_at - self._ahead_s - moment

    def take(self, amount: float, moment: float) -> None:
        """Take so much, whatever there is."""
        self._paid_at = max(self._paid_at, moment) + amount / self._rate
