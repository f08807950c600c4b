"""What a control group leaves of the machine: containers, systemd units and Kubernetes pods are control groups.

Version 2 has one tree and files `cpu.max` and `memory.max`; version 1 a tree for each controller. Every group above
counts as well, so the least of all limits holds. A container may see its own group as the root of the tree while
/proc/self/cgroup names the path on the host: whatever of the path exists is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

SELF = Path("/proc/self/cgroup")
TREE = Path("/sys/fs/cgroup")
NO_LIMIT_BYTES = 1 << 60
"""Version 1 says "none" as the largest number of pages, 2^63 less one page."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be used; None where there is no limit."""

    cores: float | None = None
    """Of CPU time a second."""
    memory_bytes: int | None = None
    memory_left_bytes: int | None = None
    """Below the limit that is nearest. Pages of files that can be dropped count as free."""


def limits(membership: Path = SELF, tree: Path = TREE) -> Limits:
    """The limits of this process; none on a system without control groups."""
    cores: list[float] = []
    memory: list[tuple[int, int]] = []  # (limit, left)
    for controllers, group in _groups(membership):
        for folder in _folders(controllers, group, tree):
            cores += _cores(folder)
            memory += _memory(folder)
    return Limits(
        min(cores, default=None),
        min((limit for limit, _ in memory), default=None),
        min((left for _, left in memory), default=None),
    )


def _groups(membership: Path) -> Iterator[tuple[str, PurePosixPath]]:
    """(controllers, path) of every tree that this process is in; version 2's has no controllers' names."""
    for line in _text(membership).splitlines():
        _, controllers, group = line.split(":", 2)
        yield controllers, PurePosixPath(group.lstrip("/"))


def _folders(controllers: str, group: PurePosixPath, tree: Path) -> Iterator[Path]:
    """The group's folder and those above it, as far as they are there."""
    if not controllers:
        roots = [tree, tree / "unified"]
    elif {"cpu", "memory"} & set(controllers.split(",")):
        roots = [tree / controllers, *(tree / name for name in controllers.split(","))]
    else:
        return
    for root in dict.fromkeys(roots):
        yield from (root / part for part in (group, *group.parents) if (root / part).is_dir())


def _cores(folder: Path) -> list[float]:
    quota, _, period = _text(folder / "cpu.max").strip().partition(" ")
    if not period:
        quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
    with suppress(ValueError, ZeroDivisionError):  # "max", or no such file
        if (microseconds := int(quota)) > 0:
            return [microseconds / int(period)]
    return []


def _memory(folder: Path) -> list[tuple[int, int]]:
    for limit_file, used_file, dropped in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        with suppress(ValueError):  # "max", or no such file
            limit = int(_text(folder / limit_file))
            used = int(_text(folder / used_file))
            stat = dict(line.split(" ", 1) for line in _text(folder / "memory.stat").splitlines() if " " in line)
            if limit < NO_LIMIT_BYTES:
                return [(limit, max(0, limit - max(0, used - int(stat.get(dropped, 0)))))]
    return []


def _text(path: Path) -> str:
    """A file's text, empty where it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
