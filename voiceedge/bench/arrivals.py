"""People who call when they like: conversations begin at random moments, whatever the node does meanwhile."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from voiceedge.bench.conversations import Attendance, Conversation, Over
from voiceedge.bench.figures import Distribution, distribution
from voiceedge.bench.options import BenchOptions
from voiceedge.bench.plan import plan_of
from voiceedge.bench.recording import Recording
from voiceedge.bench.row import TurnRow
from voiceedge.bench.selfcheck import SelfWatch
from voiceedge.bench.watching import Watcher

TURNS = 3
"""Of a conversation, if nobody says."""
_SECONDS_A_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Arrivals:
    """How the conversations of an open model came about."""

    per_minute: float
    """As asked for."""
    arrived: int
    dropped: int
    """Of those, never begun, because `at_most` were being held; beyond a few the run is void."""
    refused: int
    """Of those, turned away by the node; their turns count as failed."""
    most_at_once: int
    connect_ms: Distribution
    """From the scheduled arrival to when the session can be talked in. Turns are counted from the microphone's
    schedule, which begins behind it."""


def moments(options: BenchOptions) -> Iterator[float]:
    """When conversations begin, in seconds from the beginning of the run: a Poisson process, for ever."""
    assert options.arrivals_per_minute is not None
    chance = np.random.default_rng((options.seed, 0))
    at_s = 0.0
    while True:
        at_s += float(chance.exponential(_SECONDS_A_MINUTE / options.arrivals_per_minute))
        yield at_s


def conversations_of(options: BenchOptions, recordings: int) -> int | None:
    """How many begin: enough for every recording once in each run; None where the time ends it."""
    return None if options.soak_s is not None else math.ceil(recordings * options.runs / (options.turns or TURNS))


async def arrive(
    options: BenchOptions, recordings: Sequence[Recording], watcher: Watcher, seen: SelfWatch, over: Over
) -> tuple[list[Conversation], Arrivals]:
    """Let conversations begin until there were enough or it is `over`, and hold all of them to their end.

    Raises:
        NodeUnreachable: not one of them came about.
    """
    most, pace = conversations_of(options, len(recordings)), options.pace
    held: list[Conversation] = []
    running: set[asyncio.Task[None]] = set()
    arrived = dropped = most_at_once = 0
    begun = pace.now()
    async with asyncio.TaskGroup() as tasks:
        for at_s in moments(options):
            if over() or arrived == most or not await _until(options, begun + at_s, over) or _nobody_there(held):
                break
            arrived += 1
            if len(running) >= options.at_most:
                dropped += 1
                continue
            plan = plan_of(recordings, options, run=1, session=arrived, turns=options.turns or TURNS)
            watcher.expect(arrived)
            one = Conversation(options, plan, Attendance([arrived], over), watcher, seen, arrives=begun + at_s)
            held.append(one)
            task = tasks.create_task(_hold(one, watcher), name=f"bench.conversation.{arrived}")
            running.add(task)
            task.add_done_callback(running.discard)
            most_at_once = max(most_at_once, len(running))
    for one in held:
        if one.ended_by is not None and not any(other.connections for other in held):
            raise one.ended_by
    assert options.arrivals_per_minute is not None
    connected = distribution(one.connect_ms for one in held)
    refused = sum(one.refused for one in held)
    return held, Arrivals(options.arrivals_per_minute, arrived, dropped, refused, most_at_once, connected)


def _nobody_there(held: Sequence[Conversation]) -> bool:
    """Whether there is no node, so that to go on is of no use; one that is full may have room for the next."""
    gone = any(one.ended_by is not None and not one.refused for one in held)
    return gone and not any(one.connections for one in held)


def missing_rows(one: Conversation) -> list[TurnRow]:
    """The turns that a conversation could not hold, as failed ones: the denominator is what was meant to be."""
    if one.ended_by is None:
        return []
    why = (str(one.ended_by),)
    return [
        TurnRow(
            audio=line.recording.name,
            expected_text=line.recording.expected_text,
            user_text="",
            agent_text="",
            client_v2v_ms=None,
            server_v2v_ms=None,
            critical_path=(),
            marks_ms={},
            facts={},
            leading_silence_ms=None,
            problems=("disconnected",),
            errors=why,
            responses=0,
            send_lag_ms=0.0,
            run=one.plan.run,
            session=one.plan.session,
        )
        for line in one.plan.lines[len(one.rows) :]
    ]


async def _hold(one: Conversation, watcher: Watcher) -> None:
    await one.hold()
    watcher.forget(one.plan.session)


async def _until(options: BenchOptions, moment: float, over: Over) -> bool:
    """Wait for a moment, which may be minutes away; False when it is over before."""
    while (wait_s := options.pace.real_s(moment)) > 0.0:
        if over():
            return False
        await asyncio.sleep(min(wait_s, 0.25))
    return True
