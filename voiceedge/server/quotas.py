"""What a tenant may use in an hour: sessions, seconds of audio, messages, bytes.

The node's settings say how much each tenant has; a key or a token may say less. Counted by the node itself, or, with a
store, together with all nodes that have the same one. Where nothing is limited nothing is counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Literal, Protocol, get_args

from voiceedge.config import Config
from voiceedge.errors import ConfigError, LimitReached
from voiceedge.server.grant import ANYBODY, Grant
from voiceedge.server.windows import Windows
from voiceedge.trace import Clock, now

What = Literal["sessions", "audio_seconds", "messages", "bytes"]
WHAT: tuple[What, ...] = get_args(What)
SPELT: dict[What, str] = {
    "sessions": "sessions",
    "audio_seconds": "seconds of audio",
    "messages": "messages",
    "bytes": "bytes",
}
LEAST_SHARE = 0.01
"""Of its hour a tenant must have so much left of everything to begin a session: of an hour of audio 36 s. With less it
would be told so in the middle of its first sentence."""
NOT_INSTALLED = (
    "limits_store is set, and what talks to it is not installed: run `pip install 'voiceedge[redis]'`, or unset it; "
    "each node then counts for itself."
)


class Counts(Protocol):
    """Counts what is used, by name, in windows of an hour. Never raises, and never takes long."""

    @property
    def is_away(self) -> bool:
        """Whether what is counted together with other nodes is not: the store of it does not answer."""
        ...

    async def wait_s(self, name: str, limit: float, amount: float) -> float:
        """Seconds until the limit leaves so much; 0 where it does."""
        ...

    async def take(self, name: str, limit: float, amount: float, *, drains: bool = False) -> float:
        """Use so much if the limit leaves it: 0, or the seconds until it will; as `Windows.take`."""
        ...

    async def close(self) -> None:
        """Give back what it holds."""
        ...


class OwnCounts:
    """Counts in this process."""

    def __init__(self, clock: Clock = now) -> None:
        self._windows = Windows()
        self._clock = clock

    @property
    def is_away(self) -> bool:
        """There is no store that could be."""
        return False

    async def wait_s(self, name: str, limit: float, amount: float) -> float:
        """As `Use.wait_s`, from now on."""
        return self._windows.use(name, self._clock()).wait_s(limit, amount)

    async def take(self, name: str, limit: float, amount: float, *, drains: bool = False) -> float:
        """As `Windows.take`, now."""
        return self._windows.take(name, limit, amount, self._clock(), drains=drains)

    async def close(self) -> None:
        """Nothing is held."""


class Quota:
    """What one tenant may use in an hour, all of their sessions together."""

    def __init__(self, counts: Counts, tenant: str, limits: Mapping[What, float]) -> None:
        """Bind to a tenant; what is not in `limits` has none."""
        self._counts = counts
        self._tenant = tenant
        self._limits = limits

    async def begin(self) -> None:
        """Take a session, if there is something left of everything else.

        Raises:
            LimitReached: there is not; no session was taken.
        """
        for what, limit in self._limits.items():
            if what != "sessions":
                _check(what, limit, await self._counts.wait_s(f"{what}/{self._tenant}", limit, limit * LEAST_SHARE))
        await self.spend("sessions", 1)

    async def spend(self, what: What, amount: float) -> None:
        """Count what was used; of sessions, what is to be.

        Raises:
            LimitReached: that much was not left. What there was of it is used up now, but for sessions.
        """
        limit = self._limits.get(what)
        if limit is not None:
            name, drains = f"{what}/{self._tenant}", what != "sessions"
            _check(what, limit, await self._counts.take(name, limit, amount, drains=drains))


class Quotas:
    """Makes the quotas of tenants.

    Args:
        limits: what each tenant has in an hour, on the nodes that count together; what is not in it has no limit.
        counts: where it is counted.
    """

    def __init__(self, limits: Mapping[What, float], counts: Counts) -> None:
        self._limits = limits
        self._counts = counts

    @property
    def is_store_away(self) -> bool:
        """Whether the node counts for itself, because the store does not answer."""
        return self._counts.is_away

    def of(self, grant: Grant, address: str) -> Quota | None:
        """The quota of whoever has this grant; None where nothing of theirs is limited.

        Where no key is asked for, each address is a tenant.
        """
        limits = dict(self._limits)
        for what in WHAT:
            narrower: int | None = getattr(grant, f"{what}_an_hour")
            if narrower is not None:
                limits[what] = min(limits.get(what, math.inf), narrower)
        if not limits:
            return None
        tenant = f"address/{address}" if grant.tenant == ANYBODY.tenant else f"tenant/{grant.tenant}"
        return Quota(self._counts, tenant, limits)

    async def close(self) -> None:
        """Close the way to the store."""
        await self._counts.close()


def make_quotas(config: Config) -> Quotas:
    """What the settings ask for.

    Raises:
        ConfigError: a store is named, and the extra for it is not installed.
    """
    stated: dict[What, int] = {what: getattr(config, f"{what}_an_hour") for what in WHAT}
    limits = {what: limit for what, limit in stated.items() if limit > 0}
    return Quotas(limits, _counts(config.limits_store))


def _counts(store: str | None) -> Counts:
    if store is None:
        return OwnCounts()
    if find_spec("limits") is None or find_spec("redis") is None:
        raise ConfigError(NOT_INSTALLED)
    from voiceedge.server.shared_counts import SharedCounts  # noqa: PLC0415 - what it imports is an extra

    return SharedCounts(store)


def _check(what: What, limit: float, wait_s: float) -> None:
    """Say that the hour is used up, unless nothing has to be waited for."""
    if wait_s > 0:
        raise LimitReached(
            f"The {limit:.0f} {SPELT[what]} of this hour are used up.",
            code="quota_exceeded",
            retry_after_s=math.ceil(wait_s),
        )
