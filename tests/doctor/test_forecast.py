"""The arithmetic of how many conversations to expect."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.doctor.forecast import (
    BUSY,
    PROCESS_BYTES,
    SLOT_BYTES_A_TOKEN,
    WAIT_MS,
    Forecast,
    Talk,
    forecast,
    recommended,
)
from voiceedge.doctor.models import Choice
from voiceedge.doctor.selftest import Cost, LlmSpeed, Speed
from voiceedge.engines import STAGES
from voiceedge.machine import Machine

MODELS_MB = 100
CHOICE = Choice("nano", {stage: SimpleNamespace(id=stage, memory_mb=MODELS_MB) for stage in STAGES})
TALK = Talk(
    turn_s=10,
    speech_s=4,
    answer_s=5,
    judgements=2,
    hearings=2,
    read_tokens=40,
    written_tokens=20,
    drafts=1.5,
    rest=0.02,
)


def speeds(slower=1.0):
    """For one second of speech: vad 1 ms, stt 50 ms, tts 20 ms; a judgement 10 ms; tokens 1 and 10 ms."""
    heard = {"vad": 0.001, "stt": 0.05, "tts": 0.02, "end_of_turn": 0.01}
    found = {s: Speed(s, s, 1.0, Cost(t * slower, t * slower)) for s, t in heard.items()}
    return {**found, "llm": LlmSpeed("llm", Cost(0.001 * slower, 0.001 * slower), Cost(0.01 * slower, 0.01 * slower))}


def machine(cores=2, free=None, quota=None):
    return Machine("x", (), cores, quota, free, free)


def expected(slower=1.0, **facts):
    return forecast(CHOICE, speeds(slower), machine(**facts), 2048, TALK)


def test_a_turn_costs_what_its_stages_cost():
    assert expected().cpu_s_a_turn == pytest.approx(
        {
            "vad": 0.001 * 10,
            "end_of_turn": 0.01 * 2,
            "stt": 0.05 * 4 * 2,
            "llm": (40 * 0.001 + 20 * 0.01) * 1.5,
            "tts": 0.02 * 5 * 1.5,
            "rest": 0.02 * 10,
        }
    )


def test_sessions_are_the_cpu_time_that_may_be_used_over_that_of_one():
    found = expected()
    assert found.by_cpu == int(2 * BUSY * 10 / sum(found.cpu_s_a_turn.values())) == 10
    assert found.sessions == 10


def test_a_control_groups_quota_counts_not_the_cores():
    assert expected(cores=8, quota=2.0) == expected(cores=2)


def test_memory_is_the_other_limit():
    taken = PROCESS_BYTES + len(STAGES) * MODELS_MB * 1_000_000
    found = expected(free=int(taken + 3.5 * SLOT_BYTES_A_TOKEN * 2048))
    assert (found.by_memory, found.sessions) == (3, 3)
    assert expected(free=1000).sessions == 0


def test_an_answer_takes_the_wait_and_one_pass_of_each_stage():
    assert expected().answer_ms == pytest.approx(WAIT_MS + 1000 * (0.05 * 4 + 40 * 0.001 + 10 * 0.01 + 0.02 * 2))


def test_a_profile_of_which_a_model_was_not_tried_is_not_guessed():
    some = speeds()
    del some["tts"]
    assert forecast(CHOICE, some, machine(), 2048, TALK) is None


@given(st.floats(0.1, 10), st.floats(1.01, 10))
def test_a_slower_machine_never_carries_more_nor_answers_sooner(slower, still):
    one, other = expected(slower), expected(slower * still)
    assert other.sessions <= one.sessions
    assert other.answer_ms > one.answer_ms


def of(profile, sessions=4, answer_ms=500.0):
    return Forecast(profile, {}, 2, sessions, None, answer_ms)


@pytest.mark.parametrize(
    ("forecasts", "profile"),
    [
        ([of("nano"), of("standard"), of("voices")], "standard"),
        ([of("nano"), of("standard", answer_ms=900)], "nano"),
        ([of("nano"), of("standard", sessions=0)], "nano"),
        ([of("nano")], "nano"),
        ([of("nano", answer_ms=801)], None),
        ([of("voices")], None),
        ([], None),
    ],
)
def test_the_best_profile_that_answers_in_time_is_recommended(forecasts, profile):
    best = recommended(forecasts)
    assert (best and best.profile) == profile
