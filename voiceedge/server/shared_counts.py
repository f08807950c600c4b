"""Counts what is used together with other nodes, in Redis.

Imports the extra `redis`: only a node with a `limits_store` imports this file. When Redis does not answer, the node
goes on by itself, from what it has let through: counters must not be what all conversations depend on. A tenant can
then use their hour once on each node, and no more.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from limits import RateLimitItemPerHour
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from redis.asyncio import BlockingConnectionPool

from voiceedge.server.windows import HOUR_S, Use, Windows
from voiceedge.trace import Clock, now

log = logging.getLogger(__name__)

STORE_S = 0.5
"""So long an answer of Redis is waited for: a hundred times what it takes within a region, and still short for a
handshake. Less would take a node that is out of breath itself for a Redis that is away."""
CONNECTIONS = 8
"""To Redis; who finds none waits for one, but no longer than for the answer."""
AWAY_S = 5.0
"""A Redis that did not answer is asked again after this, by one session; the others do not wait for it."""
PARTS = 1000
"""Redis counts whole numbers, and audio comes in fractions of a second: thousandths are counted, of everything."""
LEAST_WAIT_S = 1.0
"""Of whoever was refused although a moment later there is enough."""
HOUR = int(HOUR_S)


class _AnHour(RateLimitItemPerHour):
    """A limit whose counter has the same name however high it is: narrower ones judge the same use."""

    def key_for(self, *identifiers: bytes | str | float) -> str:
        return "/".join(("voiceedge", *map(str, identifiers)))


class SharedCounts:
    """Counts in Redis, and beside it in this process."""

    def __init__(self, store: str, clock: Clock = now) -> None:
        """Make the way to a store; nothing is sent yet.

        Args:
            store: `redis://host:port/database`, or `rediss://` with TLS.
            clock: seconds.
        """
        self._connections = BlockingConnectionPool.from_url(
            store,
            max_connections=CONNECTIONS,
            timeout=STORE_S,
            socket_timeout=STORE_S,
            socket_connect_timeout=STORE_S,
        )
        self._storage = RedisStorage(
            f"async+{store}",
            wrap_exceptions=True,
            implementation="redispy",
            connection_pool=self._connections,  # type: ignore[arg-type]  # documented, and forgotten in its types
        )
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)
        self._own = Windows()
        self._clock = clock
        self._away_until: float | None = None

    @property
    def is_away(self) -> bool:
        """Whether the node counts for itself, because Redis did not answer."""
        return self._away_until is not None

    async def wait_s(self, name: str, limit: float, amount: float) -> float:
        """Seconds until the limit leaves so much; 0 where it does."""
        wait_s = await self._asked(partial(self._wait_s, name, limit, amount))
        return self._own.use(name, self._clock()).wait_s(limit, amount) if wait_s is None else wait_s

    async def take(self, name: str, limit: float, amount: float, *, drains: bool = False) -> float:
        """Use so much if the limit leaves it: 0, or the seconds until it will; as `Windows.take`."""
        wait_s = await self._asked(partial(self._take, name, limit, amount, drains=drains))
        if wait_s is None:
            return self._own.take(name, limit, amount, self._clock(), drains=drains)
        if wait_s == 0:
            self._own.add(name, amount, self._clock())
        return wait_s

    async def close(self) -> None:
        """Close the connections."""
        await self._connections.aclose()

    async def _wait_s(self, name: str, limit: float, amount: float) -> float:
        return (await self._use(name)).wait_s(limit, amount)

    async def _take(self, name: str, limit: float, amount: float, *, drains: bool) -> float:
        item = _AnHour(_parts(limit))
        if await self._limiter.hit(item, name, cost=_parts(amount)):
            return 0.0
        use = await self._use(name)
        if drains and (left := math.floor((limit - use.counted) * PARTS)) > 0:
            await self._limiter.hit(item, name, cost=left)
            use = replace(use, now=use.now + left / PARTS)
        return max(use.wait_s(limit, amount), LEAST_WAIT_S)

    async def _use(self, name: str) -> Use:
        before, _, now_, ends_s = await self._storage.get_sliding_window(_AnHour(1).key_for(name), HOUR)
        # it is kept for another hour, in which it counts as the one before
        gone = 2 - ends_s / HOUR_S if ends_s > 0 else 0.0
        return Use(before / PARTS, now_ / PARTS, min(max(gone, 0.0), 1.0))

    async def _asked(self, question: Callable[[], Awaitable[float]]) -> float | None:
        """What Redis answers; None when it does not, or is not asked because it did not a moment ago."""
        if self._away_until is not None:
            if self._clock() < self._away_until:
                return None
            self._away_until = self._clock() + AWAY_S  # the others do not wait for this one's answer
        try:
            async with asyncio.timeout(STORE_S):
                answer = await question()
        except (StorageError, TimeoutError, OSError) as error:
            if self._away_until is None:
                # its kind alone: the store's address may hold a password
                kind = type(error.__cause__ or error).__name__
                log.warning("The store of limits does not answer (%s): this node counts for itself.", kind)
            self._away_until = self._clock() + AWAY_S
            return None
        if self._away_until is not None:
            log.warning("The store of limits answers again.")
            self._away_until = None
        return answer


def _parts(amount: float) -> int:
    return math.ceil(amount * PARTS)
