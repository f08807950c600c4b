"""How fast one session may send. Who sends more is made to wait, by TCP, and nobody else is."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from voiceedge.config import Config
from voiceedge.errors import Flood, LimitReached
from voiceedge.server.bucket import TokenBucket
from voiceedge.server.quotas import Quota, What
from voiceedge.trace import Clock, now

LONGEST_WAIT_S = 60.0
"""Who would have to wait for longer is told so and closed with 1008. Clients that wait for a pong give up after 20 to
40 s by themselves, and do not know why: while they wait, the pings behind what they have sent are not read. So a third
append of the longest that is legal (327 s) is refused rather than left waiting for three minutes, though the same
recording in pieces of half a minute is only slowed down, and pings are read between any two of them."""
MESSAGES_AHEAD_S = 30.0
"""So many seconds of messages may come at once."""
BYTES_AHEAD = 32 * 1024 * 1024
"""So many bytes may come at once: one append of 15 MiB of audio, which is 20 MiB on the wire, or 300 s of speech in
small messages, and something beside it."""
SETTLE_S = 1.0
"""How often a quota is told what was spent, which may be a call to another machine: never for each message."""
MOST_UNSETTLED: dict[What, float] = {"audio_seconds": 10.0, "messages": 500, "bytes": 1024 * 1024}
"""More of it is told at once: else a recording would be heard before anybody knew that it is too long."""

Kind = Literal["audio", "messages", "bytes", "frames"]
"""What a session may send too much of; `frames` are those that are no message, such as pings."""
Rest = Callable[[float], Awaitable[object]]
"""Waits for so many seconds, but no longer than the connection lasts."""
WaitSink = Callable[[Kind, float], None]
"""Is told for how many seconds a session was made to wait, and for what."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What one session may send, as the settings of the same names say."""

    audio_speed: float
    """Seconds of audio a second."""
    audio_ahead_s: float
    message_rate: float
    """Messages a second."""
    byte_rate: float
    """Bytes of messages a second."""


class Throttle:
    """The allowance of one session; see `Allowance`. A message costs two microseconds."""

    def __init__(
        self,
        rates: Rates,
        quota: Quota | None = None,
        *,
        rest: Rest = asyncio.sleep,
        on_wait: WaitSink = lambda kind, seconds: None,  # noqa: ARG005 - a sink's shape
        clock: Clock = now,
    ) -> None:
        self._quota = quota
        self._rest = rest
        self._on_wait = on_wait
        self._clock = clock
        begun = clock()
        self._audio = TokenBucket(rates.audio_speed, rates.audio_ahead_s, begun)
        self._messages = TokenBucket(rates.message_rate, rates.message_rate * MESSAGES_AHEAD_S, begun)
        self._bytes = TokenBucket(rates.byte_rate, BYTES_AHEAD, begun)
        self._spent: dict[What, float] = {"audio_seconds": 0.0, "messages": 0, "bytes": 0}
        self._settled = dict(self._spent)  # what of it the quota knows
        self._used_up: dict[What, tuple[LimitReached, float]] = {}
        """What the quota has no more of: what it said, and until when that holds."""
        self._tokens = 0
        self._waited_s = 0.0

    def __str__(self) -> str:
        """All that the session has sent and was sent, for the log."""
        spent = self._spent
        waited = f", waited {self._waited_s:.1f} s" if self._waited_s else ""
        return (
            f"{spent['messages']:,} messages ({spent['bytes'] / 1e6:.1f} MB), {spent['audio_seconds']:.1f} s of audio, "
            f"{self._tokens:,} tokens written{waited}"
        )

    async def message(self, size_bytes: int) -> None:
        """Wait until what came before is paid for, then take the message.

        Raises:
            LimitReached: the tenant's quota of messages or bytes is used up: nothing more is taken from this client.
            Flood: the wait would be longer than LONGEST_WAIT_S.
        """
        if self._used_up:
            self._check("messages")
            self._check("bytes")
        moment = self._clock()
        for_messages_s, for_bytes_s = self._messages.wait_s(moment), self._bytes.wait_s(moment)
        if for_messages_s > 0 or for_bytes_s > 0:
            if for_messages_s > for_bytes_s:
                await self._wait("messages", for_messages_s)
            else:
                await self._wait("bytes", for_bytes_s)
            moment = self._clock()
        self._messages.take(1, moment)
        self._bytes.take(size_bytes, moment)
        await self._spend("messages", 1)
        await self._spend("bytes", size_bytes)

    async def audio(self, seconds: float) -> None:
        """Wait until the audio before it is paid for, then take it.

        Raises:
            LimitReached: the tenant's quota of audio is used up.
            Flood: the wait would be longer than LONGEST_WAIT_S.
        """
        if self._used_up:
            self._check("audio_seconds")
        wait_s = self._audio.wait_s(self._clock())
        if wait_s > 0:
            await self._wait("audio", wait_s)
        self._audio.take(seconds, self._clock())
        await self._spend("audio_seconds", seconds)

    def tokens(self, count: int) -> None:
        """Note what was written for an answer."""
        self._tokens += count

    async def settling(self) -> None:
        """Settle every second, until cancelled."""
        while self._quota is not None:
            await asyncio.sleep(SETTLE_S)
            await self.settle()

    async def settle(self) -> None:
        """Tell the quota what was spent since it was last told; what it has no more of is refused from now on."""
        for what, spent in self._spent.items():
            amount, self._settled[what] = spent - self._settled[what], spent
            if self._quota is None or not amount:
                continue
            try:
                await self._quota.spend(what, amount)
            except LimitReached as reached:
                self._used_up[what] = (reached, self._clock() + reached.retry_after_s)

    async def _spend(self, what: What, amount: float) -> None:
        self._spent[what] += amount
        if self._spent[what] - self._settled[what] > MOST_UNSETTLED[what]:
            await self.settle()

    def _check(self, what: What) -> None:
        """See whether the quota has any of it.

        Raises:
            LimitReached: it has not.
        """
        reached, until = self._used_up.get(what, (None, 0.0))
        if reached is None:
            return
        if self._clock() < until:
            raise LimitReached(str(reached), code=reached.wire_code, retry_after_s=reached.retry_after_s)
        del self._used_up[what]  # ask again

    async def _wait(self, kind: Kind, seconds: float) -> None:
        if seconds > LONGEST_WAIT_S:
            raise Flood(
                f"This session sends more {kind} than it may, and would have to wait for {math.ceil(seconds)} s; "
                "smaller pieces are only slowed down.",
                retry_after_s=math.ceil(seconds),
            )
        begun = self._clock()
        try:
            await self._rest(seconds)
        finally:
            waited_s = self._clock() - begun
            self._waited_s += waited_s
            self._on_wait(kind, waited_s)


class Throttling:
    """Makes the throttles of a node's sessions: all of them alike, only that quotas are tenants' own."""

    def __init__(
        self,
        config: Config,
        on_wait: WaitSink = lambda kind, seconds: None,  # noqa: ARG005 - a sink's shape
    ) -> None:
        self._rates = Rates(config.audio_speed, config.audio_ahead_s, config.message_rate, config.byte_rate)
        self.on_wait = on_wait

    def throttle(self, quota: Quota | None, rest: Rest) -> Throttle:
        """The allowance of one session."""
        return Throttle(self._rates, quota, rest=rest, on_wait=self.on_wait)
