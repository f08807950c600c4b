"""Who may come in. Decided before the upgrade, given back when the socket is gone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from voiceedge.errors import Overloaded

RETRY_AFTER_S = 5
"""A conversation's pause is over by then; a whole conversation seldom is."""


class Admission:
    """Counts the sessions of a node."""

    def __init__(self, max_sessions: int) -> None:
        self.max_sessions = max_sessions
        self._sessions = 0
        self._draining = False

    @property
    def sessions(self) -> int:
        """Sessions that are running."""
        return self._sessions

    @property
    def is_draining(self) -> bool:
        """Whether the node takes no new sessions because it is about to stop."""
        return self._draining

    def drain(self) -> None:
        """Take no new sessions from now on."""
        self._draining = True

    @contextmanager
    def session(self) -> Iterator[None]:
        """Hold a place for one session.

        Raises:
            Overloaded: the node is full, or about to stop.
        """
        if self._draining:
            raise Overloaded("This node is shutting down.", retry_after_s=RETRY_AFTER_S)
        if self._sessions >= self.max_sessions:
            raise Overloaded(f"All {self.max_sessions} sessions of this node are taken.", retry_after_s=RETRY_AFTER_S)
        self._sessions += 1
        try:
            yield
        finally:
            self._sessions -= 1
