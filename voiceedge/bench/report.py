"""What a run found: rows, summary and the JSON form of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from voiceedge.bench.exchange import PROBLEMS, Exchange, Problem
from voiceedge.bench.figures import Distribution, distribution, percentile
from voiceedge.bench.wire import PathSegment
from voiceedge.trace import MILLISECONDS_A_SECOND

SCHEMA = "voiceedge.bench/2"

LATE_APPEND_MS = 20.0
"""An append that is later than its own length: the client was too busy to be trusted."""


@dataclass(frozen=True, slots=True)
class TurnRow:
    """One recording and its answer. Times in milliseconds, from the last voiced sample unless said."""

    audio: str
    expected_text: str | None
    user_text: str
    agent_text: str
    client_v2v_ms: float | None
    """To the first audible sample at the client; None for a failed turn."""
    server_v2v_ms: float | None
    """The node's own figure; None when it sent none."""
    critical_path: tuple[PathSegment, ...]
    marks_ms: dict[str, float | None]
    facts: dict[str, Any]
    leading_silence_ms: float | None
    """From the arrival of the first audible sample to when it is played; part of `client_v2v_ms`."""
    problems: tuple[Problem, ...]
    errors: tuple[str, ...]
    """What the node complained about."""
    responses: int
    send_lag_ms: float
    """How late the latest append of the recording was sent; counted against the node all the same."""
    run: int = 1
    session: int = 1
    """Which of the conversations held at once, from 1."""
    hesitates_ms: float | None = None
    """How long a pause was put into the recording; None for a recording as it is."""
    restarts: int = 0
    """How often the node took the user's speech for over and then heard it go on. Unless an answer was audible,
    nobody notices."""

    @property
    def remainder_ms(self) -> float | None:
        """What the client measured beyond the node's figure: network, leading silence, this client."""
        if self.client_v2v_ms is None or self.server_v2v_ms is None:
            return None
        return self.client_v2v_ms - self.server_v2v_ms


@dataclass(frozen=True, slots=True)
class Summary:
    """All turns together."""

    turns: int
    failed: int
    """Turns without a client figure; percentiles count them as slower than all others."""
    restarted: int
    """Turns in which the node took the user's speech for over and then heard it go on."""
    problems: dict[Problem, int]
    client_v2v_ms: Distribution
    server_v2v_ms: Distribution
    segments_ms: dict[str, float]
    """Median of each segment of the critical path."""
    leading_silence_ms: Distribution
    remainder_ms: Distribution
    send_lag_ms: Distribution
    drafts: Drafts | None
    """None where no turn was drafted or the node does not say."""


@dataclass(frozen=True, slots=True)
class Drafts:
    """What the node says about answering before it knew that the user had finished."""

    turns: int
    """Turns that say something about it."""
    drafted_percent: float
    """Of those, whose answer was begun before the endpoint was decided (`speculated`, or the next fact is there)."""
    ready_percent: float
    """Of those, whose answer was ready when the endpoint was decided (`answer_ready_at_endpoint`)."""
    wasted_ms: float
    """Engine time of drafts that were thrown away, of all turns together (`wasted_ms`)."""
    wasted_percent: float | None
    """Of all engine time of these turns (with `work_ms`, that of what was answered); None where the node does not
    say that."""


@dataclass(frozen=True, slots=True)
class BenchReport:
    """One run of the bench."""

    environment: dict[str, Any]
    turns: tuple[TurnRow, ...]
    interrupted: str | None = None
    """Why the run ended before its last recording."""

    @property
    def summary(self) -> Summary:
        """The figures over all turns."""
        return summarise(self.turns)

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


def summarise(rows: Sequence[TurnRow]) -> Summary:
    """The figures over some turns."""
    counted = Counter(problem for row in rows for problem in row.problems)
    failed = sum(row.client_v2v_ms is None for row in rows)
    paths = [{part.segment: part.ms for part in row.critical_path} for row in rows if row.critical_path]
    names = dict.fromkeys(name for path in paths for name in path)  # in the node's order
    medians = {name: percentile((path[name] for path in paths if name in path), 50) for name in names}
    return Summary(
        turns=len(rows),
        failed=failed,
        restarted=sum(row.restarts > 0 for row in rows),
        problems={problem: counted[problem] for problem in PROBLEMS},
        client_v2v_ms=distribution((row.client_v2v_ms for row in rows), failed),
        server_v2v_ms=distribution(row.server_v2v_ms for row in rows),
        segments_ms={name: median for name, median in medians.items() if median is not None},
        leading_silence_ms=distribution(row.leading_silence_ms for row in rows),
        remainder_ms=distribution(row.remainder_ms for row in rows),
        send_lag_ms=distribution(row.send_lag_ms for row in rows),
        drafts=_drafts([row.facts for row in rows]),
    )


def _drafts(facts: Sequence[Mapping[str, Any]]) -> Drafts | None:
    told = [one for one in facts if one.keys() & {"speculated", "answer_ready_at_endpoint", "wasted_ms"}]
    if not told:
        return None
    wasted_ms = sum(float(one.get("wasted_ms", 0.0)) for one in told)
    work_ms = sum(float(one.get("work_ms", 0.0)) for one in told)
    return Drafts(
        turns=len(told),
        drafted_percent=100.0 * sum(map(_is_drafted, told)) / len(told),
        ready_percent=100.0 * sum(bool(one.get("answer_ready_at_endpoint")) for one in told) / len(told),
        wasted_ms=wasted_ms,
        wasted_percent=100.0 * wasted_ms / (work_ms + wasted_ms) if work_ms > 0.0 else None,
    )


def _is_drafted(facts: Mapping[str, Any]) -> bool:
    return bool(facts.get("speculated", "answer_ready_at_endpoint" in facts))


def _grouped(rows: Iterable[TurnRow], key: Callable[[TurnRow], int]) -> dict[int, list[TurnRow]]:
    groups: dict[int, list[TurnRow]] = {}
    for row in sorted(rows, key=key):
        groups.setdefault(key(row), []).append(row)
    return groups


def turn_row(exchange: Exchange, run: int = 1, session: int = 1) -> TurnRow:
    """Put an exchange into figures."""
    answer = exchange.answer
    trace = answer.trace if answer else None
    measured = exchange.voice_to_voice_s
    audible = answer.audible if answer else None
    silence_s = None
    if measured is not None and audible and audible.heard is not None and audible.arrived is not None:
        silence_s = audible.heard - audible.arrived
    recording = exchange.recording
    return TurnRow(
        audio=recording.name if recording else "",
        expected_text=recording.expected_text if recording else None,
        user_text=exchange.user_text,
        agent_text=answer.text.strip() if answer else "",
        client_v2v_ms=_ms(measured),
        server_v2v_ms=trace.total_ms if trace else None,
        critical_path=trace.critical_path if trace else (),
        marks_ms=trace.marks_ms if trace else {},
        facts=trace.facts if trace else {},
        leading_silence_ms=_ms(silence_s),
        problems=exchange.problems,
        errors=tuple(exchange.errors),
        responses=len(exchange.answers),
        send_lag_ms=max(exchange.lags_s, default=0.0) * MILLISECONDS_A_SECOND,
        run=run,
        session=session,
        hesitates_ms=_ms(recording.hesitates_s) if recording else None,
        restarts=exchange.restarts,
    )


def to_json(report: BenchReport) -> dict[str, Any]:
    """The report as plain values (schema `voiceedge.bench/2`); milliseconds have one decimal.

    Keys: `schema`, `environment`, `interrupted` (null, or why the run ended early), `summary` (a
    `Summary`), `runs` and `sessions` (a `Summary` for each number), `turns` (a `TurnRow` each). Keys may be
    added within a schema's number, never changed. Since 2, failed turns count in the client's percentiles.
    """
    return {
        "schema": SCHEMA,
        "environment": report.environment,
        "interrupted": report.interrupted,
        "summary": rounded(asdict(report.summary)),
        "runs": {str(number): rounded(asdict(summary)) for number, summary in report.runs.items()},
        "sessions": {str(number): rounded(asdict(summary)) for number, summary in report.sessions.items()},
        "turns": [rounded(asdict(row)) for row in report.turns],
    }


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


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * MILLISECONDS_A_SECOND
