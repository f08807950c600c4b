"""What an attack is: one attempt, what it sends, what a good node answers to it, and how many are carried out."""

from __future__ import annotations

import asyncio
import fnmatch
import inspect
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tests.adversary.target import Target

Attempt = Callable[[Target, Any], Awaitable[str]]
"""Makes one attempt, of one of the attack's variants, and says what the node answered: `HTTP 401`, `close 1002`,
`closed` (without a word), `error invalid_value`, the name of an event, `silence`."""
Kind = Literal["keys", "open", "tls"]
"""Of a node: one that asks for keys and tokens, one that takes everybody of its own machine, one that speaks TLS."""

MANY = 250
"""Addresses of a net of attackers. Each attack has its own ones: what one has earned does not shut another one out."""
LET_IN = ("HTTP 429", "HTTP 503")
"""What who has a good key may be told instead of being let in."""


class Over(Exception):
    """Nothing more comes; its text is the answer: `closed`, `silence`, or how the node refused."""


@dataclass(frozen=True)
class Attack:
    """One kind of attack."""

    name: str
    sends: str
    """What is sent, in one sentence."""
    must: str
    """What a good node does, in a few words."""
    answers: tuple[str, ...]
    """All that a good node may answer, as patterns: anything else means that the attack got somewhere."""
    attempt: Attempt
    variants: tuple[Any, ...] = (None,)
    """Each attempt takes the next of them."""
    node: Kind = "keys"
    is_in: bool = False
    """Comes with a good key, and so to the engines. All others have to end before one."""
    rate: float = 20.0
    """Attempts a second beside honest sessions."""
    at_once: int = 4
    """Attempts at a time."""
    at_least: int = 0
    """Attempts that are made however long they take."""
    addresses: int = MANY
    """From so many addresses in turn."""
    patience_s: float = 5.0
    """How long an attempt waits for an answer, where the node is as quick as ever."""
    is_slow: bool = False
    """Ends by a time limit of the node: tests shorten those."""

    def unexpected(self, answers: Counter[str]) -> Counter[str]:
        """What was answered and should not have been."""
        return Counter(
            {answer: count for answer, count in answers.items() if not any(map(_matches(answer), self.answers))}
        )


def _matches(answer: str) -> Callable[[str], bool]:
    return lambda pattern: fnmatch.fnmatchcase(answer, pattern)


ATTACKS: dict[str, Attack] = {}
"""Filled by the modules that `tests.adversary.library` imports."""


def attack(*answers: str, must: str, variants: Sequence[Any] = (None,), **more: Any) -> Callable[[Attempt], Attempt]:
    """Make an attempt's function an attack of its name; its docstring says what is sent."""

    def register(attempt: Attempt) -> Attempt:
        name = attempt.__name__.replace("_", "-")
        assert name not in ATTACKS
        sends = " ".join((inspect.getdoc(attempt) or "").split())
        allowed = (*answers, *LET_IN) if more.get("is_in") else answers
        ATTACKS[name] = Attack(name, sends, must, allowed, attempt, tuple(variants), **more)
        return attempt

    return register


async def carry_out(chosen: Attack, target: Target, *, attempts: int, until: float = 0.0) -> Counter[str]:
    """Make so many attempts, and go on until a moment of `time.monotonic`; return what was answered, how often.

    Attempts begin at the attack's rate, or as slowly as the leash of the attacker's process allows.
    """
    answers: Counter[str] = Counter()
    begun, number = time.monotonic(), 0

    async def work() -> None:
        nonlocal number
        while number < attempts or time.monotonic() < until:
            mine, number = number, number + 1
            if until:  # beside honest sessions; else as fast as they come
                await asyncio.sleep(max(0.0, begun + mine / chosen.rate - time.monotonic()))
                await target.leash.hold()
            answers[await _made(chosen, target, mine)] += 1

    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(chosen.at_once, attempts) if not until else chosen.at_once):
            tasks.create_task(work())
    return answers


def _address(chosen: Attack, number: int) -> str:
    """An address of this machine that is not the one honest clients come from, where it has several."""
    if sys.platform != "linux":
        return "127.0.0.1"
    return f"127.{10 + list(ATTACKS).index(chosen.name)}.0.{2 + number % chosen.addresses}"


async def _made(chosen: Attack, target: Target, number: int) -> str:
    variant = chosen.variants[number % len(chosen.variants)]
    patience_s = target.patience_s or chosen.patience_s
    mine = replace(target, source=_address(chosen, number), patience_s=patience_s)
    try:
        return await chosen.attempt(mine, variant)
    except Over as over:
        return str(over)
    except ConnectionError:
        return "closed"
    except TimeoutError:
        return "silence"
