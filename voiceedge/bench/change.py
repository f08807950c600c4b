"""Two reports held against each other: is the node slower than it was?

One figure decides, so that nobody picks the one that suits him and chance gets one try only: the typical ratio. For
every recording that both runs played, its median answer time now over that of before; of the logarithms of these the
mean of the middle half. A recording is its own yardstick (a question that is answered in 200 ms and one that takes a
second say the same of a node that became a tenth slower), a few turns that went wild have no say, and the figure is
surer than a median of ratios would be: with 40 recordings and the noise of four conversations against one, a tenth is
found in 87 of 100 tries, by the median in 63. p50 and p95 are shown beside it and decide nothing.

It is called a difference if the 95 % interval (bootstrap over recordings) does not hold 1, and if it is large enough to
mean something: `SMALLEST_PERCENT` and `SMALLEST_MS`. Without the second rule two runs with little noise would always
differ; the interval knows what recordings do, not what the machine did between the runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voiceedge.bench.figures import Estimate, estimate, nearest_rank, quotient

SMALLEST_PERCENT = 6.0
"""Less is not called a difference: a shared machine drifts by up to so much between two runs (six of the same node with
`fake` engines, other work beside: 5.5 %), and nobody hears it (24 ms of 400, about one frame of sound)."""
SMALLEST_MS = 5.0
"""Nor is less than this: client and node agree on one turn to about so much."""
FEWEST = 6
"""Recordings, or turns of the same few recordings: of 5, the 95 % interval is narrower than it says."""
UNSURE_PERCENT = 10.0
"""An interval that reaches further than this did not see much; the sentence then says so."""

Verdict = Literal["slower", "faster", "no difference", "cannot tell"]
Way = Literal["recordings", "apart", "turns"]
"""How it was drawn: recordings that both played, together; each side's recordings by themselves; each side's turns."""

Units = list[NDArray[np.float64]]
Times = dict[str, NDArray[np.float64]]
"""Milliseconds of every turn of a recording, shape [turns], by its name; infinite for a failed one."""


@dataclass(frozen=True, slots=True)
class Shift:
    """One figure in both runs. The ratio and the difference are new against old."""

    name: str
    old_ms: float | None
    """None among failed turns, or where no turn tells it."""
    new_ms: float | None
    ratio: Estimate
    difference_ms: Estimate


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a node."""

    verdict: Verdict
    sentence: str
    way: Way
    recordings: int
    """In both runs."""
    typical_ratio: Estimate
    """What decides; of the p50s where the recordings are not the same."""
    shifts: tuple[Shift, ...]
    """p50 and p95 of the client's figure, then the p50 of each leg."""
    warnings: tuple[str, ...]
    """What else differs between the runs, or is wrong with one of them."""


def compare(old: Mapping[str, Any], new: Mapping[str, Any], warnings: Sequence[str] = ()) -> Change:
    """Hold a report against an older one, both in their JSON form (schema 2 or 3)."""
    before, after = client_times(old["turns"]), client_times(new["turns"])
    shared = [name for name in before if name in after]
    way = _way(before, after, shared)
    typical = _typical(before, after, shared, way)
    p50 = _shift("client p50", before, after, 50, way)
    verdict = _verdict(typical, p50, way, before, after)
    return Change(
        verdict=verdict,
        sentence=_sentence(verdict, typical),
        way=way,
        recordings=len(shared),
        typical_ratio=typical,
        shifts=(p50, _shift("client p95", before, after, 95, way), *_leg_shifts(old["turns"], new["turns"], way)),
        warnings=tuple(warnings),
    )


def client_times(turns: Sequence[Mapping[str, Any]]) -> Times:
    """The client's figure of every turn, by recording."""
    times: dict[str, list[float]] = {}
    for turn in turns:
        ms = turn["client_v2v_ms"]
        times.setdefault(turn["audio"], []).append(math.inf if ms is None else ms)
    return {audio: np.array(found) for audio, found in times.items()}


def _way(before: Times, after: Times, shared: Sequence[str]) -> Way:
    if len(shared) >= FEWEST:
        return "recordings"
    return "turns" if before.keys() == after.keys() else "apart"


def _populations(before: Times, after: Times, way: Way) -> tuple[Units, Units]:
    """The units of each side that are drawn by themselves: the turns of a recording, or single turns."""
    old, new = list(before.values()), list(after.values())
    return (_single(old), _single(new)) if way == "turns" else (old, new)


def _single(units: Units) -> Units:
    return [turn for unit in units for turn in np.split(unit, len(unit))]


def _typical(before: Times, after: Times, shared: Sequence[str], way: Way) -> Estimate:
    if way != "recordings":
        return estimate(lambda old, new: quotient(_rank(new, 50), _rank(old, 50)), *_populations(before, after, way))
    logs = [log for name in shared if not math.isnan(log := _log_ratio(before[name], after[name]))]
    return estimate(_middle, logs)


def _log_ratio(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Of a recording's medians; nan where both failed, which says nothing."""
    old, new = nearest_rank(before, 50), nearest_rank(after, 50)
    if math.isinf(old) and math.isinf(new):
        return math.nan
    return math.log(max(new, 1e-3)) - math.log(max(old, 1e-3))


def _middle(logs: Sequence[float]) -> float:
    """The ratio whose logarithm is the mean of the middle half of these."""
    outside = len(logs) // 4
    middle = sorted(logs)[outside : len(logs) - outside]
    mean = sum(middle) / len(middle)  # nan where both ends are endless
    return math.exp(mean) if mean < math.inf else math.inf


def _rank(units: Sequence[NDArray[np.float64]], percent: float) -> float:
    """A percentile over the turns of all units."""
    return nearest_rank(np.concatenate(units), percent) if units else math.nan


def _shift(name: str, before: Times, after: Times, percent: float, way: Way) -> Shift:
    """A percentile of all turns of either side; of the recordings that both played where they are drawn together."""
    if way == "recordings":
        shared = [(before[audio], after[audio]) for audio in before if audio in after]
        old, new = [one for one, _ in shared], [one for _, one in shared]
        found_ratio = estimate(lambda drawn: quotient(_of(drawn, 1, percent), _of(drawn, 0, percent)), shared)
        difference = estimate(lambda drawn: _of(drawn, 1, percent) - _of(drawn, 0, percent), shared)
    else:
        old, new = _populations(before, after, way)
        found_ratio = estimate(lambda a, b: quotient(_rank(b, percent), _rank(a, percent)), old, new)
        difference = estimate(lambda a, b: _rank(b, percent) - _rank(a, percent), old, new)
    return Shift(name, _finite(_rank(old, percent)), _finite(_rank(new, percent)), found_ratio, difference)


def _of(pairs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]], side: int, percent: float) -> float:
    return _rank([pair[side] for pair in pairs], percent)


def _leg_shifts(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]], way: Way) -> list[Shift]:
    """The p50 of each leg of which both runs tell; a failed turn has none."""
    before, after = _leg_times(old), _leg_times(new)
    return [_shift(f"{name} p50", before[name], after[name], 50, way) for name in before if name in after]


def _leg_times(turns: Sequence[Mapping[str, Any]]) -> dict[str, Times]:
    times: dict[str, dict[str, list[float]]] = {}
    for turn in turns:
        for leg in turn.get("legs") or turn["critical_path"]:  # schema 2 has no legs
            times.setdefault(leg["segment"], {}).setdefault(turn["audio"], []).append(leg["ms"])
    return {leg: {audio: np.array(found) for audio, found in spent.items()} for leg, spent in times.items()}


def _verdict(typical: Estimate, p50: Shift, way: Way, before: Times, after: Times) -> Verdict:
    units = [len(one) for one in _populations(before, after, way)]
    if min(units) < FEWEST or (p50.old_ms is None and p50.new_ms is None):
        return "cannot tell"
    if p50.old_ms is None or p50.new_ms is None:
        return "faster" if p50.old_ms is None else "slower"
    if typical.value is None or typical.low is None:
        return "cannot tell"
    high = math.inf if typical.high is None else typical.high
    percent = 100.0 * (typical.value - 1.0)
    shift_ms = percent / 100.0 * p50.old_ms
    if typical.low <= 1.0 <= high or abs(percent) < SMALLEST_PERCENT or abs(shift_ms) < SMALLEST_MS:
        return "no difference"
    return "slower" if percent > 0.0 else "faster"


def _sentence(verdict: Verdict, typical: Estimate) -> str:
    if verdict == "cannot tell":
        return f"cannot tell: it takes {FEWEST} recordings, or as many turns of the same ones, most of them answered"
    if typical.value is None:
        return f"{verdict}: half of the turns were {'answered' if verdict == 'slower' else 'failed'} and are no more"
    percent, low, high = (
        None if end is None else 100.0 * (end - 1.0) for end in (typical.value, typical.low, typical.high)
    )
    assert percent is not None
    ends = f"95 % interval {_signed(low)} to {_signed(high)} %"
    if verdict != "no difference":
        return f"{verdict} by {abs(percent):.1f} % ({ends})"
    reach = max(math.inf if end is None else abs(end) for end in (low, high))
    unsure = "; with so few turns a smaller difference would not show" if reach > UNSURE_PERCENT else ""
    return f"no difference: {_signed(percent)} % ({ends}{unsure})"


def _signed(percent: float | None) -> str:
    return "endless" if percent is None else f"{percent:+.1f}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
