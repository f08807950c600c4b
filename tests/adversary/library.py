"""All attacks, in the order in which one meets them: before the handshake, at the door, in the session."""

from __future__ import annotations

from tests.adversary import conversations, frames, handshakes, requests, tokens
from tests.adversary.attack import ATTACKS

MODULES = (handshakes, requests, tokens, frames, conversations)
"""Those whose attacks are in `ATTACKS`."""

__all__ = ["ATTACKS", "MODULES", "table"]


def table() -> str:
    """The attacks as docs/security.md lists them."""
    rows = [f"| `{one.name}` | {one.sends} | {one.must} |" for one in ATTACKS.values()]
    return "\n".join(["| attack | what is sent | what the node has to do |", "|---|---|---|", *rows])
