"""A run: a node, callers for so long, and the judgement of both."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.endure.crowd import Crowd, speeches
from tests.endure.ledger import Ledger
from tests.endure.marks import LOUD, QUIET
from tests.endure.watching import Sample, Slope, look, slope

REHEARSAL = 0.1
"""Of the time, at most `REHEARSAL_S`: what is made on first use is there before anything is compared with it."""
REHEARSAL_S = 60.0
CROWD_OF_LOOKS = 40
"""Looks at once: they fill the pool of threads that answers them, which never shrinks."""
SETTLED_S = 90.0
"""How long a node may take until all is as before: a thread that hangs, a client that does not read."""
LOOKED_EVERY_S = 1.0
WARM_UP = 0.4
"""Of the time, at most `WARM_UP_S`, whose memory does not count."""
WARM_UP_S = 900.0
JUDGED_MINUTES = 20.0
"""Memory that is watched for less is told and not judged: arenas fill for longer."""
START_S = 120.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do to which node."""

    minutes: float
    sessions: int
    seed: int
    faults: str
    """As in tests/faulty.py; empty for none."""
    serve: tuple[str, ...]
    """Options of `voiceedge serve`."""
    every_s: float = 10.0
    """Between two looks at the node."""
    rest_every_s: float = 180.0
    """Everybody leaves so often, to see what the node holds then: what conversations hold comes and goes by tens of
    megabytes, and hides what stays."""
    calm_s: float = 8.0
    """How long nothing may change until the node counts as being at rest: longer than engines hang."""
    max_mb_an_hour: float = 1.0


@dataclass
class Outcome:
    """What was found so far."""

    plan: Plan
    ledger: Ledger = field(default_factory=Ledger)
    samples: list[Sample] = field(default_factory=list)
    rests: list[Sample] = field(default_factory=list)
    """Those in between at which nobody was there."""
    before: Sample | None = None
    """After the rehearsal, when nobody was there."""
    after: Sample | None = None
    """The same at the end."""
    exit_code: int | None = None
    """Of the node, which is asked to stop when all have left."""
    interrupted: bool = False
    doing: str = "starting"

    @property
    def slope(self) -> Slope | None:
        """Of the memory that is held when nobody is there, behind the warm-up."""
        return slope(self.rests, after_s=min(WARM_UP * self.plan.minutes * 60, WARM_UP_S))

    @property
    def leaks(self) -> dict[str, int]:
        """What is left that was not there before, by what it is; nothing where all is well."""
        if self.before is None or self.after is None:
            return {}
        pairs = {name: (getattr(self.before, name), getattr(self.after, name)) for name in LEAKING}
        return {name: after - before for name, (before, after) in pairs.items() if after > before}

    @property
    def complaints(self) -> list[str]:
        """Why the run is not good, a sentence each."""
        said = [f"{kind}: {count} times" for kind, count in sorted(self.ledger.found.items())]
        said += [f"{count} {name} are left over" for name, count in self.leaks.items()]
        grows = self.slope
        if grows is not None and grows.minutes >= JUDGED_MINUTES and grows.low > self.plan.max_mb_an_hour:
            said.append(f"memory grows by {grows.mb_an_hour:.1f} MB an hour ({grows.low:.1f} to {grows.high:.1f})")
        if self.after is None and not self.interrupted:
            said.append("the node was gone before the end")
        if self.exit_code not in {0, None}:
            said.append(f"the node ended with {self.exit_code}")
        return said


LEAKING = ("tasks", "threads", "descriptors", "sessions")
Told = Callable[[Outcome], None]
"""Is told after each look."""


class NodeGone(Exception):
    """It ended by itself."""


@contextmanager
def a_node(plan: Plan, log: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start it; its process and its address. It is asked to stop in the end."""
    command = [sys.executable, "-m", "tests.endure.serve", "--faults", plan.faults, "--seed", str(plan.seed), "--"]
    command += ["serve", "--port", "0", "--max-sessions", str(plan.sessions), *plan.serve]
    with (
        log.open("w", encoding="utf-8") as written,
        # a group of its own: Ctrl-C ends the callers first
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=written, text=True, start_new_session=True) as node,
    ):
        assert node.stdout is not None
        try:
            found = next((found for line in node.stdout if (found := re.search(r"http://[^/\s]+", line))), None)
            if found is None:
                raise SystemExit(f"The node did not start:\n{log.read_text('utf-8')}")
            yield node, found[0]
        finally:
            node.terminate()
            try:
                node.wait(60)
            except subprocess.TimeoutExpired:
                node.kill()


async def endure(plan: Plan, outcome: Outcome, log: Path, told: Told) -> None:
    """Do it; what is found is in `outcome`, also when it is cancelled."""
    for peak in (QUIET, LOUD):
        speeches(peak)  # loads a voice: not while somebody speaks
    with a_node(plan, log) as (node, url):
        await _until_it_listens(node.pid, url)
        seconds = plan.minutes * 60
        crowd = Crowd(url, outcome.ledger, plan.seed, has_faults=bool(plan.faults))
        outcome.doing = "rehearsing"
        await crowd.come(plan.sessions, min(REHEARSAL * seconds, REHEARSAL_S))
        await asyncio.gather(*(look(node.pid, url, 0.0) for _ in range(CROWD_OF_LOOKS)))
        outcome.before = await _at_rest(plan, node.pid, url, asyncio.get_running_loop().time())
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(_watch(plan, outcome, node, url, told))
            await _tides(plan, outcome, crowd, node.pid, url)
            watching.cancel()
        outcome.doing = "waiting until all is as before"
        outcome.after = await _as_before(node.pid, url, outcome.before)
    outcome.exit_code = node.returncode


async def _until_it_listens(pid: int, url: str) -> None:
    """The node names its page a moment before it listens."""
    async with asyncio.timeout(START_S):
        while True:
            with suppress(ConnectionRefusedError):
                await look(pid, url, 0.0)
                return
            await asyncio.sleep(0.1)


async def _tides(plan: Plan, outcome: Outcome, crowd: Crowd, pid: int, url: str) -> None:
    """Have all come and all leave, again and again, and see what is held in between."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while (left := begun + plan.minutes * 60 - loop.time()) > 0:
        outcome.doing = "enduring"
        await crowd.come(plan.sessions, min(left, plan.rest_every_s))
        outcome.doing = "resting"
        outcome.rests.append(await _at_rest(plan, pid, url, begun))


async def _watch(plan: Plan, outcome: Outcome, node: subprocess.Popen[str], url: str, told: Told) -> None:
    """Take samples until cancelled.

    Raises:
        NodeGone: it has ended.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while True:
        if node.poll() is not None:
            raise NodeGone(f"the node ended with {node.returncode}, {loop.time() - begun:.0f} s after it began")
        outcome.samples.append(await look(node.pid, url, loop.time() - begun))
        told(outcome)
        await asyncio.sleep(plan.every_s)


async def _at_rest(plan: Plan, pid: int, url: str, begun: float) -> Sample:
    """What is there when nobody is: what has not changed for so long, or what there is when that takes too long."""
    loop = asyncio.get_running_loop()
    until = loop.time() + SETTLED_S
    now, since = await look(pid, url, loop.time() - begun), loop.time()
    while loop.time() < until and loop.time() < since + plan.calm_s:
        await asyncio.sleep(LOOKED_EVERY_S)
        last, now = now, await look(pid, url, loop.time() - begun)
        if now.sessions > 0 or _held(now) != _held(last):
            since = loop.time()
    return now


async def _as_before(pid: int, url: str, before: Sample) -> Sample:
    """What is left when everybody has gone: no more than `before`, or what there is when that takes too long."""
    loop = asyncio.get_running_loop()
    until = loop.time() + SETTLED_S
    while True:
        now = await look(pid, url, 0.0)
        if loop.time() > until or all(there <= then for there, then in zip(_held(now), _held(before), strict=True)):
            return now
        await asyncio.sleep(LOOKED_EVERY_S)


def _held(sample: Sample) -> tuple[int, ...]:
    return tuple(getattr(sample, name) for name in LEAKING)
