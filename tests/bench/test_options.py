from pathlib import Path

import pytest

from voiceedge.bench.options import A_SECOND, LIMITED, BenchOptions, check
from voiceedge.bench.tape import Tapes
from voiceedge.budget import parse_budget
from voiceedge.errors import ConfigError


@pytest.mark.parametrize("asked", [{"sessions": 0}, {"runs": 0}, {"turns": 0}, {"sessions": -2}])
def test_nobody_or_nothing_makes_no_run(asked):
    with pytest.raises(ConfigError, match=f"{next(iter(asked))} is .*: at least 1"):
        check(BenchOptions(url="h:1", **asked))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"via_rtt_ms": -1.0}, "via-rtt is -1"),
        ({"via_rtt_ms": 60_000.0}, "0 to 5000 ms"),
        ({"via_rtt_ms": float("nan")}, "via-rtt is nan"),
        ({"barge_in": A_SECOND, "listen": "first-audible"}, "cannot be interrupted"),
        ({"tapes": Tapes(Path("t.wav"), several=True), "arrivals_per_minute": 5.0}, "no --wav"),
    ],
)
def test_what_makes_no_conversation_is_refused(asked, said):
    with pytest.raises(ConfigError, match=said):
        check(BenchOptions(url="h:1", **asked))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"at_most": 0}, "at-most is 0: at least 1"),
        ({"soak_s": 0.0}, "soak is 0"),
        ({"soak_s": float("inf")}, "soak is inf"),
        ({"arrivals_per_minute": -1.0}, "arrivals is -1"),
        ({"ramp": True, "soak_s": 60.0}, "neither --soak nor --arrivals"),
        ({"ramp": True, "arrivals_per_minute": 6.0}, "neither --soak nor --arrivals"),
        ({"ramp": True, "sessions": 2}, "--sessions does not go with them"),
        ({"arrivals_per_minute": 6.0, "sessions": 2}, "--sessions does not go with them"),
        ({"ramp": True, "runs": 2}, "--runs does not go with them"),
        ({"soak_s": 60.0, "runs": 2}, "--runs does not go with them"),
    ],
)
def test_what_cannot_be_asked_for_at_the_same_time_is_refused(asked, said):
    with pytest.raises(ConfigError, match=said):
        check(BenchOptions(url="h:1", **asked))


def test_a_soak_may_be_held_by_several_and_arrivals_may_take_as_long():
    check(BenchOptions(url="h:1", soak_s=60.0, sessions=3))
    check(BenchOptions(url="h:1", soak_s=60.0, arrivals_per_minute=6.0))
    check(BenchOptions(url="h:1", arrivals_per_minute=6.0, runs=2))


def test_a_limit_for_what_no_turn_has_is_refused():
    with pytest.raises(ConfigError, match=r"called 'wiat', only total, zero_shift, wait, .*, unexplained"):
        check(BenchOptions(url="h:1", budget=parse_budget("p95<800ms,wiat.p95<300ms")))
    check(BenchOptions(url="h:1", budget=parse_budget(",".join(f"{what}.p95<300ms" for what in LIMITED))))
