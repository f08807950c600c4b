"""One execution of a target, in a time that is bounded, and what is said of one that went wrong."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import FrameType

from tests.fuzz.target import Target

PACKAGE = "voiceedge"
INSTRUMENTED = 4.0
"""So many times longer takes an input where its way through the code is recorded."""


class TooSlow(BaseException):
    """An input that takes too long. No `Exception`: no parser shall take it for one of its own."""


class Broken(Exception):
    """A target that did with an input what it must not; the cause is chained."""

    def __init__(self, target: Target, data: bytes, cause: BaseException) -> None:
        super().__init__(f"{target.name}: {type(cause).__name__}: {str(cause)[:200]}, for {data[:80]!r}")
        self.data = data
        self.cause = cause

    @property
    def place(self) -> str:
        """What went wrong and where, the same for all inputs that show the same bug."""
        return place(self.cause)


def attempt(target: Target, data: bytes, *, slower: float = 1.0) -> bool:
    """Run a target once; whether it took the input, or refused it as it may.

    Args:
        target: what.
        data: the input.
        slower: so many times its time is allowed.

    Raises:
        Broken: anything else came out of it, or it took too long.
    """
    try:
        with bounded(target.limit_s * slower):
            target.run(data)
    except target.refusals:
        return False
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise Broken(target, data, error) from error
    return True


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Give the block so much processor time; how busy the machine is does not matter.

    Raises:
        TooSlow: it was over. Python looks for signals between its own steps and within a regular expression, so a call
            into a library is noticed when it comes back.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)


def _too_slow(_: int, __: FrameType | None) -> None:
    raise TooSlow("it takes too long")


@contextmanager
def watched() -> Iterator[None]:
    """Without it, what `bounded` does ends the process."""
    before = signal.signal(signal.SIGPROF, _too_slow)
    try:
        yield
    finally:
        signal.signal(signal.SIGPROF, before)


def place(error: BaseException) -> str:
    """The type of an error and the last line of ours that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"/{PACKAGE}/" in frame.filename] or list(frames)[-1:]
    if isinstance(error, TooSlow):
        ours = ours[:1]  # where exactly its time was over says nothing
    where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "nowhere"
    return f"{type(error).__name__} at {where}"


def name_of(data: bytes) -> str:
    """A file name for an input."""
    return sha256(data).hexdigest()[:12]
