"""What a process holds when its arrays are gone."""

import gc
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

from voiceedge.server import memory

PIECES, PIECE = 2_000, 8_000  # floats: 64 MB, in pieces that glibc takes from its heap and does not map


def resident() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096


@pytest.mark.skipif(memory._trim is None, reason=f"no malloc_trim on {sys.platform}")
def test_what_lies_below_something_that_is_still_in_use_is_given_back():
    pieces = [np.ones(PIECE, dtype=np.float32) for _ in range(PIECES)]
    kept = pieces[-1]
    pieces.clear()
    gc.collect()
    before = resident()
    memory.give_back(collect=False)
    assert resident() < before - PIECES * PIECE * 4 // 2
    assert kept.size == PIECE


def test_where_there_is_nothing_to_tell_it_nothing_happens(monkeypatch):
    monkeypatch.setattr(memory, "_trim", None)
    memory.give_back(collect=False)


class Part:
    """Of two that know one another."""

    other: "Part"


def test_what_only_holds_itself_goes_when_nobody_is_there():
    gone: list[str] = []
    gc.disable()
    memory.settle()
    try:
        one, two = Part(), Part()
        one.other, two.other = two, one
        weakref.finalize(one, gone.append, "one")
        del one, two
        memory.give_back(collect=False)
        assert not gone
        memory.give_back(collect=True)
        assert gone == ["one"]
    finally:
        gc.unfreeze()
        gc.enable()


def test_what_is_there_to_stay_is_not_looked_at_again():
    try:
        memory.settle()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
