"""How many files and sockets this process may have open."""

from __future__ import annotations

import sys


def most_descriptors() -> int | None:
    """Take as many as the process may have without asking anybody, and say how many; None where there is no such limit.

    Systems begin with 1,024, for the sake of programs that cannot count further (`select`), and allow far more.
    """
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 - no such module on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):  # macOS says that there is no limit, and keeps one
        return None if soft == resource.RLIM_INFINITY else soft
    return None if hard == resource.RLIM_INFINITY else hard
