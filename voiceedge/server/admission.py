"""Who may come in. Decided before the upgrade, given back when the socket is gone.

A place is taken in one step, before anything of the rest of the handshake is waited for, so that two who come at the
same moment never share one.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from voiceedge.config import Config
from voiceedge.errors import LimitReached, Overloaded
from voiceedge.server.address import UNKNOWN
from voiceedge.server.capacity import Capacity
from voiceedge.server.grant import ANYBODY, Grant
from voiceedge.server.quotas import Quota, Quotas, make_quotas

log = logging.getLogger(__name__)

STOPPING = "The node is shutting down."
RETRY_AFTER_S = 5
"""A conversation's pause is over by then; a whole conversation seldom is."""

Reason = Literal[
    "full",
    "busy",
    "draining",
    "tenant_full",
    "address_full",
    "quota",
    "bad_keys",
    "unauthorised",
    "forbidden",
    "auth_unavailable",
    "bad_request",
    "idle",
]
"""Why a handshake is refused: no place is free, there is no time for one more conversation, or the node is about to
stop (503); the tenant or the address has no place left, the tenant's hour is used up, or too many bad keys came from
the address (429); no good key (401), a page that may not connect (403), nobody can tell whether a token is good (503),
or a URL that asks for what is not served (400). And connections that wait without a handshake, of which there are too
many: these are closed without a word."""


class Admission:
    """Counts the sessions of a node, and those that it refuses.

    Args:
        max_sessions: at a time.
        per_address: sessions of one address at a time; 0 for no limit.
        capacity: whether there is time for one more; by default there always is.
        quotas: what tenants may use in an hour; by default whatever they like.
    """

    def __init__(
        self, max_sessions: int, *, per_address: int = 0, capacity: Capacity | None = None, quotas: Quotas | None = None
    ) -> None:
        self.max_sessions = max_sessions
        self.refusals: dict[Reason, int] = dict.fromkeys(get_args(Reason), 0)
        """Handshakes that were refused since the start, by reason."""
        self._per_address = per_address
        self._capacity = capacity
        self._quotas = quotas
        self._tenants: Counter[str] = Counter()
        self._addresses: Counter[str] = Counter()
        self._draining = False

    @property
    def sessions(self) -> int:
        """Sessions that are running."""
        return self._tenants.total()

    @property
    def is_draining(self) -> bool:
        """Whether the node takes no new sessions because it is about to stop."""
        return self._draining

    @property
    def is_busy(self) -> bool:
        """Whether there is no time for one more session."""
        return self._capacity is not None and self._capacity.is_busy

    @property
    def is_store_away(self) -> bool:
        """Whether quotas are counted for this node alone, because the store of limits does not answer."""
        return self._quotas is not None and self._quotas.is_store_away

    def drain(self) -> None:
        """Take no new sessions from now on."""
        self._draining = True

    def measured(self, at: float, load: float, late_s: float) -> None:
        """Take a measurement of how much the node has to do: as `Capacity.measured`. Running sessions never suffer."""
        if self._capacity is None:
            return
        was_busy = self._capacity.is_busy
        self._capacity.measured(at, load, late_s)
        if self._capacity.is_busy and not was_busy:
            log.warning("busy: no new sessions beside these %d (load %.2f)", self.sessions, load)
        elif was_busy and not self._capacity.is_busy:
            log.info("busy no more: new sessions are taken (load %.2f)", load)

    def refused(self, reason: Reason) -> None:
        """Count a handshake that is refused."""
        self.refusals[reason] += 1

    @contextmanager
    def session(self, grant: Grant = ANYBODY, address: str = UNKNOWN) -> Iterator[None]:
        """Hold a place for one session of whoever has this grant, at this address (`Proxies.client`).

        Raises:
            Overloaded: the node is full or busy, or about to stop.
            LimitReached: the tenant or the address has all the sessions that they may have.
        """
        self._check(grant, address)
        self._tenants[grant.tenant] += 1
        self._addresses[address] += 1
        try:
            yield
        finally:
            for held, who in ((self._tenants, grant.tenant), (self._addresses, address)):
                held[who] -= 1
                held += Counter()  # forgets who is gone: tenants and addresses are many, and not ours

    async def quota(self, grant: Grant, address: str) -> Quota | None:
        """What whoever has this grant may use in an hour, a session taken out of it; None where nothing is limited.

        Raises:
            LimitReached: there is no session left, or next to nothing of something else.
            Overloaded: the node is about to stop.
        """
        quota = None if self._quotas is None else self._quotas.of(grant, address)
        if quota is not None:
            try:
                await quota.begin()
            except LimitReached:
                self.refused("quota")
                raise
            self._check_draining()  # it may have begun meanwhile
        return quota

    def _check_draining(self) -> None:
        if self._draining:
            self.refused("draining")
            raise Overloaded(STOPPING, retry_after_s=RETRY_AFTER_S)

    async def close(self) -> None:
        """Close what counts quotas."""
        if self._quotas is not None:
            await self._quotas.close()

    def _check(self, grant: Grant, address: str) -> None:
        """Refuse whoever cannot be taken: first for what is theirs, then for what is the node's."""
        self._check_draining()
        if grant.sessions is not None and self._tenants[grant.tenant] >= grant.sessions:
            self.refused("tenant_full")
            raise LimitReached(
                f"All {grant.sessions} sessions of {grant.tenant} are taken.",
                code="session_limit_reached",
                retry_after_s=RETRY_AFTER_S,
            )
        if address != UNKNOWN and 0 < self._per_address <= self._addresses[address]:
            self.refused("address_full")
            raise LimitReached(
                f"All {self._per_address} sessions that one address may have are taken.",
                code="address_limit_reached",
                retry_after_s=RETRY_AFTER_S,
            )
        if self.sessions >= self.max_sessions:
            self.refused("full")
            raise Overloaded(f"All {self.max_sessions} sessions of this node are taken.", retry_after_s=RETRY_AFTER_S)
        if self.is_busy:
            self.refused("busy")
            raise Overloaded(
                "This node is busy: it has no time for one more conversation.", retry_after_s=RETRY_AFTER_S
            )


def make_admission(config: Config) -> Admission:
    """Put together who may come in, by the settings.

    Raises:
        ConfigError: the store of limits cannot be used.
    """
    return Admission(
        config.max_sessions,
        per_address=config.sessions_per_address,
        capacity=Capacity(config.busy_load),
        quotas=make_quotas(config),
    )
