"""Whom an attack is aimed at, and the leash that keeps an attacker from taking the machine instead of the node."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.adversary.credentials import Credentials

CREDIT_S = 0.1
"""CPU time that may be saved up for a burst."""


Clock = Callable[[], float]
"""Seconds."""


class Leash:
    """Holds a process to a share of one core: node, honest clients and attacker have the same two.

    What is asked is whether the node withstands an attacker far away, who costs the node's machine nothing but what he
    sends.
    """

    def __init__(
        self, share: float | None = None, used: Clock = time.process_time, now: Clock = time.monotonic
    ) -> None:
        self._share = share
        self._used, self._now = used, now
        self._used_s, self._begun = used(), now()

    @property
    def wait_s(self) -> float:
        """How long the process has to be idle now."""
        if self._share is None:
            return 0.0
        earned_s = (self._now() - self._begun) * self._share
        used_s = self._used() - self._used_s
        if earned_s - used_s > CREDIT_S:  # what was not used for long is no leave for a long burst
            self._used_s, self._begun = self._used(), self._now()
        return max(0.0, (used_s - earned_s) / self._share)

    async def hold(self) -> None:
        """Wait until the process has been idle for long enough."""
        if wait_s := self.wait_s:
            await asyncio.sleep(wait_s)


@dataclass(frozen=True)
class Target:
    """A node on this machine."""

    port: int
    credentials: Credentials
    is_secure: bool = False
    """Speaks TLS."""
    flood: int = 200
    """Messages, frames or fragments of a flood."""
    drip_s: float = 1.0
    """Between two bytes of who is slow."""
    patience_s: float = 0.0
    """How long an attempt waits for an answer; 0 leaves it to the attack."""
    source: str = ""
    """Address that an attempt comes from."""
    leash: Leash = field(default_factory=Leash)
