"""`voiceedge bench`: talk to a node as people would, and say how long it lets them wait.

The interval: from the last voiced sample of the user, at its moment in the microphone's schedule, to the
first audible sample of the answer (10 ms above -50 dBFS), when the speaker plays it.
"""

from __future__ import annotations

import asyncio
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from voiceedge.bench.address import shown_url
from voiceedge.bench.arrivals import TURNS, Arrivals, arrive, conversations_of, missing_rows
from voiceedge.bench.conversations import Conversation, Over, at_once
from voiceedge.bench.environment import MachineUse, environment
from voiceedge.bench.hesitation import hesitating
from voiceedge.bench.node import about_node
from voiceedge.bench.options import BenchOptions, NodeFull, check
from voiceedge.bench.plan import plans
from voiceedge.bench.progress import Progress
from voiceedge.bench.questions import questions
from voiceedge.bench.ramp import Told, climb
from voiceedge.bench.ramp_steps import RampStep
from voiceedge.bench.recording import Recording, load_recordings, spoken
from voiceedge.bench.report import BenchReport
from voiceedge.bench.selfcheck import SelfWatch, checking
from voiceedge.bench.soak import drift
from voiceedge.bench.watching import Watcher
from voiceedge.errors import ConfigError
from voiceedge.trace import MILLISECONDS_A_SECOND, epoch_s


def _nobody(step: RampStep) -> None:
    del step


async def run_bench(options: BenchOptions, told: Told = _nobody) -> BenchReport:
    """Hold every conversation of every run, and report.

    Args:
        options: What to do.
        told: Gets every step of a ramp when it is done.

    Raises:
        ConfigError: the options do not make a run.
        AudioUnreadable: a recording is missing or broken; found before anything is sent.
        NodeUnreachable: no session at all. One that fails later ends its conversation, and the report says so.
    """
    check(options)  # a wrong option shows before any audio is read
    recordings = await asyncio.to_thread(_recordings, options)
    node = await asyncio.to_thread(about_node, options.url, options.api_key)
    if not options.ramp:
        return replace(await bench_recordings(options, recordings), node=node)
    ramp = await climb(options, lambda asked: bench_recordings(asked, recordings), told)
    return replace(ramp.best.report, node=node, ramp=ramp, self_check=None)  # every step has its own


async def bench_recordings(options: BenchOptions, recordings: list[Recording]) -> BenchReport:
    """The same with recordings that are in memory, as `options` would have them: a ramp reads them once.

    Raises:
        NodeUnreachable: as `run_bench`; in a ramp `NodeFull` where the node does not let in all of them.
    """
    machine, pace = MachineUse(), options.pace
    ends = math.inf if options.soak_s is None else pace.now() + options.soak_s
    arrivals: Arrivals | None = None

    def over() -> bool:
        return options.halt.asked or pace.now() >= ends

    watcher = Watcher(options, _turns(options, len(recordings)), None if options.soak_s is None else ends)
    async with checking() as seen:
        if options.arrivals_per_minute is None:
            held, ended = await _runs(options, recordings, watcher, seen, over)
            rows = [row for one in held for row in one.rows]
        else:
            held, arrivals = await arrive(options, recordings, watcher, seen, over)
            rows, ended = [row for one in held for row in (*one.rows, *missing_rows(one))], None
    rows.sort(key=lambda row: (row.run, row.session))
    check = seen.check(arrivals.arrived if arrivals else 0, arrivals.dropped if arrivals else 0)
    about = {
        **environment(),
        **_asked(options),
        "finished_at": epoch_s(),
        **machine.so_far(),
        "round_trip_ms": _round_trip_ms(held),
    }
    arrived = {one.plan.session: one.arrives for one in held}  # the moment of a turn that never was
    in_time = sorted(rows, key=lambda row: arrived[row.session] if row.zero_s is None else row.zero_s)
    return BenchReport(
        about,
        tuple(rows),
        "stopped by hand" if options.halt.asked else ended,
        budget=options.budget,
        self_check=check if pace.speed == 1.0 else None,  # at any other the figures mean nothing anyway
        drift=drift([row.client_v2v_ms for row in in_time]) if options.soak_s is not None else None,
        arrivals=arrivals,
    )


async def _runs(
    options: BenchOptions, recordings: Sequence[Recording], watcher: Watcher, seen: SelfWatch, over: Over
) -> tuple[list[Conversation], str | None]:
    """Hold the conversations of every run; also why that ended early, None if it did not."""
    for session in range(1, options.sessions + 1):
        watcher.expect(session)
    held: list[Conversation] = []
    for run in count(1):
        if over() or (options.soak_s is None and run > options.runs):
            break
        conversations = await at_once(options, plans(recordings, options, run), watcher, seen, over)
        held += conversations
        ended = [one.ended_by for one in conversations if one.ended_by is not None]
        if not ended:
            continue
        if options.ramp and any(one.refused for one in conversations):
            raise NodeFull(str(ended[0]), sum(one.connections > 0 for one in conversations))
        if not any(one.rows for one in held):
            raise ended[0]
        several = f"{len(ended)} of {len(conversations)} conversations: " if len(conversations) > 1 else ""
        return held, f"{several}{ended[0]}"
    return held, None


def _turns(options: BenchOptions, recordings: int) -> int | None:
    """How many turns there will be; None where the time decides."""
    if options.soak_s is not None:
        return None
    if options.arrivals_per_minute is not None:
        return (conversations_of(options, recordings) or 0) * (options.turns or TURNS)
    return options.runs * options.sessions * (options.turns or recordings)


def _round_trip_ms(held: Sequence[Conversation]) -> float | None:
    trips_s = [one.round_trip_s for one in held if one.round_trip_s is not None]
    return round(statistics.median(trips_s) * MILLISECONDS_A_SECOND, 2) if trips_s else None


def _asked(options: BenchOptions) -> dict[str, str | int | float | None]:
    """What was asked for, to state beside the figures."""
    return {
        "url": shown_url(options.url),
        "model": options.model,
        "turn_detection": options.turn_detection,
        "listen": options.listen,
        "sessions": "one for each recording" if options.fresh else "one for all",
        "conversations": options.sessions,
        "runs": options.runs,
        "think_s": str(options.think),
        "hesitate_s": None if options.hesitate is None else str(options.hesitate),
        "barge_in_s": None if options.barge_in is None else str(options.barge_in),
        "via_rtt_ms": options.via_rtt_ms,
        "soak_s": options.soak_s,
        "arrivals_per_minute": options.arrivals_per_minute,
        "seed": options.seed,
    }


def _spare(recordings: Sequence[Recording], options: BenchOptions) -> None:
    """Refuse to record over what is played."""
    if options.tapes is None:
        return
    most = options.at_most if options.ramp else options.sessions
    tapes = {options.tapes.path_of(session).resolve() for session in range(1, most + 1)}
    for one in recordings:
        if one.file is not None and one.file.resolve() in tapes:
            raise ConfigError(f"--wav would record over {one.file}, which is played")


def _recordings(options: BenchOptions) -> list[Recording]:
    recordings = load_recordings(options.audio)
    _spare(recordings, options)
    texts = options.say if options.say or options.audio else questions()
    if texts and options.tts is None:
        raise ConfigError("there is no voice to speak the text with")
    for number, text in enumerate(texts, start=1):
        assert options.tts is not None
        if options.progress is not None:
            options.progress(Progress(number, len(texts), text, "preparing", ("preparing",)))
        recordings.append(spoken(text, options.tts))
    if options.hesitate is not None:
        recordings = hesitating(recordings, options.hesitate, options.seed)
        if not recordings:
            raise ConfigError("none of the recordings has a quiet place in its middle to hesitate in")
    return recordings
