"""`voiceedge bench`: talk to a node as a person would, and say how long it lets them wait.

The interval: from the last voiced sample of the user, at its moment in the microphone's schedule, to the
first audible sample of the answer (10 ms above -50 dBFS), when the speaker plays it.
"""

from __future__ import annotations

import asyncio

from voiceedge.bench.caller import call
from voiceedge.bench.environment import environment, load
from voiceedge.bench.exchange import Exchange
from voiceedge.bench.options import BenchOptions, Doing, NodeUnreachable, Progress, check
from voiceedge.bench.recording import Recording, load_recordings, spoken
from voiceedge.bench.report import BenchReport, TurnRow, turn_row
from voiceedge.errors import ConfigError
from voiceedge.trace import MILLISECONDS_A_SECOND, epoch_s


async def run_bench(options: BenchOptions) -> BenchReport:
    """Say every recording to the node, one after the other, and report.

    Raises:
        ConfigError: the options do not make a run.
        AudioUnreadable: a recording is missing or broken; found before anything is sent.
        NodeUnreachable: no session at all. One that fails later ends the run, and the report says so.
    """
    check(options)  # a wrong option shows before any audio is read
    recordings = await asyncio.to_thread(_recordings, options)
    before = load()
    rows, round_trip_s, interrupted = await _Run(options, recordings).to_the_end()
    about = {
        **environment(),
        "url": options.url,
        "model": options.model,
        "turn_detection": options.turn_detection,
        "listen": options.listen,
        "sessions": "one for each recording" if options.fresh else "one for all",
        "finished_at": epoch_s(),
        "load_before": before,
        "load_after": load(),
        "round_trip_ms": None if round_trip_s is None else round(round_trip_s * MILLISECONDS_A_SECOND, 2),
    }
    return BenchReport(about, tuple(rows), interrupted)


def _recordings(options: BenchOptions) -> list[Recording]:
    recordings = load_recordings(options.audio)
    if options.say:
        if options.tts is None:
            raise ConfigError("there is no voice to speak the text with")
        recordings += [spoken(text, options.tts) for text in options.say]
    if not recordings:
        raise ConfigError("nothing to say: give a recording (--audio) or a text (--say)")
    return recordings


class _Run:
    """Goes through the recordings, in as many sessions as it takes."""

    def __init__(self, options: BenchOptions, recordings: list[Recording]) -> None:
        self._options = options
        self._recordings = recordings
        self._rows: list[TurnRow] = []
        self._round_trip_s: float | None = None
        self._told: Progress | None = None

    async def to_the_end(self) -> tuple[list[TurnRow], float | None, str | None]:
        """The rows, the way to the node and back, and why the run ended early."""
        while left := self._recordings[len(self._rows) :]:
            self._watch(left[0].name, "connecting")
            try:
                async with call(self._options) as caller:
                    self._round_trip_s = caller.round_trip_s
                    said = left[:1] if self._options.fresh else left
                    await caller.converse(said, self._watch, self._done)
            except NodeUnreachable as error:
                if not self._rows:
                    raise
                return self._rows, self._round_trip_s, str(error)
        return self._rows, self._round_trip_s, None

    def _done(self, exchange: Exchange) -> None:
        row = turn_row(exchange)
        self._rows.append(row)
        self._tell(len(self._rows), row.audio, "done")

    def _watch(self, audio: str, doing: Doing) -> None:
        self._tell(len(self._rows) + 1, audio, doing)

    def _tell(self, turn: int, audio: str, doing: Doing) -> None:
        progress = Progress(turn, len(self._recordings), audio, doing)
        if self._options.progress is not None and progress != self._told:
            self._told = progress
            self._options.progress(progress)
