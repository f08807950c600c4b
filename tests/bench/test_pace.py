import pytest

from voiceedge.bench.pace import Pace


def test_media_time_runs_at_the_stated_speed():
    wall = iter([10.0, 10.0, 10.0])
    pace = Pace(lambda: next(wall), speed=4.0)
    assert pace.now() == 40.0
    assert pace.real_s(42.0) == pytest.approx(0.5)
    assert pace.real_s(39.0) == 0.0


async def test_a_moment_that_has_passed_is_not_waited_for():
    await Pace(lambda: 100.0).until(5.0)
