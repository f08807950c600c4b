"""The figures over many turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from voiceedge.bench.exchange import PROBLEMS, Problem
from voiceedge.bench.figures import Distribution, distribution, percentile
from voiceedge.bench.row import TurnRow
from voiceedge.bench.words import Transcripts, transcripts


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
class Summary:
    """Some turns together. Each percentile is one of its own row: those of the parts do not add up to the total's."""

    turns: int
    failed: int
    """Turns without a client figure; percentiles count them as slower than all others."""
    restarted: int
    """Turns in which the node took the user's speech for over and then heard it go on."""
    problems: dict[Problem, int]
    client_v2v_ms: Distribution
    server_v2v_ms: Distribution
    wait_ms: Distribution
    """The endpoint's: silence that had to pass."""
    queue_ms: Distribution
    compute_ms: Distribution
    network_ms: Distribution
    leading_silence_ms: Distribution
    unexplained_ms: Distribution
    zero_shift_ms: Distribution
    remainder_ms: Distribution
    """Client minus server: shift of zero, network, leading silence and what is unexplained."""
    barge_in_ms: Distribution
    """Of the turns that interrupted something; failed are those that nobody noticed in time."""
    dead_audio_ms: Distribution
    segments_ms: dict[str, float]
    """Median of each segment of the critical path."""
    send_lag_ms: Distribution
    drafts: Drafts | None
    """None where no turn was drafted or the node does not say."""
    transcripts: Transcripts | None
    """What became of the words; None where the recordings' words are not known, or the node transcribes nothing."""


def summarise(rows: Sequence[TurnRow]) -> Summary:
    """The figures over some turns."""
    counted = Counter(problem for row in rows for problem in row.problems)
    failed = sum(row.client_v2v_ms is None for row in rows)
    paths = [{part.segment: part.ms for part in row.critical_path} for row in rows if row.critical_path]
    names = dict.fromkeys(name for path in paths for name in path)  # in the node's order
    medians = {name: percentile((path[name] for path in paths if name in path), 50) for name in names}
    stops = [row.barge_in_ms for row in rows if row.interrupts]
    return Summary(
        turns=len(rows),
        failed=failed,
        restarted=sum(row.restarts > 0 for row in rows),
        problems={problem: counted[problem] for problem in PROBLEMS},
        client_v2v_ms=distribution((row.client_v2v_ms for row in rows), failed),
        server_v2v_ms=distribution(row.server_v2v_ms for row in rows),
        wait_ms=distribution(row.wait_ms for row in rows),
        queue_ms=distribution(row.queue_ms for row in rows),
        compute_ms=distribution(row.compute_ms for row in rows),
        network_ms=distribution(row.network_ms for row in rows),
        leading_silence_ms=distribution(row.leading_silence_ms for row in rows),
        unexplained_ms=distribution(row.unexplained_ms for row in rows),
        zero_shift_ms=distribution(row.zero_shift_ms for row in rows),
        barge_in_ms=distribution(stops, stops.count(None)),
        dead_audio_ms=distribution(row.dead_audio_ms for row in rows),
        remainder_ms=distribution(row.remainder_ms for row in rows),
        segments_ms={name: median for name, median in medians.items() if median is not None},
        send_lag_ms=distribution(row.send_lag_ms for row in rows),
        drafts=_drafts([row.facts for row in rows]),
        transcripts=_transcripts(rows),
    )


def _transcripts(rows: Sequence[TurnRow]) -> Transcripts | None:
    if not any(row.user_text for row in rows):
        return None
    return transcripts((row.expected_text, row.user_text) for row in rows)


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
