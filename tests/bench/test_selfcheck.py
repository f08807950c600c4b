import asyncio

import pytest

from voiceedge.bench import selfcheck
from voiceedge.bench.figures import Distribution, distribution
from voiceedge.bench.selfcheck import CPU_PERCENT, LAG_MS, RunVoid, SelfCheck, checking

CALM = [0.5] * 100


def check(cpu_percent=5.0, loop=CALM, append=CALM, **more):
    return SelfCheck(cpu_percent, distribution(loop), distribution(append), **more)


def test_a_bench_that_keeps_up_is_not_void():
    assert not check().void
    assert not check(cpu_percent=CPU_PERCENT, loop=[LAG_MS] * 100, offered=100, dropped=1).void
    assert not SelfCheck(0.0, distribution([]), distribution([])).void


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (check(cpu_percent=81.0), "81 % of a core"),
        (check(loop=[0.5] * 94 + [30.0] * 6), "the event loop woke more than 20 ms late too often"),
        (check(append=[0.5] * 94 + [30.0] * 6), "the microphone sent more than 20 ms late too often"),
        (check(offered=50, dropped=1), "1 of 50 conversations could not begin"),
    ],
)
def test_what_makes_a_run_void_is_said(seen, said):
    assert seen.void
    (fault,) = seen.faults
    assert said in fault


def test_some_late_ones_of_a_busy_machine_do_not_void_a_run():
    assert not check(loop=[0.5] * 96 + [90.0] * 4).void


def test_a_void_run_has_an_exit_code_of_its_own():
    assert RunVoid.exit_code == 4


async def test_the_time_that_the_loop_was_held_up_is_seen(monkeypatch):
    moments = iter([0.0, 0.0, 0.5])  # begun; asked to be woken after 20 ms; woken after 500

    def clock():
        try:
            return next(moments)
        except StopIteration:
            raise TimeoutError from None

    monkeypatch.setattr(selfcheck, "now", clock)
    seen = selfcheck.SelfWatch()
    with pytest.raises(TimeoutError):
        await seen.watch()
    monkeypatch.setattr(selfcheck, "now", lambda: 1.0)
    assert seen.check().loop_lag_ms.max == pytest.approx(480.0)


async def test_processor_time_and_lags_of_the_microphone_are_counted(monkeypatch):
    spent = iter([1.0, 1.5])
    moments = iter([10.0, 12.0])
    monkeypatch.setattr(selfcheck, "cpu_now", lambda: next(spent))
    monkeypatch.setattr(selfcheck, "now", lambda: next(moments))
    seen = selfcheck.SelfWatch()
    for ms in (1.0, 30.0):
        seen.append_lags.add(ms)
    found = seen.check(offered=4, dropped=1)
    assert found.cpu_percent == 25.0
    assert found.append_lag_ms.max == 30.0
    assert (found.offered, found.dropped) == (4, 1)


def test_lags_of_hours_take_no_more_memory_than_those_of_minutes():
    seen = selfcheck.SelfWatch()
    for number in range(100_000):
        seen.append_lags.add(number % 700 / 50)
    assert len(seen.append_lags._counts) <= 141
    assert seen.check().append_lag_ms == Distribution(100_000, 7.0, 13.3, 13.8, 14.0)


async def test_the_watch_ends_with_its_block_and_hides_no_error():
    with pytest.raises(KeyError):
        async with checking():
            raise KeyError
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "bench.selfcheck"]
