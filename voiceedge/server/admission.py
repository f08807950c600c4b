"""Who may come in. Decided before the upgrade, given back when the socket is gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from voiceedge.errors import LimitReached, Overloaded
from voiceedge.server.grant import ANYBODY, Grant

RETRY_AFTER_S = 5
"""A conversation's pause is over by then; a whole conversation seldom is."""

Reason = Literal["full", "draining", "tenant_full", "unauthorised", "forbidden", "auth_unavailable", "bad_request"]
"""Why a handshake is refused: no place is free or the node is about to stop (503), the tenant has no place left (429),
no good key (401), a page that may not connect (403), nobody can tell whether a token is good (503), or a URL that asks
for what is not served (400)."""


class Admission:
    """Counts the sessions of a node, and those that it refuses."""

    def __init__(self, max_sessions: int) -> None:
        self.max_sessions = max_sessions
        self.refusals: dict[Reason, int] = dict.fromkeys(get_args(Reason), 0)
        """Handshakes that were refused since the start, by reason."""
        self._tenants: Counter[str] = Counter()
        self._draining = False

    @property
    def sessions(self) -> int:
        """Sessions that are running."""
        return self._tenants.total()

    @property
    def is_draining(self) -> bool:
        """Whether the node takes no new sessions because it is about to stop."""
        return self._draining

    def drain(self) -> None:
        """Take no new sessions from now on."""
        self._draining = True

    def refused(self, reason: Reason) -> None:
        """Count a handshake that is refused."""
        self.refusals[reason] += 1

    @contextmanager
    def session(self, grant: Grant = ANYBODY) -> Iterator[None]:
        """Hold a place for one session of whoever has this grant.

        Raises:
            Overloaded: the node is full, or about to stop.
            LimitReached: the tenant has all the sessions that they may have.
        """
        if self._draining:
            self.refused("draining")
            raise Overloaded("This node is shutting down.", retry_after_s=RETRY_AFTER_S)
        if grant.sessions is not None and self._tenants[grant.tenant] >= grant.sessions:
            self.refused("tenant_full")
            raise LimitReached(
                f"All {grant.sessions} sessions of {grant.tenant} are taken.",
                code="session_limit_reached",
                retry_after_s=RETRY_AFTER_S,
            )
        if self.sessions >= self.max_sessions:
            self.refused("full")
            raise Overloaded(f"All {self.max_sessions} sessions of this node are taken.", retry_after_s=RETRY_AFTER_S)
        self._tenants[grant.tenant] += 1
        try:
            yield
        finally:
            self._tenants[grant.tenant] -= 1
            self._tenants += Counter()  # forgets who is gone: tenants are many, and their names not ours
