"""Engines that are loaded anew, at a moment that a test chooses."""

import threading

from voiceedge.engines import Message, Piece, Prompt, Sampling
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.renewal import FAILURES, Renewal, parts_of

LONG_S = 10.0
"""Only a failing test waits for it."""
PROMPT = Prompt((Message("user", "What is the capital of France?"),))


class Hands:
    """A clock that a test turns."""

    def __init__(self):
        self.at = 1000.0

    def __call__(self):
        return self.at


class Loader:
    """Loads fakes, and fails as often as it is told to."""

    def __init__(self, **fakes):
        self.fakes = fakes
        self.failures = []
        self.stages = []
        self.made = []

    def __call__(self, stage):
        self.stages.append((stage, threading.current_thread().name))
        if self.failures:
            raise self.failures.pop()
        parts = parts_of(fake_engines(**self.fakes), stage)
        self.made.append(parts)
        return parts


class Renewed:
    """A renewal, and what came of it."""

    def __init__(self, engines=None, load=None):
        self.clock, self.load = Hands(), load or Loader()
        self.renewal = Renewal(engines or fake_engines(), self.load, clock=self.clock)
        self.changed = threading.Semaphore(0)
        self.renewal.on_change = self.changed.release

    def hang(self, stage):
        """Let a stage hang, and wait for another one in its place."""
        self.clock.at += 1
        self.renewal.hung(stage, self.clock.at)
        self.wait()

    def fall_sick(self, stage):
        """Let a stage fail until it is loaded anew, and wait for that."""
        self.fail(stage)
        self.wait()

    def fail(self, stage, times=FAILURES):
        self.clock.at += 1
        for _ in range(times):
            self.renewal.failed(stage, self.clock.at)

    def wait(self):
        assert self.changed.acquire(timeout=LONG_S)


def words(stream):
    return "".join(step.text for step in stream.generate(PROMPT, Sampling()) if isinstance(step, Piece))
