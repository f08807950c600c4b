"""How much a node's engines have to do: a load average, as of Unix, that tells when to leave work undone."""

from __future__ import annotations

from math import exp

AVERAGED_S = 4.0
"""What is older than this hardly counts: about a turn of a conversation. A turn alone must not make a load of its own,
and conversations that begin together must not be noticed after they have begun to wait for each other."""

# What is left undone at which load, the least useful first. Measured with SmolLM2 on two cores of a Zen 5: a load of
# 0.04 with one conversation, 0.2 with six, 0.5 with twelve, whose turns wait 50 ms and more for a thread.
FOLLOWS_BELOW = 0.35
"""Load up to which the words of somebody who still speaks are found out: a sixth of all work with twelve."""
THRIFTY_FROM = 0.4
"""Load from which a draft does not begin with the shortest silences, most of which are inside words, and answers only
words that may be the end of a turn. Of what is thrown away with eighteen, two thirds are words that were found out in
mid-sentence, and one third answers to them."""
ANSWERS_BELOW = 1.0
"""Load up to which a draft is an answer at all, and not words alone: beyond it hardly one is ready in time."""


class Load:
    """Steps that run, or keep a listener waiting, at a time and a thread: an average in which old ones fade.

    1 is a node whose threads are never idle and where nobody waits. Pure arithmetic on moments of one clock, in
    seconds; may be read from any thread while one at a time adds.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._faded = (0.0, 0.0)  # seconds of steps, and when they were counted; one object: read without a lock

    def add(self, seconds: float, at: float) -> None:
        """A step has taken so long, from when a listener began to wait for it to its end at `at`."""
        self._faded = (self._seconds(at) + seconds, at)

    def average(self, at: float) -> float:
        """The load at the moment `at`."""
        return self._seconds(at) / AVERAGED_S / self._threads

    def _seconds(self, at: float) -> float:
        seconds, counted = self._faded
        return seconds * exp(-max(at - counted, 0.0) / AVERAGED_S)
