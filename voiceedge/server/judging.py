"""Holds every turn against the node's budget, and tells everybody who wants to know of turns."""

from __future__ import annotations

import logging
import tomllib
from pathlib import Path

from voiceedge.budget import TOTAL, Budget, Overrun, budget_from, parse_budget
from voiceedge.errors import ConfigError
from voiceedge.protocol.extensions import TurnTraced
from voiceedge.server.network import NETWORK, round_trip_ms
from voiceedge.session.node import TurnSink
from voiceedge.trace import SEGMENTS

log = logging.getLogger(__name__)


def read_budget(setting: str | None) -> Budget:
    """Make the budget that the setting `budget` says: limits with commas between them, or the name of a TOML file.

    Without one there are no limits, and every turn is in time.

    Raises:
        ConfigError: it says something else, or has a limit for what no turn has.
    """
    if setting is None:
        return Budget()
    budget = budget_from(_from_file(Path(setting).expanduser())) if setting.endswith(".toml") else parse_budget(setting)
    known = (TOTAL, *SEGMENTS, NETWORK)
    for limit in budget.limits:
        if limit.what not in known:
            raise ConfigError(f"The budget has a limit for '{limit.what}'; a turn has {', '.join(known)}.")
    return budget


class Judge:
    """Takes every turn that is over, says whether it kept the budget, and hands it on."""

    def __init__(self, budget: Budget, *sinks: TurnSink) -> None:
        self.budget = budget
        self._sinks = sinks

    def report(self, session_id: str, turn: TurnTraced) -> None:
        """Judge a turn, and report it to every sink. What one of them fails at costs neither the others nor the call.

        The verdict becomes facts of the turn, so that all of them see it, and behind them the client: `over_budget`
        (the segment that is to blame), `over_budget_ms` (how long that took), `over_budget_limit_ms` (what it may).
        """
        overrun = self._overrun(turn)
        if overrun is not None:
            turn.facts["over_budget"] = overrun.segment
            turn.facts["over_budget_ms"] = round(overrun.ms, 3)
            turn.facts["over_budget_limit_ms"] = overrun.limit_ms
        for sink in self._sinks:
            try:
                sink(session_id, turn)
            except Exception:
                log.exception("A turn could not be reported.")

    def _overrun(self, turn: TurnTraced) -> Overrun | None:
        """The node's own path first: the network is to blame only where the node is not."""
        overrun = self.budget.judge(turn.total_ms, turn.critical_path)
        if overrun is not None or turn.total_ms is None:
            return overrun
        limit_ms, ms = self.budget.widest_ms(NETWORK), round_trip_ms(turn.facts)
        if limit_ms is None or ms is None or ms < limit_ms:
            return None
        return Overrun(NETWORK, ms, limit_ms, turn.total_ms)


def _from_file(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read the budget {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error
