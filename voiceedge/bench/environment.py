"""The machine that the bench runs on: a figure without it means nothing."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from voiceedge import __version__
from voiceedge.errors import OperatorError


def environment() -> dict[str, Any]:
    """What to state beside every figure. The node may run elsewhere: this is the client's side."""
    return {
        "voiceedge": __version__,
        "python": platform.python_version(),
        "websockets": version("websockets"),
        "platform": platform.platform(terse=True),
        "cpu": cpu_model(),
        "cores": cores(),
    }


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's own name; its architecture where the system does not tell more."""
    try:
        lines = cpuinfo.read_text("utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load() -> float | None:
    """Processes that wanted to run, averaged over the last minute."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def cpu_s(pid: int, proc: Path = Path("/proc")) -> float:
    """Processor seconds that a process and its threads have used so far.

    Raises:
        OperatorError: there is no such process, or the system does not tell (it takes a /proc).
    """
    try:
        stat = (proc / str(pid) / "stat").read_text("ascii", errors="replace")
    except OSError as error:
        raise OperatorError(f"the processor time of process {pid} cannot be read: {error.strerror}") from error
    fields = stat.rpartition(")")[2].split()  # the name in brackets may hold anything
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / os.sysconf("SC_CLK_TCK")
