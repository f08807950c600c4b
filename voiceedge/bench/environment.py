"""The machine that the bench runs on: a figure without it means nothing."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from voiceedge import __version__
from voiceedge.errors import OperatorError
from voiceedge.machine import limits, load_average, machine
from voiceedge.trace import Clock, cpu_now, now

_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_STEAL_FIELD = 7  # of /proc/stat's "cpu" line: user nice system idle iowait irq softirq steal


def environment() -> dict[str, Any]:
    """What to state beside every figure. The node may run elsewhere: this is the client's side."""
    found, allowed = machine(), limits()
    return {
        "voiceedge": __version__,
        "python": platform.python_version(),
        "websockets": version("websockets"),
        "platform": platform.platform(terse=True),
        "kernel": platform.release(),
        "cpu": found.cpu,
        "cores": found.cores,
        "governor": governor(),
        "memory_bytes": found.memory_bytes,
        "container_cpu_cores": allowed.cores,
        "container_memory_bytes": allowed.memory_bytes,
    }


def governor(path: Path = _GOVERNOR) -> str | None:
    """How the processor chooses its clock; None where the system does not tell, as in most virtual machines."""
    try:
        return path.read_text("ascii", errors="replace").strip() or None
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


class MachineUse:
    """What a run made of this machine: begins when it is created.

    Args:
        clock: Seconds of the wall.
        stat: The system's own account of its processors' time.
    """

    def __init__(self, clock: Clock = now, stat: Path = Path("/proc/stat")) -> None:
        self._clock = clock
        self._stat = stat
        self._load = _load()
        self._began = clock()
        self._own_s = cpu_now()
        self._ticks = _ticks(stat)

    def so_far(self) -> dict[str, float | None]:
        """What to state of it.

        `load_before`, `load_after`; `client_cpu_percent`, of one core, that this process used; `steal_percent`, of all
        processors' time, that the machine below gave to others (None where the system does not tell).
        """
        lasted_s = self._clock() - self._began
        return {
            "lasted_s": round(lasted_s, 1),
            "load_before": self._load,
            "load_after": _load(),
            "client_cpu_percent": round(100.0 * (cpu_now() - self._own_s) / lasted_s, 1) if lasted_s > 0.0 else None,
            "steal_percent": self._steal_percent(),
        }

    def _steal_percent(self) -> float | None:
        passed = [after - before for before, after in zip(self._ticks, _ticks(self._stat), strict=False)]
        if len(passed) <= _STEAL_FIELD or sum(passed) <= 0:
            return None
        return round(100.0 * passed[_STEAL_FIELD] / sum(passed), 2)


def _load() -> float | None:
    return None if (load := load_average()) is None else round(load, 2)


def _ticks(stat: Path) -> list[int]:
    """Of all processors together: user, nice, system, idle, iowait, irq, softirq, steal; guests are part of user."""
    try:
        named, *ticks = stat.read_text("ascii").partition("\n")[0].split()
    except (OSError, ValueError):
        return []
    return [int(field) for field in ticks[: _STEAL_FIELD + 1]] if named == "cpu" else []
