"""Two nodes held against each other: for every recording first one is asked, then the other, never both at once.

So both meet the same machine in the same mood, and a neighbour's burst hits a recording and not a side. While
one is asked, the other's microphone is switched off: its session rests, with its conversation and its caches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial

from voiceedge.bench.caller import Caller, Watch, call
from voiceedge.bench.environment import cpu_s
from voiceedge.bench.options import A_SECOND, BenchOptions
from voiceedge.bench.plan import Line
from voiceedge.bench.probe import bench_recordings
from voiceedge.bench.progress import Doing
from voiceedge.bench.recording import Recording
from voiceedge.bench.report import BenchReport
from voiceedge.bench.row import TurnRow, turn_row
from voiceedge.trace import now

Pair = tuple[TurnRow, TurnRow]
"""One recording's turns with the first and with the second node."""


@dataclass(slots=True)
class CpuUse:
    """Processor time of a node while it was being talked to."""

    cpu_s: float = 0.0
    lasted_s: float = 0.0

    @property
    def percent(self) -> float | None:
        """Of one core; None before anything was measured."""
        return 100.0 * self.cpu_s / self.lasted_s if self.lasted_s > 0.0 else None


class Side:
    """One node of the comparison, and the conversation with it from the first question to `hang_up`.

    Args:
        name: As the report calls it.
        options: How to reach it and to talk to it.
        pid: Its process on this machine, whose processor time is counted.
    """

    def __init__(self, name: str, options: BenchOptions, pid: int) -> None:
        self.name = name
        self._options = options
        self._pid = pid
        self._caller: Caller | None = None
        self._line = AsyncExitStack()

    async def hang_up(self) -> None:
        """End the conversation; the next question begins another one."""
        self._caller = None
        await self._line.aclose()

    async def ask(self, line: Line, run: int, watch: Watch, use: CpuUse) -> TurnRow:
        """Say one recording and return the turn; `use` grows by what it cost.

        Raises:
            NodeUnreachable: there is no session, or none any more.
        """
        if self._caller is None:
            self._caller = await self._line.enter_async_context(call(self._options))
            await self._line.enter_async_context(self._caller.conversation(A_SECOND.low))
        caller = self._caller
        with self._counted(use):
            caller.microphone.switch_on()
            exchange = await caller.say(line, watch)
        if caller.lost:
            await self.hang_up()
        else:
            caller.microphone.switch_off()
        return turn_row(exchange, run)

    async def silence(self, seconds: float) -> CpuUse:
        """What a session costs in which nobody speaks for so long."""
        use = CpuUse()
        async with call(self._options) as caller, caller.conversation(A_SECOND.low):
            with self._counted(use):
                await asyncio.sleep(seconds)
        return use

    async def rest(self, seconds: float) -> CpuUse:
        """What the node costs without any session."""
        use = CpuUse()
        with self._counted(use):
            await asyncio.sleep(seconds)
        return use

    async def crowd(self, options: BenchOptions, recordings: list[Recording]) -> tuple[BenchReport, CpuUse]:
        """Several conversations at once, as `options` say; the address is this node's.

        Raises:
            NodeUnreachable: there is no session.
        """
        use = CpuUse()
        with self._counted(use):
            report = await bench_recordings(replace(options, url=self._options.url), recordings)
        return report, use

    def _counted(self, use: CpuUse) -> _Counted:
        return _Counted(self._pid, use)


class _Counted:
    """Adds the processor time and the duration of a block."""

    def __init__(self, pid: int, use: CpuUse) -> None:
        self._pid = pid
        self._use = use

    def __enter__(self) -> None:
        self._began = (cpu_s(self._pid), now())

    def __exit__(self, *_: object) -> None:
        spent, at = self._began
        self._use.cpu_s += cpu_s(self._pid) - spent
        self._use.lasted_s += now() - at


async def take_turns(
    sides: tuple[Side, Side],
    lines: Sequence[Line],
    run: int,
    uses: tuple[CpuUse, CpuUse],
    watch: Callable[[Side, str, Doing], None],
    done: Callable[[Pair], None],
) -> None:
    """Ask both sides every line, the one that begins alternating, in a conversation each; `done` gets each pair.

    Raises:
        NodeUnreachable: one of them cannot be talked to any more.
    """
    try:
        for number, line in enumerate(lines):
            rows: dict[int, TurnRow] = {}
            for place in (0, 1) if (number + run) % 2 else (1, 0):
                side = sides[place]
                rows[place] = await side.ask(line, run, partial(watch, side), uses[place])
            done((rows[0], rows[1]))
    finally:
        for side in sides:
            await side.hang_up()
