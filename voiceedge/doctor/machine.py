"""What is to be said about the machine: whether its processor, cores and memory will do."""

from __future__ import annotations

from voiceedge.doctor.finding import Finding
from voiceedge.machine import Machine

NEEDED = {"AVX2", "NEON"}
"""One of these, or the kernels fall back to code that no conversation waits for."""
QUICK = {"AVX-512 VNNI", "AVX-VNNI", "AMX int8", "dotprod", "i8mm"}
"""One of these multiplies 8-bit weights in one instruction: 2 to 5 times as fast."""
QUIET = 0.25
"""Share of the cores that others may use while this machine is measured."""
GIGABYTE = 1e9
LITTLE_MEMORY_BYTES = 1_000_000_000
"""What the smallest profile needs."""


def machine_findings(found: Machine) -> list[Finding]:
    """What is to be said about it."""
    return [_processor(found), _time(found), _memory(found)]


def load_finding(cores: int, load: float | None) -> Finding:
    """Whether others want the processor as well: what is measured beside them is too slow.

    Args:
        cores: of this machine.
        load: processes that wanted to run, averaged over the last minute; None where the system does not tell.
    """
    if load is None:
        return Finding("machine", "ok", "the system does not tell what else runs")
    text = f"{load:.1f} processes wanted to run, averaged over the last minute"
    if load > QUIET * cores:
        return Finding("machine", "warning", text, "Figures of the self-test are too low: stop the others for it.")
    return Finding("machine", "ok", text)


def _processor(found: Machine) -> Finding:
    text = f"{found.cpu}: {', '.join(found.flags) or 'no vector instructions that matter'}"
    if not NEEDED & set(found.flags):
        return Finding("machine", "problem", text, "Use a processor with AVX2 (x86-64) or NEON (arm64).")
    if not QUICK & set(found.flags):
        advice = "8-bit models run 2 to 5 times as fast with VNNI (x86-64) or dotprod (arm64)."
        return Finding("machine", "warning", f"{text}; none for 8-bit products", advice)
    return Finding("machine", "ok", text)


def _time(found: Machine) -> Finding:
    cores = f"{found.cores} core{'s' if found.cores != 1 else ''}"
    if found.quota is None or found.quota >= found.cores:
        return Finding("machine", "ok", f"{cores}, no control group limits their time")
    text = f"{cores}, but a control group grants the time of {found.quota:g}"
    advice = "Engines are stopped whenever it is used up: give whole cores (--cpuset-cpus) or raise the limit."
    return Finding("machine", "warning", text, advice)


def _memory(found: Machine) -> Finding:
    if found.memory_bytes is None:
        return Finding("machine", "ok", "memory: the system does not tell")
    total = f"{found.memory_bytes / GIGABYTE:.1f} GB of memory"
    if found.memory_free_bytes is None:
        return Finding("machine", "ok", total)
    text = f"{found.memory_free_bytes / GIGABYTE:.1f} of {total} free"
    if found.memory_free_bytes < LITTLE_MEMORY_BYTES:
        return Finding("machine", "warning", text, "The smallest profile, nano, needs 1 GB: make room.")
    return Finding("machine", "ok", text)
