"""The latency probe: a client of any Realtime node, never a part of one."""

from __future__ import annotations

from voiceedge.bench.interval import Interval, interval
from voiceedge.bench.options import BenchOptions, Halt, Listen, NodeFull, NodeUnreachable
from voiceedge.bench.probe import run_bench
from voiceedge.bench.progress import Doing, Progress
from voiceedge.bench.ramp_steps import Ramp, RampStep
from voiceedge.bench.rendering import render
from voiceedge.bench.report import BenchReport, to_json
from voiceedge.bench.row import TurnRow

__all__ = [
    "BenchOptions",
    "BenchReport",
    "Doing",
    "Halt",
    "Interval",
    "Listen",
    "NodeFull",
    "NodeUnreachable",
    "Progress",
    "Ramp",
    "RampStep",
    "TurnRow",
    "interval",
    "render",
    "run_bench",
    "to_json",
]
