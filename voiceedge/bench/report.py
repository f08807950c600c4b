"""What a run found, and its JSON form (docs/bench-json.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any

from voiceedge.bench.arrivals import Arrivals
from voiceedge.bench.breakdown import breakdown
from voiceedge.bench.change import Change
from voiceedge.bench.figures import percentile
from voiceedge.bench.ramp_steps import Ramp, RampStep
from voiceedge.bench.row import TurnRow
from voiceedge.bench.selfcheck import SelfCheck
from voiceedge.bench.slo import Judged, judge
from voiceedge.bench.soak import Drift
from voiceedge.bench.stages import stages
from voiceedge.bench.summary import Summary, summarise
from voiceedge.budget import Budget

SCHEMA = "voiceedge.bench/3"

INTERVAL = (
    "From the user's last voiced sample, at its moment in the microphone's schedule, to the first audible sample of "
    "the answer (10 ms above -50 dBFS) at the moment the speaker plays it; both at the client."
)
"""What every figure of voice to voice means."""


@dataclass(frozen=True, slots=True)
class BenchReport:
    """One run of the bench."""

    environment: dict[str, Any]
    turns: tuple[TurnRow, ...]
    interrupted: str | None = None
    """Why the run ended before its last recording."""
    command: str | None = None
    """What to type to run it again."""
    node: dict[str, Any] | None = None
    """What the node says of itself (`GET /v1/node`), asked before the run; None where it says nothing."""
    budget: Budget = field(default_factory=Budget)
    """The limits that the turns are held against."""
    self_check: SelfCheck | None = None
    """Whether the bench itself was fit to measure."""
    change: Change | None = None
    """Against an older report."""
    ramp: Ramp | None = None
    """The numbers of conversations that were tried."""
    drift: Drift | None = None
    """Of a soak: its first quarter beside its last."""
    arrivals: Arrivals | None = None
    """Of an open model: how the conversations came about; each is a `session` of its own."""

    @property
    def summary(self) -> Summary:
        """The figures over all turns."""
        return summarise(self.turns)

    @property
    def judged(self) -> tuple[Judged, ...]:
        """Every limit of the budget, whether it was kept, and what is to blame where it was not."""
        totals = [row.client_v2v_ms for row in self.turns]
        return judge(totals, [row.legs or row.critical_path for row in self.turns], self.budget)

    @property
    def cold(self) -> tuple[TurnRow, ...]:
        """The first answered turn of every session, and those before it that failed."""
        return tuple(row for row, is_cold in self._temperatures() if is_cold)

    @property
    def warm(self) -> tuple[TurnRow, ...]:
        """All others."""
        return tuple(row for row, is_cold in self._temperatures() if not is_cold)

    @property
    def runs(self) -> dict[int, Summary]:
        """The figures of each run."""
        return {run: summarise(rows) for run, rows in _grouped(self.turns, lambda row: row.run).items()}

    @property
    def sessions(self) -> dict[int, Summary]:
        """The figures of each of the conversations held at once, over all runs."""
        return {session: summarise(rows) for session, rows in _grouped(self.turns, lambda row: row.session).items()}

    @property
    def median_turn(self) -> TurnRow | None:
        """The turn whose client figure is the median, among those with a critical path."""
        traced = [row for row in self.turns if row.critical_path and row.client_v2v_ms is not None]
        median = percentile((row.client_v2v_ms for row in traced if row.client_v2v_ms is not None), 50)
        return next((row for row in traced if row.client_v2v_ms == median), None)

    def _temperatures(self) -> Iterator[tuple[TurnRow, bool]]:
        """Every turn, and whether its session was cold."""
        answered: set[tuple[int, int, int]] = set()
        for row in self.turns:
            session = (row.run, row.session, row.connection)
            yield row, session not in answered
            if row.client_v2v_ms is not None:
                answered.add(session)


def _grouped(rows: Iterable[TurnRow], key: Callable[[TurnRow], int]) -> dict[int, list[TurnRow]]:
    groups: dict[int, list[TurnRow]] = {}
    for row in sorted(rows, key=key):
        groups.setdefault(key(row), []).append(row)
    return groups


def to_json(report: BenchReport) -> dict[str, Any]:
    """The report as plain values; docs/bench-json.md says what each key means. Milliseconds have one decimal.

    Keys may be added within a schema's number, never changed.
    """
    begins_s = min((row.zero_s for row in report.turns if row.zero_s is not None), default=0.0)
    cold = set(map(id, report.cold))
    return {
        "schema": SCHEMA,
        "interval": INTERVAL,
        "command": report.command,
        "interrupted": report.interrupted,
        "environment": report.environment,
        "node": report.node,
        "self_check": _self_check(report.self_check),
        "verdicts": [_verdict(one) for one in report.judged],
        "change": None if report.change is None else rounded(asdict(report.change), 4),
        "summary": _plain(report.summary),
        "warm": _plain(summarise(report.warm)),
        "cold": _plain(summarise(report.cold)),
        "breakdown": [_plain(one) for one in breakdown(report.turns)],
        "runs": {str(number): _plain(summary) for number, summary in report.runs.items()},
        "sessions": {str(number): _plain(summary) for number, summary in report.sessions.items()},
        "ramp": None if report.ramp is None else _ramp(report.ramp),
        "drift": None if report.drift is None else _plain(report.drift),
        "arrivals": None if report.arrivals is None else _plain(report.arrivals),
        "turns": [_turn(row, begins_s, cold=id(row) in cold) for row in report.turns],
    }


def _self_check(found: SelfCheck | None) -> dict[str, Any] | None:
    return None if found is None else {**_plain(found), "void": found.void, "faults": list(found.faults)}


def _verdict(judged: Judged) -> dict[str, Any]:
    limit, verdict = judged.verdict.limit, judged.verdict
    return {
        "limit": str(limit),
        "said": str(judged),
        "what": limit.what,
        "percentile": limit.percentile,
        "limit_ms": limit.ms,
        "found_ms": rounded(verdict.found_ms),
        "kept": verdict.kept,
        "turns": judged.turns,
        "late": judged.late,
        "failed": judged.failed,
        "blame": None if judged.blame is None else _plain(judged.blame),
    }


def _ramp(ramp: Ramp) -> dict[str, Any]:
    return {
        "capacity": ramp.capacity,
        "limit_reason": ramp.limit_reason,
        "steps": [_step(step) for step in ramp.steps],
    }


def _step(step: RampStep) -> dict[str, Any]:
    return {
        "sessions": step.sessions,
        "kept": step.kept,
        "tries": step.tries,
        "interrupted": step.report.interrupted,
        "self_check": _self_check(step.report.self_check),
        "verdicts": [_verdict(one) for one in step.report.judged],
        "summary": _plain(step.report.summary),
    }


def _turn(row: TurnRow, begins_s: float, *, cold: bool) -> dict[str, Any]:
    """One turn, with what is computed from it, so that no reader has to know how."""
    told: dict[str, Any] = _plain(row)
    at_s = None if row.zero_s is None else round(row.zero_s - begins_s, 3)
    del told["zero_s"]  # of a clock that nobody else has
    return {
        **told,
        "at_s": at_s,
        "cold": cold,
        "wrong_transcript": row.wrong_transcript,
        "legs": [_plain(leg) for leg in row.legs],
        "stages": [_plain(stage) for stage in stages(row.marks_ms)],
    }


def _plain(found: object) -> Any:
    """A record of figures as plain values; what has an own form of them (`to_json`) gives that."""
    if own_form := getattr(found, "to_json", None):
        return own_form()
    return rounded(asdict(found) if is_dataclass(found) and not isinstance(found, type) else found)


def rounded(value: Any, decimals: int = 1) -> Any:
    """Plain values with so many decimals, however deep they lie."""
    match value:
        case float():
            return round(value, decimals)
        case dict():
            return {key: rounded(item, decimals) for key, item in value.items()}
        case list() | tuple():
            return [rounded(item, decimals) for item in value]
        case _:
            return value
