"""The processor, its cores and the memory, as far as this process may use them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voiceedge.machine.limits import Limits, limits

FEATURES: Mapping[str, str] = {
    "avx2": "AVX2",
    "avx512f": "AVX-512 F",
    "avx512_vnni": "AVX-512 VNNI",
    "avx_vnni": "AVX-VNNI",
    "amx_int8": "AMX int8",
    "asimd": "NEON",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
}
"""What the engines' kernels choose by, as Linux calls it."""
MAC_FEATURES: Mapping[str, str] = {
    "hw.optional.avx2_0": "AVX2",
    "hw.optional.avx512f": "AVX-512 F",
    "hw.optional.avx512vnni": "AVX-512 VNNI",
    "hw.optional.neon": "NEON",
    "hw.optional.AdvSIMD": "NEON",
    "hw.optional.arm.FEAT_DotProd": "dotprod",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
}
"""The same as macOS calls it; the value is 1 where it is there."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a node has here."""

    cpu: str
    """The processor's own name."""
    flags: tuple[str, ...]
    """The features of `FEATURES` that it has."""
    cores: int
    """That this process may run on."""
    quota: float | None = None
    """Cores' worth of time that a control group grants; None for no limit."""
    memory_bytes: int | None = None
    """In all, or what a control group grants. None where the system does not tell."""
    memory_free_bytes: int | None = None
    """That can still be taken."""

    @property
    def usable_cores(self) -> float:
        """How much CPU time there is, a second."""
        return self.cores if self.quota is None else min(self.quota, self.cores)

    @property
    def whole_cores(self) -> int:
        """What threads are planned for: of a core that is only granted in part, none but the first counts."""
        return max(1, int(self.usable_cores))

    def facts(self) -> dict[str, Any]:
        """As `/v1/node` tells it."""
        cores = self.cores if self.quota is None else round(self.usable_cores, 2)
        return {"cpu": self.cpu, "cores": cores, "memory_bytes": self.memory_bytes, "flags": list(self.flags)}


def machine() -> Machine:
    """Look at this machine."""
    return _mac(_sysctl) if sys.platform == "darwin" else linux(Path("/proc"), limits(), _cores())


def linux(proc: Path, allowed: Limits, cores: int) -> Machine:
    """Read a Linux machine out of its /proc."""
    cpu = _fields(proc / "cpuinfo")
    words = f"{cpu.get('flags', '')} {cpu.get('Features', '')}".split()  # x86, ARM
    memory = {name: int(value.split()[0]) * 1024 for name, value in _fields(proc / "meminfo").items() if value}
    return Machine(
        cpu.get("model name") or platform.processor() or platform.machine(),
        tuple(name for word, name in FEATURES.items() if word in words),
        cores,
        allowed.cores,
        _least(memory.get("MemTotal"), allowed.memory_bytes),
        _least(memory.get("MemAvailable"), allowed.memory_left_bytes),
    )


def _mac(sysctl: Callable[[str], Mapping[str, str]]) -> Machine:
    found, told = sysctl("hw"), sysctl("machdep.cpu")
    flags = dict.fromkeys(name for key, name in MAC_FEATURES.items() if found.get(key) == "1")
    total = found.get("hw.memsize", "")
    name = told.get("machdep.cpu.brand_string") or platform.machine()
    return Machine(name, tuple(flags), os.cpu_count() or 1, memory_bytes=int(total) if total.isdigit() else None)


def load_average() -> float | None:
    """Processes that wanted to run, averaged over the last minute; None where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has no such function
        return None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _least(*values: int | None) -> int | None:
    return min((value for value in values if value is not None), default=None)


def _fields(path: Path) -> dict[str, str]:
    """`name: value` lines of a file, the first of each name; none where it cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return dict(reversed(pairs))


def _sysctl(subtree: str) -> dict[str, str]:
    """Settings of macOS below a name; none where they cannot be asked for."""
    try:
        done = subprocess.run(["/usr/sbin/sysctl", subtree], capture_output=True, text=True, check=False, timeout=5)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in done.stdout.splitlines())}
