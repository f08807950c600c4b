"""Whether a node should be sent new conversations, as `/readyz` and the live view say it."""

from __future__ import annotations

from typing import Literal

from voiceedge.server.admission import Admission
from voiceedge.session.node import Node

State = Literal["ready", "busy", "loading", "draining"]
"""Takes conversations; has no time for one more; loads an engine anew, for seconds; is about to stop."""


def readiness(node: Node, admission: Admission) -> State:
    """How a node is, seen from whoever would send somebody to it.

    A node that is full is ready: whoever balances by connections gives it no more, and it is not again full a moment
    later. A busy one may have fewer than the others, and would be given all that comes.
    """
    if admission.is_draining:
        return "draining"
    if admission.is_busy:
        return "busy"
    return "loading" if node.missing else "ready"
