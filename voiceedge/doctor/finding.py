"""What the doctor found: a line a fact, and what to do where it is not as it should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]
"""`warning`: a node works, but not as well as it could; `problem`: it would not start, or not be reached."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    topic: str
    level: Level
    text: str
    advice: str = ""
    """What to do; empty where nothing has to be done."""
