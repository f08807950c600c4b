import asyncio
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.session.watchdog import LONGEST_INTERVAL_S, LOOKS, Awake, Pulse, Watchdog, beating, where

LONG_S = 10.0
"""Only a failing test waits for it."""


@given(st.lists(st.floats(0, 1000), max_size=20))
def test_time_in_which_the_process_did_not_run_is_not_counted(gaps_s):
    awake, at, counted = Awake(1.0, 0.0), 0.0, 0.0
    for gap_s in gaps_s:
        at += gap_s
        now_s = awake.tick(at)
        assert counted <= now_s <= counted + 2.0
        assert now_s <= at
        counted = now_s


def test_time_in_which_it_ran_is_counted_in_full():
    awake = Awake(1.0, 50.0)
    assert [awake.tick(50.0 + number) for number in range(1, 4)] == [1.0, 2.0, 3.0]


def test_the_watchdog_looks_again_and_again_until_it_is_closed_whatever_it_sees():
    looks, seen = [], threading.Semaphore(0)

    def look(awake_s):
        looks.append(awake_s)
        seen.release()
        raise ValueError("nothing to be seen")

    watchdog = Watchdog(0.02, look)
    for _ in range(3):
        assert seen.acquire(timeout=LONG_S)
    watchdog.close()
    count = len(looks)
    assert not watchdog._thread.is_alive()
    assert looks == sorted(looks)
    assert len(looks) == count


@pytest.mark.parametrize(("timeout_s", "interval_s"), [(0.5, 0.5 / LOOKS), (1000.0, LONGEST_INTERVAL_S)])
def test_it_looks_often_enough_to_be_in_time(timeout_s, interval_s):
    watchdog = Watchdog(timeout_s, lambda _: None)
    watchdog.close()
    assert watchdog._interval_s == interval_s


async def test_a_loop_that_turns_is_not_dead():
    dead = []
    pulse = Pulse(asyncio.get_running_loop(), 1.0, lambda: dead.append(1))
    for awake_s in range(5):
        pulse.look(float(awake_s))
        await asyncio.sleep(0)
    assert dead == []


def test_a_loop_that_hangs_is_dead_once_after_its_time():
    dead, hang, hanging = [], threading.Event(), threading.Event()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        loop.call_soon_threadsafe(lambda: hanging.set() or hang.wait(LONG_S))
        assert hanging.wait(LONG_S)
        pulse = Pulse(loop, 1.0, lambda: dead.append(1))
        pulse.look(0.0)
        pulse.look(0.9)
        assert dead == []
        pulse.look(1.0)
        pulse.look(9.0)
        assert dead == [1]
    finally:
        hang.set()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_loop_that_is_closed_is_not_dead():
    dead = []
    loop = asyncio.new_event_loop()
    loop.close()
    pulse = Pulse(loop, 1.0, lambda: dead.append(1))
    for awake_s in range(5):
        pulse.look(float(awake_s))
    assert dead == []


async def test_a_loop_is_watched_until_the_block_is_left():
    with beating(asyncio.get_running_loop(), LONG_S, lambda: None):
        assert any(thread.name == "pulse" for thread in threading.enumerate())
    assert not any(thread.name == "pulse" for thread in threading.enumerate())


def test_where_a_thread_is_is_told_without_values():
    secret, gate, there = "sk-secret", threading.Event(), threading.Event()

    def hang(_):
        there.set()
        gate.wait(LONG_S)

    thread = threading.Thread(target=hang, args=[secret])
    thread.start()
    assert there.wait(LONG_S)
    told = where(thread.ident)
    gate.set()
    thread.join()
    assert "gate.wait(LONG_S)" in told
    assert secret not in told
    assert where(thread.ident) == "(the thread is gone)\n"
