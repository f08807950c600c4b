"""Whether a node became slower: simulated runs with noise as it was measured, and the corners."""

import math
from functools import partial

import numpy as np
import pytest

from voiceedge.bench import change
from voiceedge.bench.change import FEWEST, compare
from voiceedge.bench.figures import estimate

# logarithms of the ratio of two answers to the same recording: one conversation against four, profile nano, 2 cores
LESS = (-0.27, -0.14, -0.14, -0.13, -0.10, -0.05, -0.03, -0.02, 0.0)
MORE = (0.0, 0.07, 0.08, 0.12, 0.13, 0.23, 0.26, 0.30, 0.38, 0.95)
NOISE = (*LESS, *MORE)
RECORDINGS = 40
TRIES = 10


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch):
    """An interval's ends then move by a tenth of its width; no verdict that is promised here hangs on it."""
    monkeypatch.setattr(change, "estimate", partial(estimate, resamples=400))


def turn(audio, ms, **legs):
    path = [{"segment": name, "ms": spent} for name, spent in legs.items()]
    return {"audio": audio, "client_v2v_ms": ms, "critical_path": path, "legs": path}


def report(times, prefix="r"):
    return {"turns": [turn(f"{prefix}{number}", ms) for number, ms in enumerate(times)]}


def two_runs(seed, slower=1.0, recordings=RECORDINGS):
    """Answer times from 200 ms to 1.2 s; the noise between two runs is as likely in one as in the other."""
    chance = np.random.default_rng(seed)
    usual = np.exp(chance.uniform(math.log(200.0), math.log(1200.0), recordings))
    noise = chance.choice(NOISE, recordings) * chance.choice([-1.0, 1.0], recordings)
    return report(usual.tolist()), report((usual * np.exp(noise) * slower).tolist())


def verdicts(slower):
    return [compare(*two_runs(seed, slower)).verdict for seed in range(TRIES)]


def test_two_runs_of_the_same_build_are_called_no_difference_in_nine_of_ten_tries():
    assert verdicts(1.0).count("no difference") >= 9


def test_a_node_that_became_a_tenth_slower_is_called_slower():
    assert verdicts(1.1).count("slower") >= 7


def test_one_that_became_much_faster_is_called_faster_every_time():
    assert verdicts(0.7).count("faster") == TRIES


def test_the_sentence_says_by_how_much_and_how_sure_that_is():
    old, new = (report([300.0 * factor] * 12) for factor in (1.0, 1.2))
    assert compare(old, new).sentence == "slower by 20.0 % (95 % interval +20.0 to +20.0 %)"
    assert compare(new, old).sentence == "faster by 16.7 % (95 % interval -16.7 to -16.7 %)"
    assert compare(old, old).sentence == "no difference: +0.0 % (95 % interval +0.0 to +0.0 %)"


@pytest.mark.parametrize(("old_ms", "new_ms"), [(300.0, 315.0), (40.0, 44.0)])
def test_what_nobody_could_hear_is_no_difference_however_sure_it_is(old_ms, new_ms):
    assert compare(report([old_ms] * 20), report([new_ms] * 20)).verdict == "no difference"


def test_an_interval_that_reaches_far_is_said_to_be_unsure():
    times = [300.0, 400.0, 500.0, 600.0, 700.0, 800.0]
    found = compare(report(times), report(times[::-1]))
    assert found.verdict == "no difference"
    assert "a smaller difference would not show" in found.sentence


def test_a_few_turns_that_went_wild_do_not_decide():
    times = [300.0 + 10 * n for n in range(20)]
    assert compare(report(times), report([*times[:-3], 5000.0, 6000.0, None])).verdict == "no difference"


def test_a_node_that_answers_few_turns_any_more_is_slower_and_one_that_failed_before_is_faster():
    answered, failed = report([300.0] * 12), report([300.0] * 2 + [None] * 10)
    found = compare(answered, failed)
    assert (found.verdict, found.typical_ratio.value) == ("slower", None)
    assert found.sentence == "slower: half of the turns were answered and are no more"
    assert compare(failed, answered).verdict == "faster"
    assert compare(failed, failed).verdict == "cannot tell"


def test_each_recording_is_its_own_yardstick():
    slow_ones_twice = report([200.0, 200.0, 200.0, 900.0, 900.0, 900.0, 900.0, 900.0])
    half_faster = report([100.0, 100.0, 100.0, 900.0, 900.0, 900.0, 900.0, 900.0])
    assert compare(slow_ones_twice, half_faster).shifts[0].ratio.value == 1.0
    assert compare(slow_ones_twice, half_faster).typical_ratio.value < 1.0


def test_only_recordings_that_both_played_are_held_against_each_other():
    old, new = report([300.0] * 10), report([300.0] * 10)
    new["turns"] += [turn(f"long{n}", 3000.0) for n in range(20)]
    found = compare(old, new)
    assert (found.way, found.recordings, found.verdict) == ("recordings", 10, "no difference")
    assert found.shifts[0].new_ms == 300.0


def test_other_recordings_are_compared_apart():
    found = compare(report([300.0 + n for n in range(20)]), report([450.0 + n for n in range(20)], prefix="other"))
    assert (found.way, found.recordings, found.verdict) == ("apart", 0, "slower")


def test_one_question_asked_many_times_is_compared_turn_by_turn():
    times = [300.0 + n for n in range(20)]
    old = {"turns": [turn("a", ms) for ms in times]}
    new = {"turns": [turn("a", 1.2 * ms) for ms in times]}
    assert (compare(old, new).way, compare(old, new).verdict) == ("turns", "slower")
    assert compare(old, old).verdict == "no difference"


def test_too_few_to_tell_is_said():
    few = report([300.0] * (FEWEST - 1))
    assert compare(few, report([900.0] * (FEWEST - 1))).verdict == "cannot tell"
    assert compare({"turns": []}, few).verdict == "cannot tell"
    assert "it takes 6 recordings" in compare(few, few).sentence


def test_every_leg_that_both_tell_of_has_its_shift():
    old = {"turns": [turn(f"r{n}", 300.0, wait=200.0, llm=100.0) for n in range(8)]}
    new = {"turns": [turn(f"r{n}", 400.0, wait=200.0, llm=150.0, network=50.0) for n in range(8)]}
    shifts = {shift.name: shift for shift in compare(old, new).shifts}
    assert list(shifts) == ["client p50", "client p95", "wait p50", "llm p50"]
    assert (shifts["llm p50"].difference_ms.value, shifts["llm p50"].ratio.value) == (50.0, 1.5)
    assert shifts["wait p50"].difference_ms.high == 0.0


def test_a_report_of_schema_2_has_no_legs_and_is_read_by_its_path():
    old = {"turns": [turn(f"r{n}", 300.0, wait=200.0) for n in range(8)]}
    for one in old["turns"]:
        del one["legs"]
    assert compare(old, old).shifts[2].name == "wait p50"
