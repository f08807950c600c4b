"""Turns and reports to show, to judge and to compare."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from voiceedge.bench.again import command_again
from voiceedge.bench.arrivals import Arrivals
from voiceedge.bench.change import compare
from voiceedge.bench.environment import MachineUse, environment
from voiceedge.bench.exchange import Exchange
from voiceedge.bench.figures import distribution
from voiceedge.bench.microphone import Utterance
from voiceedge.bench.options import BenchOptions
from voiceedge.bench.playout import Playout
from voiceedge.bench.probe import _asked
from voiceedge.bench.ramp_steps import Ramp, RampStep
from voiceedge.bench.recording import WIRE_RATE_HZ, Recording
from voiceedge.bench.report import BenchReport, to_json
from voiceedge.bench.row import TurnRow
from voiceedge.bench.selfcheck import SelfCheck
from voiceedge.bench.soak import drift
from voiceedge.bench.wire import PathSegment, ResponseState, ServerEvent
from voiceedge.budget import parse_budget

SECOND = np.full(WIRE_RATE_HZ, 0.1, np.float32)


def exchange(name, heard_after_s, *, traced=True, silent_s=0.0):
    """A recording of a second, and the answer that was heard so long after it."""
    recording = Recording(name, SECOND, WIRE_RATE_HZ, "expected")
    found = Exchange(recording, Utterance(0.0, 1.0, 1.0), Playout())
    found.receive(ServerEvent("response.created", response=ResponseState("r")), 1.1)
    if heard_after_s is not None:
        silence = np.zeros(round(silent_s * WIRE_RATE_HZ), np.float32)
        delta = ServerEvent("response.output_audio.delta", response_id="r", item_id="i")
        found.receive_audio(delta, np.concatenate([silence, SECOND]), 1.0 + heard_after_s - silent_s)
    found.receive(ServerEvent("response.done", response=ResponseState("r", "completed")), 3.0)
    if traced and heard_after_s is not None:
        total_ms = heard_after_s * 1000 - 10
        path = (PathSegment("wait", 200.0), PathSegment("llm", total_ms - 200))
        trace = ServerEvent("voiceedge.turn", response_id="r", critical_path=path, total_ms=total_ms)
        found.receive(trace, 3.0)
    found.lags_s = [0.0, 0.004]
    return found


def row(audio, client_ms=500.0, **more):
    """A turn of which 490 ms are the node's; a failed one for None."""
    fields = {
        "audio": audio,
        "expected_text": None,
        "user_text": "what time [bold]is[/bold] it",
        "agent_text": "half past two",
        "client_v2v_ms": client_ms,
        "server_v2v_ms": 490.0,
        "critical_path": (PathSegment("wait", 200.0), PathSegment("stt", 90.0), PathSegment("llm", 200.0)),
        "marks_ms": {},
        "facts": {},
        "leading_silence_ms": 5.0,
        "problems": (),
        "errors": (),
        "responses": 1,
        "send_lag_ms": 0.5,
    }
    return TurnRow(**(fields | more))


MARKS_MS = {
    "stt_started": 60.0,
    "stt_final": 110.0,
    "llm_first_token": 140.0,
    "llm_first_clause": 180.0,
    "tts_first_audio": 195.0,
    "wait_over": 224.0,
    "endpoint": 232.0,
    "first_audio_out": 235.0,
}
"""Of an answer that was there before the endpoint."""
SPENT_MS = {"wait": 224.0, "end_of_turn": 8.0, "stt": 0.0, "llm": 0.0, "tts": 0.0, "queue": 0.0, "send": 3.0}
PATH = tuple(PathSegment(name, ms) for name, ms in SPENT_MS.items())

NODE = {
    "version": "0.1.0",
    "profile": "nano",
    "region": {"name": "fra", "latitude": 50.0, "longitude": 8.6},
    "models": [{"stage": "llm", "name": "small", "sha256": "0123456789abcdef" * 4, "quantisation": "int8", "bytes": 9}],
    "machine": {"cpu": "Node CPU", "cores": 4, "memory_bytes": 8 << 30, "flags": ["avx2"]},
    "threads": {"workers": 2},
    "max_sessions": 16,
}


@cache
def whole_report():
    """A report in which nothing is missing that a report can hold."""
    rows = [
        row(
            f"r{number}",
            250.0 + number,
            server_v2v_ms=235.0,
            critical_path=PATH,
            marks_ms=MARKS_MS,
            facts={"speculated": 1, "answer_ready_at_endpoint": 1, "wasted_ms": 5, "work_ms": 60},
            expected_text="what time is it",
            network_ms=4.0,
            zero_shift_ms=-2.0,
            interrupts=number == 2,
            barge_in_ms=180.0 if number == 2 else None,
            dead_audio_ms=190.0 if number == 2 else None,
            zero_s=100.0 + 3 * number,
        )
        for number in range(8)
    ]
    rows.append(row("failed", None, critical_path=(), server_v2v_ms=None, problems=("no_answer",), zero_s=130.0))
    few = distribution([1.0])
    report = BenchReport(
        {
            **environment(),
            **MachineUse().so_far(),
            **_asked(BenchOptions("host:1")),
            "finished_at": 1795472843,
            "round_trip_ms": 4.0,
        },
        tuple(rows),
        "stopped by hand",
        command=command_again(["bench", "host:1", "--slo", "p95<200ms"], "host:1"),
        node=NODE,
        budget=parse_budget("p50<800ms,wait.p95<200ms"),
        self_check=SelfCheck(3.0, few, few),
        drift=drift([row.client_v2v_ms for row in rows]),
        arrivals=Arrivals(6.0, 9, 0, 0, 3, few),
    )
    told = to_json(report)
    ramp = Ramp((RampStep(1, report, kept=True), RampStep(2, report, kept=False)), 1, "With 2 p95 was missed")
    return replace(report, ramp=ramp, change=compare(told, told, ["the seed was 1 and is 2"]))
