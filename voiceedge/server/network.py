"""The one leg of a turn that is not on the node's own path: a WebSocket ping to the client and back."""

from __future__ import annotations

from collections.abc import Mapping

NETWORK = "network"
"""What it is called where it stands beside the segments."""
ROUND_TRIP = "round_trip_ms"
"""The fact of a turn that tells it."""


def round_trip_ms(facts: Mapping[str, int | float | str]) -> float | None:
    """What a turn's facts tell of it; None where it was not measured."""
    told = facts.get(ROUND_TRIP)
    return float(told) if isinstance(told, int | float) else None
