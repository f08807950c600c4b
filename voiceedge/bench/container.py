"""The limits that a container puts on its processes (control groups of Linux, both versions)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
"""A line for each hierarchy, `number:controllers:path`; version 2 has the number 0 and no controllers."""

_NO_LIMIT_BYTES = 1 << 62
"""Version 1 writes the largest number of pages where there is no limit."""


def cpu_limit_cores(cgroups: Path = CGROUPS, own: Path = OWN) -> float | None:
    """Cores' worth of time that the process may use; None without a limit, or on another system."""
    limits = []
    for folder in _folders("", cgroups, own):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        limits += _share(quota, period)
    for folder in _folders("cpu", cgroups, own):
        limits += _share(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))
    return min(limits, default=None)


def memory_limit_bytes(cgroups: Path = CGROUPS, own: Path = OWN) -> int | None:
    """Memory that the process may use; None without a limit, or on another system."""
    stated = [_read(folder / "memory.max") for folder in _folders("", cgroups, own)]
    stated += [_read(folder / "memory.limit_in_bytes") for folder in _folders("memory", cgroups, own)]
    limits = [int(text) for text in stated if text.isdecimal()]
    return min((limit for limit in limits if limit < _NO_LIMIT_BYTES), default=None)


def _folders(controller: str, cgroups: Path, own: Path) -> Iterator[Path]:
    """Where limits may stand: every group above the process's own has a say.

    The path is that of the machine, where a container sees its own group as the root; then only that is found.
    """
    for line in _read(own).splitlines():
        _, _, named = line.partition(":")
        controllers, _, path = named.partition(":")
        if controller in controllers.split(","):
            root = cgroups / controller if controller else cgroups
            inner = Path(path.lstrip("/"))
            yield from (root / part for part in (inner, *inner.parents) if (root / part).is_dir())


def _share(quota: str, period: str) -> list[float]:
    """Version 1 writes -1 and version 2 `max` where there is no limit."""
    return [int(quota) / int(period)] if quota.isdecimal() and period.isdecimal() and int(period) > 0 else []


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii", errors="replace").strip()
    except OSError:
        return ""
