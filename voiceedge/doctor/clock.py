"""Whether the clocks can be trusted: latencies are counted on one, certificates and secrets end by the other."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from email.utils import formatdate
from itertools import pairwise

from voiceedge.doctor.finding import Finding
from voiceedge.trace import Clock, epoch_s, now

READINGS = 1000
COARSE_S = 1e-3
"""A clock that steps further cannot tell a stage from the next."""
RELEASED_S = 1_764_547_200
"""1 December 2025, before any release: an earlier clock is wrong."""
TIME_ERROR = 5
"""What adjtimex(2) returns while nothing keeps the clock synchronised."""
TIMEX_BYTES = 512
"""More than `struct timex` takes anywhere; all zeros only ask."""


def clock_findings(
    clock: Clock = now, wall: Callable[[], int] = epoch_s, kept: Callable[[], bool | None] | None = None
) -> list[Finding]:
    """What is to be said about the clock that latencies are counted on, and the one on the wall."""
    readings = [clock() for _ in range(READINGS)]
    step_s = min((later - earlier for earlier, later in pairwise(readings) if later > earlier), default=COARSE_S)
    counted = f"latencies are counted in steps of {step_s * 1e6:.2g} µs"
    date = formatdate(wall(), usegmt=True)
    synchronised = (kept or is_synchronised)()
    findings = [
        Finding("clock", "ok", counted)
        if step_s < COARSE_S
        else Finding("clock", "warning", counted, "Stages cannot be told apart: choose a finer clock source.")
    ]
    if wall() < RELEASED_S:
        advice = "Set it, or run an NTP client: certificates and client secrets are judged by it."
        return [*findings, Finding("clock", "problem", f"{date} is before this program was made", advice)]
    if synchronised is False:
        advice = "Run an NTP client (chrony, systemd-timesyncd): client secrets of other nodes are judged by it."
        return [*findings, Finding("clock", "warning", f"{date}, not synchronised", advice)]
    state = "synchronised" if synchronised else "the system does not tell whether it is synchronised"
    return [*findings, Finding("clock", "ok", f"{date}, {state}")]


def is_synchronised() -> bool | None:
    """Whether something keeps the wall clock right; None where the system does not tell."""
    if sys.platform != "linux":
        return None
    state: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_BYTES))
    return None if state < 0 else state != TIME_ERROR
