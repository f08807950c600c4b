"""People who talk to a node and mind their own business, in a process of their own: a JSON line a turn.

    python -m tests.adversary.honest wss://localhost:8080 KEY --sessions 4

Their microphones, ears and watches are those of `voiceedge bench`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

import numpy as np

from voiceedge.bench.caller import Caller, call
from voiceedge.bench.loop import punctual_loop
from voiceedge.bench.options import BenchOptions, NodeUnreachable
from voiceedge.bench.plan import Line
from voiceedge.bench.recording import WIRE_RATE_HZ, Recording
from voiceedge.trace import MILLISECONDS_A_SECOND

SPOKEN_S = 0.6
THINK_S = (0.2, 0.5)
"""Quiet between an answer and the next question: drawn anew each time, so that they do not speak in chorus."""
AGAIN_S = 0.5
"""After which one who was not let in, or was cut off, tries again."""


def words() -> Recording:
    """What a fake hears as speech."""
    samples = round(SPOKEN_S * WIRE_RATE_HZ)
    noise = np.random.default_rng(0).standard_normal(samples, np.float32) * np.float32(0.1)
    return Recording("words", noise, samples)


async def talk(options: BenchOptions, number: int) -> None:
    """Hold one conversation after another until cancelled."""
    chance = np.random.default_rng(number)
    while True:
        try:
            async with call(options) as caller, caller.conversation(float(chance.uniform(0.0, 1.0))):
                await _converse(caller, chance)
        except NodeUnreachable as error:
            _say(lost=str(error), at=options.pace.now())
        await asyncio.sleep(AGAIN_S)


async def _converse(caller: Caller, chance: np.random.Generator) -> None:
    is_there = True
    while is_there:
        line = Line(words(), float(chance.uniform(*THINK_S)))
        exchange = await caller.say(line, lambda _, __: None)
        heard_s = exchange.voice_to_voice_s
        _say(
            at=exchange.utterance.zero,
            ms=None if heard_s is None else heard_s * MILLISECONDS_A_SECOND,
            trip_ms=exchange.network_ms,
            late_ms=max(exchange.lags_s, default=0.0) * MILLISECONDS_A_SECOND,
            problems=exchange.problems,
            errors=exchange.errors,
        )
        is_there = not caller.lost


def _say(**turn: Any) -> None:
    sys.stdout.write(json.dumps(turn) + "\n")
    sys.stdout.flush()


async def _all(options: BenchOptions, sessions: int) -> None:
    async with asyncio.TaskGroup() as tasks:
        for number in range(sessions):
            tasks.create_task(talk(options, number))


def main() -> None:
    """Talk until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("--sessions", type=int, default=4)
    options = parser.parse_args()
    bench = BenchOptions(options.url, api_key=options.key, listen="first-audible", timeout_s=10.0)
    with asyncio.Runner(loop_factory=punctual_loop) as runner:
        runner.run(_all(bench, options.sessions))


if __name__ == "__main__":
    main()
