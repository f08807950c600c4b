"""Memory that a session leaves behind, given back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable

LARGE_BYTES = 768 * 1024
"""What is as large as this is not kept by the C library when it is freed: the audio of a session (960,000 bytes to
begin with) is, the logits of a token (608,000 with 152,000 words) are not, for they come and go all the time."""
M_MMAP_THRESHOLD = -3
"""From glibc's malloc.h."""


def settle() -> None:
    """All is loaded, and stays for as long as the process: the garbage collector need not look at it again.

    A node has some 75,000 objects before anybody has come, and a full collection of them holds up the event loop for
    27 ms. Without them it takes 0.5 ms, and comes sooner: it is due when new objects are a quarter of the old ones.
    """
    gc.freeze()
    gc.collect()  # from here on "old" is reckoned without them
    if (mallopt := _of_glibc("mallopt")) is not None:
        # glibc has learnt from the weights that tens of megabytes come and go, and would keep all audio in its heaps
        mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)


def give_back(*, collect: bool) -> None:
    """Let the system have what is free: where the C library keeps it, and can be told.

    glibc keeps what lies below anything that is still in use, in a heap for every thread that allocates. With eight
    callers who come and go a node grew from 93 to 158 MB in two minutes, while what Python holds stayed the same
    (`scripts/endure`). It takes 0.3 ms where there is little, and 6 ms for 100 MB (`nano`, a Zen 5).

    Args:
        collect: find what only holds itself, too. The parts of a session know one another, and its audio hangs on
            them: sixteen of them that had left held 30 MB. It takes a moment, so do it when nobody is there; and only
            a moment where all is settled, so elsewhere it is left to Python.
    """
    if collect and gc.get_freeze_count():
        gc.collect()
    if _trim is not None:
        _trim(0)


def _of_glibc(name: str) -> Callable[..., int] | None:
    """A function of glibc; musl, macOS and Windows have none of this name."""
    if sys.platform != "linux":
        return None
    function: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    return function


_trim = _of_glibc("malloc_trim")
