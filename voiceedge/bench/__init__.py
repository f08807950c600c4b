"""The latency probe: a client of any Realtime node, never a part of one."""

from __future__ import annotations

from voiceedge.bench.interval import Interval, interval
from voiceedge.bench.options import BenchOptions, Doing, Halt, Listen, NodeFull, NodeUnreachable, Progress
from voiceedge.bench.probe import run_bench
from voiceedge.bench.ramp import Ramp, RampStep
from voiceedge.bench.rendering import render
from voiceedge.bench.report import BenchReport, TurnRow, to_json

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
