"""Steps of engine work that tests hold back and look at, and a model whose runs can be shared."""

import asyncio
import threading
from contextlib import aclosing

LONG_S = 10.0
"""Only a failing test waits for it."""
TIMEOUT_S = 0.1
"""So long a step may take where it is to hang."""


class Gate:
    """A step that goes on when it is told to."""

    def __init__(self):
        self._entered = threading.Event()
        self._opened = threading.Event()

    def __call__(self):
        self._entered.set()
        assert self._opened.wait(LONG_S)
        return "passed"

    async def entered(self):
        """Wait until a thread stands in the gate."""
        assert await asyncio.to_thread(self._entered.wait, LONG_S)

    def open(self):
        self._opened.set()


class Hang(Gate):
    """A step that does not come back before the test is over; it knows in which thread it is."""

    def __call__(self):
        self.thread = threading.current_thread()
        return super().__call__()

    def came_back(self):
        """Let it go on, and wait for its thread to end."""
        self.open()
        self.thread.join(LONG_S)
        assert not self.thread.is_alive()


class Steps:
    """A generator that yields what it is given, runs what can be run, and knows how it ended."""

    def __init__(self, *steps):
        self.steps = steps
        self.is_closed = False

    def __call__(self):
        try:
            for step in self.steps:
                yield step() if callable(step) else step
        finally:
            self.is_closed = True


def at_once():
    return 0.0


async def consume(compute, steps, got, deadline=at_once):
    async with aclosing(compute.stream(steps, deadline=deadline)) as stream:
        async for item in stream:
            got.append(item)


async def settle():
    """Let everything run that can run without waiting."""
    for _ in range(5):
        await asyncio.sleep(0)


async def block(compute, gate):
    """Keep the only worker busy until the gate opens."""
    task = asyncio.create_task(compute.run(gate, deadline=0.0))
    await gate.entered()
    return task


def begin_no_threads(monkeypatch):
    """From now on no threads can be begun but those of the test."""
    start = threading.Thread.start

    def refuse(thread):
        if thread.name.startswith(("compute-", "load ")):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)


class Model:
    """Decodes rows; knows which of them shared a run."""

    def __init__(self):
        self.runs = []
        self.fails = False
        self.alone = set()  # those that can share no run


class Row:
    """The run of one token."""

    def __init__(self, model, name):
        self.model = model
        self.name = name
        self.done = False

    def batch(self, others):
        joining = [row for row in others if row.name not in self.model.alone]
        return SharedRun(self.model, [self, *joining]) if joining else None


class SharedRun:
    """One run for several rows."""

    def __init__(self, model, rows):
        self.model = model
        self.rows = rows

    def run(self):
        if self.model.fails:
            raise RuntimeError("a batch cannot be run")
        self.model.runs.append("".join(sorted(row.name for row in self.rows)))
        for row in self.rows:
            row.done = True


class Decoding:
    """A generator of so many tokens, the first of which needs no run of the model."""

    def __init__(self, model, name, tokens, gate=None):
        self.row = None
        self._model, self._name, self._left, self._gate = model, name, tokens, gate
        self.is_closed = False

    def __iter__(self):
        return self

    def __next__(self):
        if self._left == 0:
            raise StopIteration
        if self._gate is not None and self.row is not None:
            self._gate()
            self._gate = None
        if self.row is not None and not self.row.done:
            self._model.runs.append(self._name)
        self._left -= 1
        self.row = Row(self._model, self._name) if self._left else None
        return self._name

    def close(self):
        self.is_closed = True
