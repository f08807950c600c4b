"""What is asked where nobody brings recordings: questions as people put them to an assistant, spoken by a voice."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def questions() -> tuple[str, ...]:
    """The script that is shipped: single utterances, short to medium, in an order without a topic."""
    lines = files("voiceedge.bench").joinpath("questions.txt").read_text("utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))
