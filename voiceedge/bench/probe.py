"""`voiceedge bench`: talk to a node as people would, and say how long it lets them wait.

The interval: from the last voiced sample of the user, at its moment in the microphone's schedule, to the
first audible sample of the answer (10 ms above -50 dBFS), when the speaker plays it.
"""

from __future__ import annotations

import asyncio
import statistics

from voiceedge.bench.caller import call
from voiceedge.bench.environment import environment, load
from voiceedge.bench.exchange import Exchange
from voiceedge.bench.hesitation import hesitating
from voiceedge.bench.options import BenchOptions, Doing, NodeUnreachable, Progress, check
from voiceedge.bench.plan import Line, Plan, plans
from voiceedge.bench.recording import Recording, load_recordings, spoken
from voiceedge.bench.report import BenchReport, TurnRow, turn_row
from voiceedge.errors import ConfigError
from voiceedge.trace import MILLISECONDS_A_SECOND, epoch_s


async def run_bench(options: BenchOptions) -> BenchReport:
    """Hold every conversation of every run, and report.

    Raises:
        ConfigError: the options do not make a run.
        AudioUnreadable: a recording is missing or broken; found before anything is sent.
        NodeUnreachable: no session at all. One that fails later ends its conversation, and the report says so.
    """
    check(options)  # a wrong option shows before any audio is read
    recordings = await asyncio.to_thread(_recordings, options)
    return await bench_recordings(options, recordings)


async def bench_recordings(options: BenchOptions, recordings: list[Recording]) -> BenchReport:
    """The same with recordings that are in memory, as `options` would have them: `--ramp` reads them once.

    Raises:
        NodeUnreachable: as `run_bench`.
    """
    before = load()
    progress = _Watcher(options, options.runs * options.sessions * (options.turns or len(recordings)))
    rows: list[TurnRow] = []
    trips_s: list[float] = []
    interrupted: str | None = None
    for run in range(1, options.runs + 1):
        conversations = await _at_once(options, plans(recordings, options, run), progress)
        rows += [row for conversation in conversations for row in conversation.rows]
        trips_s += [one.round_trip_s for one in conversations if one.round_trip_s is not None]
        ended = [one.ended_by for one in conversations if one.ended_by is not None]
        if ended and not rows:
            raise ended[0]
        if ended:
            several = f"{len(ended)} of {len(conversations)} conversations: " if len(conversations) > 1 else ""
            interrupted = f"{several}{ended[0]}"
            break
    about = {
        **environment(),
        **_asked(options),
        "finished_at": epoch_s(),
        "load_before": before,
        "load_after": load(),
        "round_trip_ms": round(statistics.median(trips_s) * MILLISECONDS_A_SECOND, 2) if trips_s else None,
    }
    return BenchReport(about, tuple(rows), interrupted)


def _asked(options: BenchOptions) -> dict[str, str | int | None]:
    """What was asked for, to state beside the figures."""
    return {
        "url": options.url,
        "model": options.model,
        "turn_detection": options.turn_detection,
        "listen": options.listen,
        "sessions": "one for each recording" if options.fresh else "one for all",
        "conversations": options.sessions,
        "runs": options.runs,
        "think_s": str(options.think),
        "hesitate_s": None if options.hesitate is None else str(options.hesitate),
        "seed": options.seed,
    }


def _recordings(options: BenchOptions) -> list[Recording]:
    recordings = load_recordings(options.audio)
    if options.say:
        if options.tts is None:
            raise ConfigError("there is no voice to speak the text with")
        recordings += [spoken(text, options.tts) for text in options.say]
    if not recordings:
        raise ConfigError("nothing to say: give a recording (--audio) or a text (--say)")
    if options.hesitate is not None:
        recordings = hesitating(recordings, options.hesitate, options.seed)
        if not recordings:
            raise ConfigError("none of the recordings has a quiet place in its middle to hesitate in")
    return recordings


async def _at_once(options: BenchOptions, planned: tuple[Plan, ...], watcher: _Watcher) -> list[_Conversation]:
    """Hold conversations at the same time, until the slowest has played all its recordings."""
    room = _Room(len(planned))
    conversations = [_Conversation(options, plan, room, watcher) for plan in planned]
    async with asyncio.TaskGroup() as tasks:
        held = [tasks.create_task(one.hold(), name=f"bench.conversation.{one.plan.session}") for one in conversations]
        await room.all_done.wait()
        for one, task in zip(conversations, held, strict=True):
            if one.encores:
                task.cancel()
    return conversations


class _Room:
    """Where the conversations of a run are held: knows when the last one has said what it came to say."""

    def __init__(self, conversations: int) -> None:
        self._busy = conversations
        self.all_done = asyncio.Event()

    def leave(self) -> None:
        """One conversation has said everything, or can say no more."""
        self._busy -= 1
        if self._busy == 0:
            self.all_done.set()


class _Conversation:
    """Goes through the lines of a plan, in as many sessions as it takes."""

    def __init__(self, options: BenchOptions, plan: Plan, room: _Room, watcher: _Watcher) -> None:
        self.plan = plan
        self.rows: list[TurnRow] = []
        self.round_trip_s: float | None = None
        self.ended_by: NodeUnreachable | None = None
        """Why it ended before its last line."""
        self.encores = 0
        """Lines said again behind the last, uncounted: nobody is measured on a node that the others have left."""
        self._options = options
        self._room = room
        self._watcher = watcher

    async def hold(self) -> None:
        """Play every line and fill `rows`; then play on until the other conversations have done the same."""
        opening_s = self.plan.opening_s
        try:
            while (line := self._next()) is not None:
                self._watch(line.recording.name, "connecting")
                await self._session(opening_s)
                opening_s = self._options.think.low
        except NodeUnreachable as error:
            if not self.encores:
                self.ended_by = error
                self._room.leave()

    async def _session(self, opening_s: float) -> None:
        async with call(self._options) as caller:
            self.round_trip_s = caller.round_trip_s
            async with caller.conversation(opening_s):
                while (line := self._next()) is not None:
                    self._done(await caller.say(line, self._watch))
                    if caller.lost or self._options.fresh:
                        break

    def _next(self) -> Line | None:
        lines = self.plan.lines
        if len(self.rows) < len(lines):
            return lines[len(self.rows)]
        if self._room.all_done.is_set():
            return None
        self.encores += 1
        return lines[(self.encores - 1) % len(lines)]

    def _done(self, exchange: Exchange) -> None:
        if self.encores:
            return
        self.rows.append(turn_row(exchange, self.plan.run, self.plan.session))
        self._watcher.turn_done(self.plan.session, self.rows[-1].audio)
        if len(self.rows) == len(self.plan.lines):
            self._room.leave()

    def _watch(self, audio: str, doing: Doing) -> None:
        self._watcher.tell(self.plan.session, audio, doing)


class _Watcher:
    """Tells whoever watches the run what all conversations do."""

    def __init__(self, options: BenchOptions, turns: int) -> None:
        self._progress = options.progress
        self._turns = turns
        self._done = 0
        self._doing: dict[int, Doing] = dict.fromkeys(range(1, options.sessions + 1), "connecting")
        self._told: Progress | None = None

    def tell(self, session: int, audio: str, doing: Doing) -> None:
        """A conversation does something else."""
        self._doing[session] = doing
        self._show(min(self._done + 1, self._turns), audio, doing)

    def turn_done(self, session: int, audio: str) -> None:
        """A conversation has finished a turn."""
        self._doing[session] = "done"
        self._done += 1
        self._show(self._done, audio, "done")

    def _show(self, turn: int, audio: str, doing: Doing) -> None:
        progress = Progress(turn, self._turns, audio, doing, tuple(self._doing.values()))
        if self._progress is not None and progress != self._told:
            self._told = progress
            self._progress(progress)
