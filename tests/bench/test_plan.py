from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.bench.interval import Interval
from voiceedge.bench.options import BenchOptions
from voiceedge.bench.plan import plans
from voiceedge.bench.recording import Recording

RECORDINGS = [Recording(name, np.zeros(100, np.float32), 50) for name in "abcdefgh"]


def planned(run=1, **more):
    return plans(RECORDINGS, BenchOptions(url="", **more), run)


def names(plan):
    return "".join(line.recording.name for line in plan.lines)


def test_a_single_conversation_plays_the_recordings_as_they_were_given():
    (plan,) = planned()
    assert names(plan) == "abcdefgh"
    assert plan.opening_s == 1.0
    assert {line.think_s for line in plan.lines} == {1.0}


def test_of_several_each_has_its_own_order_pauses_and_beginning():
    all_of_them = planned(sessions=4, think=Interval(1.0, 4.0))
    assert [(plan.run, plan.session) for plan in all_of_them] == [(1, 1), (1, 2), (1, 3), (1, 4)]
    assert all(sorted(names(plan)) == list("abcdefgh") for plan in all_of_them)
    assert len({names(plan) for plan in all_of_them}) == 4
    assert len({plan.opening_s for plan in all_of_them}) == 4
    assert all(0.0 <= plan.opening_s <= 4.0 for plan in all_of_them)
    assert all(1.0 <= line.think_s <= 4.0 for plan in all_of_them for line in plan.lines)
    assert len({line.think_s for plan in all_of_them for line in plan.lines}) == 32


def test_the_same_seed_plans_the_same_and_another_run_or_seed_does_not():
    asked = {"sessions": 3, "think": Interval(1.0, 4.0)}
    assert planned(**asked) == planned(**asked)
    assert planned(**asked) != planned(2, **asked)
    assert planned(**asked) != planned(seed=1, **asked)


@given(sessions=st.integers(2, 12), turns=st.integers(1, 20), run=st.integers(1, 3))
def test_however_many_share_the_recordings_each_is_played_equally_often(sessions, turns, run):
    together = Counter(name for plan in planned(run, sessions=sessions, turns=turns) for name in names(plan))
    counts = [together[recording.name] for recording in RECORDINGS]
    assert sum(counts) == sessions * turns
    assert max(counts) - min(counts) <= 1


def test_a_conversation_can_be_shorter_or_longer_than_the_list():
    assert names(planned(turns=3)[0]) == "abc"
    assert names(planned(turns=10)[0]) == "abcdefghab"


def test_every_answer_but_the_last_is_interrupted_and_the_pauses_stay_what_they_are():
    (plain,), (plan,) = (
        planned(think=Interval(1.0, 4.0)),
        planned(think=Interval(1.0, 4.0), barge_in=Interval(0.5, 2.0)),
    )
    assert [line.think_s for line in plan.lines] == [line.think_s for line in plain.lines]
    *interrupted, last = (line.interrupt_s for line in plan.lines)
    assert last is None
    assert len(set(interrupted)) == 7
    assert all(0.5 <= after_s <= 2.0 for after_s in interrupted)
    assert all(line.interrupt_s is None for line in plain.lines)
