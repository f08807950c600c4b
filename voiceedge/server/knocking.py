"""Connections of which nobody knows yet whose they are: so many may be open, then the oldest is closed for a new one.

Each holds a descriptor of the process, and needs no key. Whoever is in earnest is through within a few round trips; who
wants to shut others out waits. So it is the oldest that goes, and a new one is never refused. No session is among them.

Pure bookkeeping; the loop's thread only.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from voiceedge.server.address import UNKNOWN, Proxies

log = logging.getLogger(__name__)

OF_ONE = 128
"""Of one address: as many as wait to be accepted (`serving.BACKLOG`). An office whose line was down comes in turn."""
IN_ALL = 2_048
"""However many descriptors there are: each costs memory as well, 5 KB, or 60 KB in a TLS handshake."""
SHARE = 2
"""The descriptors are shared out: one half for these, one for sessions, files, and what else a process has open."""
CLOSED = (
    "More connections were opened than may wait without having become a session: the oldest are closed. This is said "
    'once; voiceedge_refusals_total{reason="idle"} counts them.'
)


class Connection(Protocol):
    """What can be closed: a transport."""

    def abort(self) -> None:
        """Close it now, whatever it still holds."""


class Knocking:
    """Counts what knocks, and closes what is too much.

    Args:
        proxies: Named ones have no limit of their own: theirs are the connections of many.
        descriptors: That the process may have open; None where that is not known.
        closed: Called for each one that is closed.
    """

    def __init__(
        self,
        proxies: Proxies | None = None,
        descriptors: int | None = None,
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        self._proxies = proxies or Proxies()
        self._in_all = IN_ALL if descriptors is None else min(IN_ALL, descriptors // SHARE)
        self._closed = closed
        self._all: OrderedDict[Connection, str] = OrderedDict()  # the oldest first, as below
        self._of: dict[str, OrderedDict[Connection, None]] = {}
        self._has_told = False

    def __len__(self) -> int:
        return len(self._all)

    def begin(self, connection: Connection, peer: Any) -> None:
        """One has come, or has been answered and may ask again: it is the youngest now.

        Args:
            connection: By its identity.
            peer: The address and the port that it comes from, and what else a system says of it; None for unknown.
        """
        self.end(connection)
        address = self._address(peer)
        self._all[connection] = address
        if address != UNKNOWN:
            theirs = self._of.setdefault(address, OrderedDict())
            theirs[connection] = None
            if len(theirs) > OF_ONE:
                self._close(next(iter(theirs)))
        if len(self._all) > self._in_all:
            self._close(next(iter(self._all)))

    def end(self, connection: Connection) -> None:
        """One is gone, or is a session now. What is not known is none."""
        address = self._all.pop(connection, UNKNOWN)
        if address != UNKNOWN:
            theirs = self._of[address]
            del theirs[connection]
            if not theirs:
                del self._of[address]

    def _address(self, peer: Any) -> str:
        scope = {"client": peer, "headers": ()}
        return UNKNOWN if self._proxies.is_proxy(scope) else self._proxies.client(scope)

    def _close(self, connection: Connection) -> None:
        self.end(connection)
        self._closed()
        if not self._has_told:
            self._has_told = True
            log.warning(CLOSED)
        connection.abort()
