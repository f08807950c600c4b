"""Looks, from a thread of its own, at what should have moved since the last time.

A thread that hangs inside an engine cannot be stopped from outside. All that can be done is to notice it, to wait for
it no longer, and to let the process be started anew before too many hang (`session/compute`, `Pulse`). What holds
the interpreter's lock while it hangs stops this thread as well: then only who supervises the process can tell.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from voiceedge.config import Config
from voiceedge.trace import now

STEP_TIMEOUT_S = Config().step_timeout_s
"""No step that was ever seen took a tenth of it. The longest are Whisper's encoder over 30 s of speech, which cannot be
split (`base`: 0.5 s on a core of a Zen 5, 1.0 to 1.4 s with all of a `--plain` transcription on a Zen 3), and the first
look at tools (0.5 s). A machine that is ten times as slow has 14 s. Whoever listens has given up long before in any
case, and a false alarm costs a thread and seconds of loading: so there is nothing to be won by less."""
LOOKS = 20
"""How often a step is looked at before its time is over: it is given up a twentieth too late at most."""
LONGEST_INTERVAL_S = 1.0
log = logging.getLogger(__name__)

Look = Callable[[float], None]
"""Takes how long the process has been awake, in seconds."""


class Awake:
    """Counts the time in which a process could have worked.

    A machine that sleeps, a container that is frozen, a process that is stopped in a debugger: when they go on, the
    clock has moved and nothing else. So no more than twice the interval is counted from one look to the next.
    """

    def __init__(self, interval_s: float, begun: float) -> None:
        self._longest_s = 2 * interval_s
        self._last = begun
        self._awake_s = 0.0

    def tick(self, at: float) -> float:
        """Seconds awake at the moment `at`."""
        self._awake_s += min(max(at - self._last, 0.0), self._longest_s)
        self._last = at
        return self._awake_s


class Watchdog:
    """A thread that calls `look` in short intervals until it is closed."""

    def __init__(self, timeout_s: float, look: Look, name: str = "watchdog") -> None:
        """`timeout_s` is how long what is looked at may take; intervals are a small part of it."""
        self._interval_s = min(timeout_s / LOOKS, LONGEST_INTERVAL_S)
        self._look = look
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._closed.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        awake = Awake(self._interval_s, now())
        while not self._closed.wait(self._interval_s):
            try:
                self._look(awake.tick(now()))
            except Exception:  # who looks next time may see more
                log.exception("The watchdog could not look.")


class Pulse:
    """Whether an event loop turns: it is asked, and has to answer in time.

    Up to four frames of voice activity are looked at in the loop itself (`session/hear`). If that call hangs, no
    session is served any more, and nothing in the process can change that.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout_s: float, on_dead: Callable[[], None]) -> None:
        """`on_dead` is called once, from another thread."""
        self._loop = loop
        self._timeout_s = timeout_s
        self._on_dead = on_dead
        self._asked_s: float | None = None  # None: it has answered

    def look(self, awake_s: float) -> None:
        """Ask, or see whether the answer is overdue."""
        if self._asked_s is None:
            self._asked_s = awake_s
            try:
                self._loop.call_soon_threadsafe(self._answer)
            except RuntimeError:  # the loop is closed
                self._asked_s = None
        elif awake_s - self._asked_s >= self._timeout_s:
            self._asked_s = float("inf")
            self._on_dead()

    def _answer(self) -> None:
        self._asked_s = None


@contextmanager
def beating(loop: asyncio.AbstractEventLoop, timeout_s: float, on_dead: Callable[[], None]) -> Iterator[None]:
    """Watch an event loop until the block is left."""
    watchdog = Watchdog(timeout_s, Pulse(loop, timeout_s, on_dead).look, "pulse")
    try:
        yield
    finally:
        watchdog.close()


def where(thread: int) -> str:
    """What a thread is in the middle of, as a traceback shows it: code, never values."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - the one way to look at another thread
    return "".join(traceback.format_stack(frame)) if frame is not None else "(the thread is gone)\n"
