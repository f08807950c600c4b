"""Feeds one target with inputs that lead to new ways through its code, until its executions or its time are over.

    python -m tests.fuzz.worker NAME --executions 1000000 --seconds 60 --output /tmp/fuzz

libFuzzer makes the inputs (atheris). What breaks is put aside, one input for each place, and the search goes on; how
far it is stands in `progress.json`. Only what ends the process itself (a crash in C, memory, a hang in C) is left to
libFuzzer, which writes the input beside the others.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["voiceedge"]):
    from tests.fuzz.places import Places
    from tests.fuzz.target import Target
    from tests.fuzz.targets import BY_NAME
    from tests.fuzz.trial import INSTRUMENTED, Broken, attempt, name_of, watched

SAID_EVERY_S = 0.5
LOOKED_EVERY = 64
"""Executions between two looks at the clock."""
MOST_MEMORY_MB = 1500
MOST_SECONDS = 30
"""Of one input that is stuck in C."""
NICEST = 19


class Search:
    """Counts the executions of one target, and keeps what broke it."""

    def __init__(self, target: Target, places: Places, executions: int) -> None:
        self._target = target
        self._places = places
        self._planned = executions
        self._begun = time.monotonic()
        self._said = 0.0
        self.executions = 0
        self.taken = 0
        self.broken: set[str] = set()

    def one(self, data: bytes) -> None:
        """One execution."""
        self.executions += 1
        try:
            self.taken += attempt(self._target, data, slower=INSTRUMENTED)
        except Broken as broken:
            self._keep(broken)
        if self.executions % LOOKED_EVERY == 0 or self.executions >= self._planned:
            self._say()

    def _keep(self, broken: Broken) -> None:
        if broken.place in self.broken:
            return
        self.broken.add(broken.place)
        path = self._places.crashes / name_of(broken.data)
        path.write_bytes(broken.data)
        told = f"{broken}\n{broken.place}\n\n{''.join(traceback.format_exception(broken.cause))}"
        path.with_suffix(".txt").write_text(
            f"{broken}\n{broken.place}\n\n{told}", encoding="utf-8", errors="backslashreplace"
        )

    def _say(self) -> None:
        now = time.monotonic()
        if now - self._said < SAID_EVERY_S and self.executions < self._planned:
            return
        self._said = now
        told = {"executions": self.executions, "taken": self.taken, "seconds": round(now - self._begun, 2)}
        self._places.progress.write_text(json.dumps({**told, "broken": sorted(self.broken)}), encoding="utf-8")


def main() -> None:
    """Search; libFuzzer ends the process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(BY_NAME))
    parser.add_argument("--executions", type=int, required=True)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    asked = parser.parse_args()
    os.nice(NICEST)
    target = BY_NAME[asked.name]
    places = Places(asked.output, target)
    places.make()
    search = Search(target, places, asked.executions)
    options = [
        f"-runs={asked.executions}",
        f"-max_total_time={asked.seconds}",
        f"-max_len={target.max_bytes}",
        f"-timeout={MOST_SECONDS}",
        f"-rss_limit_mb={MOST_MEMORY_MB}",
        f"-artifact_prefix={places.crashes}/",
        *([f"-dict={places.dictionary}"] if target.words else []),
        "-print_final_stats=0",
        "-reload=0",
    ]
    atheris.Setup(
        [sys.argv[0], *options, str(places.corpus), str(places.seeds), *map(str, places.committed)], search.one
    )
    with atheris.instrument_imports(include=["voiceedge"]), watched():  # some of it is imported on first use
        atheris.Fuzz()


if __name__ == "__main__":
    main()
