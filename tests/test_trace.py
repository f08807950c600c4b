import threading
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.trace import ANSWER_MARKS, SEGMENTS, Mark, MediaClock, TurnTrace, cpu_now

MARKS = get_args(Mark)


class Clock:
    """Stands until it is set."""

    def __init__(self, at=0.0):
        self.at = at

    def __call__(self):
        return self.at


def path(zero=10.0, waits=(), **marks):
    """The critical path in ms of a turn whose marks are given in seconds after `zero`; parts of 0 left out."""
    trace = TurnTrace(1, zero, Clock(), {name: zero + at for name, at in marks.items()}, [*waits])
    return {part.segment: pytest.approx(part.ms) for part in trace.critical_path() if abs(part.ms) > 1e-6}


# ── the critical path ─────────────────────────────────────────────────────────────────────────────────────

PLAIN = {
    "wait_over": 0.2,
    "endpoint": 0.3,
    "stt_started": 0.3,
    "stt_final": 0.5,
    "llm_first_token": 0.6,
    "llm_first_clause": 0.7,
    "tts_first_audio": 0.9,
    "first_audio_out": 1.0,
}


def test_one_stage_after_the_other_is_a_plain_walk():
    assert path(**PLAIN) == {"wait": 200, "end_of_turn": 100, "stt": 200, "llm": 200, "tts": 200, "send": 100}


def test_a_turn_without_audio_has_no_path():
    trace = TurnTrace(1, 0.0, Clock(), {"endpoint": 0.3, "tts_first_audio": 0.5})
    assert trace.critical_path() == ()


def test_stages_that_were_done_before_the_endpoint_are_hidden_behind_the_wait():
    early = {"stt_started": 0.1, "stt_final": 0.15, "llm_first_clause": 0.2, "tts_first_audio": 0.3}
    assert path(wait_over=0.5, endpoint=0.6, first_audio_out=0.61, **early) == {
        "wait": 500,
        "end_of_turn": 100,
        "send": 10,
    }


def test_a_transcription_that_began_before_the_endpoint_waits_only_until_it_began():
    marks = PLAIN | {"stt_started": 0.1}
    assert path(**marks) == {"wait": 100, "stt": 400, "llm": 200, "tts": 200, "send": 100}


def test_a_turn_that_was_asked_for_has_no_wait_and_no_transcription():
    assert path(llm_first_clause=0.2, tts_first_audio=0.3, first_audio_out=0.3) == {"llm": 200, "tts": 100}


def test_time_in_the_queue_is_taken_out_of_the_stage_that_stood_there():
    waits = [(10.3, 10.35), (10.5, 10.52), (10.6, 10.65)]
    assert path(waits=waits, **PLAIN) == {
        "wait": 200,
        "end_of_turn": 100,
        "stt": 150,
        "llm": 130,
        "tts": 200,
        "queue": 120,
        "send": 100,
    }


def test_a_queue_that_nobody_waited_for_is_not_counted():
    waits = [(9.0, 9.5), (10.0, 10.2), (12.0, 13.0)]  # before zero, during the silence, after the first audio
    assert path(waits=waits, **PLAIN) == path(**PLAIN)


def test_a_wait_across_two_stages_is_taken_out_of_both():
    found = path(waits=[(10.4, 10.6)], **PLAIN)
    assert (found["stt"], found["llm"], found["queue"]) == (100, 100, 200)


moments = st.floats(0, 5)


@given(
    st.dictionaries(st.sampled_from(MARKS), moments),
    moments,
    st.lists(st.tuples(st.floats(0, 0.5), st.floats(0, 0.5)), max_size=8),
)
def test_the_path_adds_up_to_the_total_whatever_the_order_of_the_marks(marks, out, gaps):
    waits, at = [], 3.0
    for idle, queued in gaps:  # a turn's steps come one after the other
        waits.append((at + idle, at + idle + queued))
        at += idle + queued
    trace = TurnTrace(1, 3.0, Clock(), {name: 3.0 + at for name, at in marks.items()}, waits)
    trace.marks["first_audio_out"] = 3.0 + out
    parts = trace.critical_path()
    assert tuple(part.segment for part in parts) == SEGMENTS
    assert sum(part.ms for part in parts) == pytest.approx(trace.since_zero_ms("first_audio_out"), abs=1e-6)
    assert all(part.ms > -1e-6 for part in parts)


# ── marks ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_only_the_first_time_that_a_mark_is_reached_counts():
    clock = Clock(2.0)
    trace = TurnTrace(1, 1.5, clock)
    trace.mark("llm_first_token")
    clock.at = 9.0
    trace.mark("llm_first_token")
    trace.mark("endpoint", 1.75)
    assert trace.since_zero_ms("llm_first_token") == 500
    assert trace.since_zero_ms("endpoint") == 250
    assert trace.since_zero_ms("stt_final") is None


# ── media time ────────────────────────────────────────────────────────────────────────────────────────────


def arrivals(*messages, rate_hz=1000):
    """A media clock at which (moment, samples) have arrived."""
    clock = Clock()
    media = MediaClock(rate_hz, clock)
    for clock.at, samples in messages:
        media.arrived(samples)
    return media


def test_a_sample_inside_a_message_arrived_in_proportion():
    media = arrivals((5.0, 100), (5.1, 100))
    assert [media.moment(sample) for sample in (0, 50, 100, 150, 200)] == pytest.approx([4.9, 4.95, 5.0, 5.05, 5.1])
    assert media.samples == 200


def test_a_burst_is_squeezed_into_the_time_that_there_was():
    media = arrivals((5.0, 100), (5.01, 100))
    assert [media.moment(sample) for sample in (100, 150, 200)] == pytest.approx([5.0, 5.005, 5.01])


def test_a_pause_of_the_network_is_a_jump_between_messages():
    media = arrivals((5.0, 100), (7.0, 100))
    assert media.moment(99) == pytest.approx(4.999)
    assert media.moment(100) == pytest.approx(6.9)


def test_a_sample_that_has_not_arrived_is_put_at_the_end():
    assert arrivals((5.0, 100)).moment(100_000) == 5.0


def test_before_anything_has_arrived_it_is_now():
    clock = Clock(4.0)
    media = MediaClock(1000, clock)
    media.arrived(0)
    assert (media.moment(0), media.samples) == (4.0, 0)


def test_samples_that_are_no_longer_kept_are_mapped_by_the_oldest():
    media = arrivals(*((float(n), 10) for n in range(1, 4200)))
    assert media.moment(0) == media.moment(5) == pytest.approx(4199 - 4095 - 0.01)


@given(st.lists(st.tuples(st.floats(0, 0.3), st.integers(0, 200)), max_size=20))
def test_media_time_never_runs_backwards_and_never_ahead(gaps):
    clock = Clock(1.0)
    media = MediaClock(1000, clock)
    for gap, samples in gaps:
        clock.at += gap
        media.arrived(samples)
    moments = [media.moment(sample) for sample in range(0, media.samples + 50, 7)]
    assert moments == sorted(moments)
    assert all(moment <= clock.at for moment in moments)


def test_zero_is_mapped_to_the_wall_by_how_long_ago_it_was(monkeypatch):
    monkeypatch.setattr("voiceedge.trace.wall_s", lambda: 1_795_473_791.5)
    assert TurnTrace(1, zero=40.0, clock=lambda: 42.25).zero_at() == 1_795_473_789.25


def test_an_answer_that_is_made_anew_has_new_marks():
    trace = TurnTrace(1, zero=0.0, clock=lambda: 1.0)
    for mark in (*ANSWER_MARKS, "stt_final"):
        trace.mark(mark)
    trace.begin_anew()
    assert set(trace.marks) == {"stt_final"}


# ── the processor's time ──────────────────────────────────────────────────────────────────────────────────


def test_the_processors_time_goes_on_while_this_process_works_in_whatever_thread():
    before = cpu_now()
    worker = threading.Thread(target=lambda: sum(range(3_000_000)))
    worker.start()
    worker.join()
    assert cpu_now() - before > 0.005
