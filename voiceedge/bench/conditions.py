"""What two reports were measured under, and what of it differs: a comparison is of the node only where nothing does."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from voiceedge.errors import ConfigError

READABLE = ("voiceedge.bench/2", "voiceedge.bench/3")
"""Schemas that can be compared with."""

_MACHINE = (
    "cpu",
    "cores",
    "memory_bytes",
    "container_cpu_cores",
    "container_memory_bytes",
    "governor",
    "kernel",
    "python",
)
_SETTINGS = (
    "model", "turn_detection", "listen", "sessions", "conversations", "think_s", "hesitate_s", "barge_in_s",
    "via_rtt_ms", "arrivals_per_minute",
)  # fmt: skip
_NODE = ("profile", "region", "threads", "max_sessions")
_NODE_MACHINE = ("cpu", "cores", "memory_bytes")

LOAD_A_CORE = 0.25
"""A machine whose load differs by more, for each core, was busy with something else in one of the runs."""
UNLIKELY = 0.05
"""As likely a difference in failed turns is by chance."""


def read_report(path: Path) -> dict[str, Any]:
    """A report that `--json` wrote.

    Raises:
        ConfigError: it cannot be read, or is none.
    """
    try:
        told = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is no report: {error}") from error
    schema = told.get("schema") if isinstance(told, dict) else None
    if schema not in READABLE:
        raise ConfigError(f"{path} is no report to compare with: its schema is {schema!r}, not {' or '.join(READABLE)}")
    assert isinstance(told, dict)
    return told


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What else differs between two reports, a sentence each; and what makes one of them worth less."""
    return [
        *_void("the old run", old),
        *_void("this run", new),
        *_unequal("the client's ", _MACHINE, old["environment"], new["environment"]),
        *_unequal("", _SETTINGS, old["environment"], new["environment"]),
        *_load(old["environment"], new["environment"]),
        *_nodes(old.get("node"), new.get("node")),
        *_recordings(old["turns"], new["turns"]),
        *_failed(old["turns"], new["turns"]),
    ]


def _void(which: str, report: Mapping[str, Any]) -> Iterator[str]:
    if report.get("interrupted"):
        yield f"{which} ended early: {report['interrupted']}"
    check = report.get("self_check")
    if check and check["void"]:
        yield f"{which} is void: {'; '.join(check['faults'])}"


def _unequal(whose: str, names: Sequence[str], old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Only of what both tell: an older schema knows less."""
    for name in names:
        if name in old and name in new and old[name] != new[name]:
            yield f"{whose}{name.replace('_', ' ')} was {_shown(old[name])} and is {_shown(new[name])}"


def _load(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    cores = new.get("cores") or 1
    for name in ("load_before", "load_after"):
        then, now = old.get(name), new.get(name)
        if then is not None and now is not None and abs(now - then) > LOAD_A_CORE * cores:
            when = name.removeprefix("load_")
            yield f"the load {when} the run was {then} and is {now}: the machine had other things to do"


def _nodes(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[str]:
    if not old or not new:
        return
    yield from _unequal("the node's ", _NODE, old, new)
    machines = [one.get("machine") or {} for one in (old, new)]
    yield from _unequal("the node's ", _NODE_MACHINE, machines[0], machines[1])
    models = [{model.get("stage"): _model(model) for model in one.get("models") or ()} for one in (old, new)]
    yield from _unequal("the node's model for ", sorted(map(str, models[0])), models[0], models[1])


def _model(model: Mapping[str, Any]) -> str:
    return f"{model.get('name')} ({model.get('quantisation')}, {str(model.get('sha256'))[:12]})"


def _recordings(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    before, after = ({turn["audio"] for turn in turns} for turns in (old, new))
    if before != after:
        shared = len(before & after)
        yield f"the recordings are not the same: {len(before)} then, {len(after)} now, {shared} in both runs"


def _failed(old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    before, after = (sum(turn["client_v2v_ms"] is None for turn in turns) for turns in (old, new))
    if before != after and by_chance(before, len(old), after, len(new)) < UNLIKELY:
        yield f"turns failed: {before} of {len(old)} then, {after} of {len(new)} now, which is no chance"


def by_chance(failed: int, turns: int, other_failed: int, other_turns: int) -> float:
    """How likely two runs of the same node differ in failed turns at least so much (Fisher's exact test, two-sided)."""
    all_failed, all_turns = failed + other_failed, turns + other_turns
    ways = math.comb(all_turns, all_failed)

    def chance(count: int) -> float:
        return math.comb(turns, count) * math.comb(other_turns, all_failed - count) / ways

    possible = range(max(0, all_failed - other_turns), min(all_failed, turns) + 1)
    found = chance(failed) * (1.0 + 1e-9)  # those that are equally likely are equal but for rounding
    return sum(one for count in possible if (one := chance(count)) <= found)


def _shown(value: object) -> str:
    return "none" if value is None else str(value)
