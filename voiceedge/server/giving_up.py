"""The process ends so that it is started anew: what hangs inside it can be ended in no other way.

Whoever supervises it (systemd, a container's restart policy) sees an exit code of its own.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Callable

from voiceedge.session.compute import Compute

log = logging.getLogger(__name__)

UNWELL = 70
"""Exit code: an internal error (EX_SOFTWARE of sysexits.h), as opposed to 0 after a signal and 2 for the operator's
mistakes."""
LAST_WORDS_S = 5.0
"""How long a process that ends at once may take to say why."""


def finish(drain: Callable[[], None], why: str) -> None:
    """Let the running answers finish, and stop. May be called from any thread.

    `drain` is the server's own (`Server.finish`). A signal to itself would count as somebody's second one where the
    node drains already, and cut those answers off.
    """
    log.critical("%s: this process stops, so that it is started anew.", why)
    drain()


def die() -> None:
    """Stop at once: the event loop does not turn, and nobody is served any more."""
    words = threading.Thread(target=_say_where, daemon=True)
    words.start()
    words.join(LAST_WORDS_S)  # no longer: whoever should read them may be what hangs
    os._exit(UNWELL)


def leave(compute: Compute) -> None:
    """End the process, where it cannot end by itself: threads that hang in an engine do not let the interpreter go.

    Returns where nothing hangs; `compute` is closed.
    """
    if compute.doomed is not None or compute.is_stuck:
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0 if compute.doomed is None else UNWELL)


def _say_where() -> None:
    log.critical("The event loop hangs: this process ends, so that it is started anew. All threads are here:")
    faulthandler.dump_traceback()
