"""How long a turn may take: limits for its total and for the segments of its critical path.

Pure. The same budget is judged turn by turn on the node, and by percentiles in the bench.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from voiceedge.errors import ConfigError
from voiceedge.trace import MILLISECONDS_A_SECOND

TOTAL = "total"
"""What a limit is for that is for the whole turn."""

_LIMIT = re.compile(
    r"(?:(?P<what>[a-z][a-z0-9_]*)\s*\.\s*)?p(?P<percentile>\d+(?:\.\d+)?)\s*<\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s)"
)
_PERCENTILE = re.compile(r"p(\d+(?:\.\d+)?)")
_RANK_DECIMALS = 9
"""Beyond them lies what floats add to a percentage."""
_FORM = "write it like p95<800ms or wait.p95<300ms"


class Leg(Protocol):
    """A stretch of a turn's critical path: `trace.PathSegment`, or what a client reads off the wire."""

    @property
    def segment(self) -> str:
        """Its name."""

    @property
    def ms(self) -> float:
        """How long it took."""


@dataclass(frozen=True, slots=True)
class Limit:
    """So many per cent of all turns take less than so long."""

    what: str
    """`total`, or the name of a segment."""
    percentile: float
    """Above 0, 100 at most."""
    ms: float

    def __str__(self) -> str:
        """The form that `parse_budget` takes."""
        prefix = "" if self.what == TOTAL else f"{self.what}."
        return f"{prefix}p{self.percentile:g}<{self.ms:g}ms"


@dataclass(frozen=True, slots=True)
class Overrun:
    """A turn that took too long, and what is to blame for it."""

    segment: str
    """`total` where nothing is known about the turn's segments."""
    ms: float
    """Time of that segment."""
    limit_ms: float
    """What was exceeded: the segment's own limit where it is over that, else the total's."""
    total_ms: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a limit was kept by a set of turns."""

    limit: Limit
    found_ms: float | None
    """The percentile; None when it lies among failed turns, or no turn tells it."""
    kept: bool


@dataclass(frozen=True, slots=True)
class Budget:
    """Several limits at once; without any, every turn is in time."""

    limits: tuple[Limit, ...] = ()

    def __str__(self) -> str:
        """The form that `parse_budget` takes."""
        return ",".join(map(str, self.limits))

    def widest_ms(self, what: str) -> float | None:
        """The widest limit of the total or of a segment: what no single turn should exceed. None without a limit."""
        return max((limit.ms for limit in self.limits if limit.what == what), default=None)

    def judge(self, total_ms: float | None, path: Iterable[Leg]) -> Overrun | None:
        """Hold one turn against the widest limit of its total, and of each segment.

        Of the segments the one is named that is over its own limit by most; where none is, the one that took most.

        Args:
            total_ms: None for a turn that was never heard: that is a failure, not an overrun.
            path: Its critical path; may be empty where the node tells none.
        """
        if total_ms is None:
            return None
        legs = [(leg.segment, leg.ms) for leg in path]
        limits = {name: self.widest_ms(name) for name, _ in legs}
        over = [
            (ms - limit, name, ms, limit) for name, ms in legs if (limit := limits[name]) is not None and ms >= limit
        ]
        if over:
            _, name, ms, limit = max(over)
            return Overrun(name, ms, limit, total_ms)
        widest = self.widest_ms(TOTAL)
        if widest is None or total_ms < widest:
            return None
        name, ms = max(legs, key=lambda leg: leg[1], default=(TOTAL, total_ms))
        return Overrun(name, ms, widest, total_ms)

    def verdicts(self, totals: Sequence[float | None], paths: Sequence[Iterable[Leg]]) -> tuple[Verdict, ...]:
        """Judge every limit by its percentile over many turns.

        Args:
            totals: Milliseconds of each turn; None for a failed one, which is slower than all others in every
                segment as well.
            paths: The critical path of each turn, in the same order. An answered turn that does not tell a segment
                does not count for that segment's limit.
        """
        times: dict[str, list[float]] = {TOTAL: [math.inf if total is None else total for total in totals]}
        legs = [{leg.segment: leg.ms for leg in path} for path in paths]
        for name in {limit.what for limit in self.limits} - {TOTAL}:
            turns = zip(totals, legs, strict=True)
            there = (math.inf if total is None else path.get(name) for total, path in turns)
            times[name] = [ms for ms in there if ms is not None]
        return tuple(_verdict(limit, times[limit.what]) for limit in self.limits)


def _verdict(limit: Limit, times: list[float]) -> Verdict:
    """Nearest rank, as everywhere: the percentile is a time that was measured."""
    if not times:
        return Verdict(limit, None, kept=False)
    found_ms = sorted(times)[rank(len(times), limit.percentile) - 1]
    return Verdict(limit, found_ms if math.isfinite(found_ms) else None, found_ms < limit.ms)


def rank(n: int, percent: float) -> int:
    """Which of `n` sorted values is a percentile, from 1: the nearest rank, the first that so many do not exceed.

    99.9 % of 1000 are 999, which floats take for a little more.
    """
    return max(math.ceil(round(percent * n / 100.0, _RANK_DECIMALS)), 1)


def parse_budget(text: str) -> Budget:
    """Read limits with commas between them: `p95<800ms, wait.p95<300ms`, `p50<400ms,p95<0.8s`.

    Raises:
        ConfigError: something else; says what.
    """
    return Budget(tuple(_parsed(part.strip()) for part in text.split(",")))


def _parsed(text: str) -> Limit:
    found = _LIMIT.fullmatch(text)
    if found is None:
        raise ConfigError(f"{text!r} is no limit: {_FORM}.")
    ms = float(found["number"]) * (MILLISECONDS_A_SECOND if found["unit"] == "s" else 1.0)
    return _checked(Limit(found["what"] or TOTAL, float(found["percentile"]), ms), text)


def budget_from(table: Mapping[str, Any]) -> Budget:
    """Read limits out of TOML; all numbers are milliseconds.

    ```toml
    [total]
    p50 = 500
    p95 = 800
    [segments.wait]
    p95 = 300
    ```

    Raises:
        ConfigError: an unknown key, or a value that is no time.
    """
    limits: list[Limit] = []
    for key, entry in table.items():
        if key == TOTAL:
            limits += _limits(TOTAL, entry)
        elif key == "segments" and isinstance(entry, Mapping):
            for segment, percentiles in entry.items():
                limits += _limits(segment, percentiles)
        else:
            raise ConfigError(f"A budget has [total] and [segments.NAME], not {key!r}.")
    return Budget(tuple(limits))


def _limits(what: str, percentiles: object) -> list[Limit]:
    if not isinstance(percentiles, Mapping):
        raise ConfigError(f"The budget of {what} is {percentiles!r}: it needs percentiles, as in p95 = 300.")
    limits = []
    for name, ms in percentiles.items():
        found = _PERCENTILE.fullmatch(name)
        if found is None or isinstance(ms, bool) or not isinstance(ms, int | float):
            raise ConfigError(f"The budget of {what} says {name} = {ms!r}: it needs milliseconds, as in p95 = 300.")
        limits.append(_checked(Limit(what, float(found[1]), float(ms)), f"{what}: {name} = {ms}"))
    return limits


def _checked(limit: Limit, text: str) -> Limit:
    if not 0.0 < limit.percentile <= 100.0:
        raise ConfigError(f"{text!r} is no limit: percentiles go to 100.")
    if not 0.0 < limit.ms < math.inf:
        raise ConfigError(f"{text!r} is no limit: nothing takes so long.")
    return limit
