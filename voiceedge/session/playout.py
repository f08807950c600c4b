"""What the listener has heard, as far as the node can know: it sent audio, and audio plays at its own pace."""

from __future__ import annotations

from voiceedge.trace import Clock, now


class Playout:
    """The node's own playout clock of one answer.

    Audio plays without a gap from the moment it was handed to the socket; when it runs out, the clock waits.
    """

    def __init__(self, clock: Clock = now) -> None:
        self._clock = clock
        self._sent_s = 0.0
        self._runs_out = 0.0

    def sent(self, seconds: float) -> None:
        """Note that `seconds` of audio have been handed to the socket."""
        self._runs_out = max(self._runs_out, self._clock()) + seconds
        self._sent_s += seconds

    @property
    def runs_out(self) -> float:
        """Moment at which the audio that was sent will have been played; 0 before any was sent."""
        return self._runs_out

    @property
    def remaining_s(self) -> float:
        """Seconds of audio that were sent and have not been played yet."""
        return max(0.0, self._runs_out - self._clock())

    @property
    def heard_ms(self) -> float:
        """Milliseconds of the answer that have been played."""
        return (self._sent_s - self.remaining_s) * 1000.0

    def stop(self) -> None:
        """The client has been told to stop playing."""
        self._sent_s -= self.remaining_s
        self._runs_out = min(self._runs_out, self._clock())
