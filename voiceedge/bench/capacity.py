"""How many conversations a node can hold: which number to try next, and what the tried ones say. Pure."""

from __future__ import annotations

from collections.abc import Mapping


def capacity(tried: Mapping[int, bool]) -> int:
    """The largest number of conversations that held, below the smallest that did not; 0 when none did."""
    return max((sessions for sessions, held in tried.items() if held and sessions < _too_many(tried)), default=0)


def next_sessions(tried: Mapping[int, bool], at_most: int) -> int | None:
    """The number of conversations to try next; None when the capacity is known.

    Doubles until a number does not hold, then halves what lies between: 1, 2, 4, 8, 6, 7 finds 6 or 7.

    Args:
        tried: Whether each number that was tried held.
        at_most: Never more than so many.
    """
    held, failed = capacity(tried), _too_many(tried)
    if failed > at_most:
        doubled = min(max(2 * held, 1), at_most)
        return doubled if doubled > held else None
    return (held + int(failed)) // 2 if failed - held > 1 else None


def _too_many(tried: Mapping[int, bool]) -> float:
    return min((sessions for sessions, held in tried.items() if not held), default=float("inf"))
