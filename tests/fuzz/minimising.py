"""Which of many inputs are worth keeping: the shortest ones that together lead wherever all of them do."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from types import FrameType
from typing import Any

from tests.fuzz.places import KEPT_BYTES, KEPT_FILES
from tests.fuzz.target import Target
from tests.fuzz.trial import INSTRUMENTED, PACKAGE, Broken, attempt

Step = tuple[str, int, int]
"""A file, and two lines of it that were run one after the other."""
TRACED = 10 * INSTRUMENTED


def worth_keeping(target: Target, inputs: Iterable[bytes], known: Iterable[bytes]) -> list[bytes]:
    """Those of `inputs` that lead to steps to which neither `known` nor shorter ones do, as many as a corpus holds."""
    seen: set[Step] = set()
    for data in known:
        seen |= steps(target, data)
    kept: list[bytes] = []
    room = KEPT_BYTES
    for data in sorted(set(inputs), key=lambda each: (len(each), each)):
        if len(data) > room or len(kept) == KEPT_FILES:
            break
        if new := steps(target, data) - seen:
            seen |= new
            kept.append(data)
            room -= len(data)
    return kept


def steps(target: Target, data: bytes) -> set[Step]:
    """The steps that a target takes with an input in the project's own code."""
    found: set[Step] = set()
    last: dict[FrameType, int] = {}

    def local(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            found.add((frame.f_code.co_filename, last.get(frame, 0), frame.f_lineno))
            last[frame] = frame.f_lineno
        return local

    def trace(frame: FrameType, _: str, __: Any) -> Any:
        return local if f"/{PACKAGE}/" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(Broken):
            attempt(target, data, slower=TRACED)
    finally:
        sys.settrace(before)
    return found
