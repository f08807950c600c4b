import asyncio
import logging
import os
import threading

import pytest

from voiceedge.errors import EngineHung
from voiceedge.server import giving_up
from voiceedge.session.compute import MOST_HANGING, Compute


@pytest.fixture
def exits(monkeypatch):
    """Exit codes of the process that did not end."""
    codes = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    return codes


def hang(compute, gate, times):
    """Lose so many threads."""

    async def lose():
        for _ in range(times):
            with pytest.raises(EngineHung):
                await compute.run(gate.wait, deadline=0.0)

    asyncio.run(lose())


@pytest.fixture
def gate():
    event = threading.Event()
    yield event
    event.set()


def test_a_process_that_is_well_ends_by_itself(exits):
    compute = Compute(2)
    compute.close()
    giving_up.leave(compute)
    assert exits == []


@pytest.mark.parametrize(("hanging", "code"), [(1, 0), (MOST_HANGING, giving_up.UNWELL)])
def test_a_process_whose_threads_hang_is_ended_and_says_whether_it_was_asked_to_stop(exits, gate, hanging, code):
    compute = Compute(1, timeout_s=0.05)
    hang(compute, gate, hanging)
    compute.close()
    giving_up.leave(compute)
    assert exits == [code]


def test_the_server_is_asked_to_finish_and_the_log_says_why(caplog):
    asked = []
    giving_up.finish(lambda: asked.append("drain"), "3 threads hang")
    assert asked == ["drain"]
    assert "3 threads hang" in caplog.text


def test_an_event_loop_that_hangs_ends_the_process_and_says_where(exits, capfd, caplog):
    giving_up.die()
    assert exits == [giving_up.UNWELL]
    assert "The event loop hangs" in caplog.text
    assert "test_an_event_loop_that_hangs_ends_the_process_and_says_where" in capfd.readouterr().err


def test_it_ends_even_if_nobody_reads_why(exits, monkeypatch, gate):
    monkeypatch.setattr(giving_up, "LAST_WORDS_S", 0.01)
    monkeypatch.setattr(giving_up, "_say_where", gate.wait)
    giving_up.die()
    assert exits == [giving_up.UNWELL]
