import numpy as np
import pytest

from voiceedge.bench.exchange import LONGEST_ANSWER_S, Answer, BargeIn, Exchange
from voiceedge.bench.microphone import Utterance
from voiceedge.bench.playout import Playout
from voiceedge.bench.recording import WIRE_RATE_HZ, Recording
from voiceedge.bench.wire import ErrorDetail, PathSegment, ResponseState, ServerEvent

RECORDING = Recording("r", np.zeros(WIRE_RATE_HZ * 3, np.float32), WIRE_RATE_HZ * 2)
UTTERANCE = Utterance(begins=10.0, zero=12.0, ends=13.0)
TONE = np.full(WIRE_RATE_HZ, 0.1, np.float32)


class Listener:
    """An exchange with a short hand for what a node sends."""

    def __init__(self, recording=RECORDING, barge_in=None):
        self.playout = Playout()
        self.exchange = Exchange(recording, UTTERANCE, self.playout, barge_in)

    def created(self, response, at):
        self.exchange.receive(ServerEvent("response.created", response=ResponseState(response)), at)

    def done(self, response, at, status="completed"):
        self.exchange.receive(ServerEvent("response.done", response=ResponseState(response, status)), at)

    def audio(self, response, at, audio=TONE):
        self.exchange.receive_audio(ServerEvent("d", response_id=response, item_id=f"i{response}"), audio, at)

    def says(self, kind, at, **fields):
        self.exchange.receive(ServerEvent(kind, **fields), at)

    def answered(self, response, at, status="completed"):
        self.created(response, at)
        self.audio(response, at)
        self.done(response, at, status)


def test_an_answer_is_measured_from_the_last_voiced_sample_to_the_first_audible_one():
    listener = Listener()
    listener.created("a", 12.3)
    listener.audio("a", 12.5, np.concatenate([np.zeros(2400, np.float32), TONE]))
    listener.done("a", 12.6)
    assert listener.exchange.voice_to_voice_s == pytest.approx(0.6)
    assert listener.exchange.answer.audible.arrived == 12.5
    assert listener.exchange.problems == ()


def test_captions_and_the_trace_are_kept():
    listener = Listener()
    completed = "conversation.item.input_audio_transcription.completed"
    listener.says("input_audio_buffer.speech_started", 10.2)
    listener.says(completed, 12.2, transcript=" What time ")
    listener.says(completed, 12.3, transcript="is it?")
    listener.created("a", 12.3)
    listener.says("response.output_audio_transcript.delta", 12.4, response_id="a", delta="Half ")
    listener.says("response.output_audio_transcript.delta", 12.4, response_id="a", delta="past")
    assert listener.exchange.answer.text == "Half past"
    listener.says("response.output_audio_transcript.done", 12.5, response_id="a", transcript="Half past two.")
    listener.done("a", 12.6)
    path = (PathSegment("wait", 1.0),)
    listener.says("voiceedge.turn", 12.7, response_id="a", critical_path=path, total_ms=400.0)
    assert listener.exchange.user_text == "What time is it?"
    assert listener.exchange.answer.text == "Half past two."
    assert listener.exchange.answer.trace.critical_path == path


def test_an_exchange_is_settled_when_all_was_said_finished_and_played():
    listener = Listener()
    assert listener.exchange.settled is None
    listener.created("a", 12.3)
    listener.audio("a", 12.5)
    assert listener.exchange.settled is None
    listener.done("a", 12.6)
    assert listener.exchange.settled == pytest.approx(13.5)  # the speaker is still playing


def test_it_is_not_settled_while_the_user_is_heard_again():
    listener = Listener()
    listener.answered("a", 11.0)
    listener.says("input_audio_buffer.speech_started", 11.5)
    assert listener.exchange.settled is None
    listener.answered("b", 12.5)
    assert listener.exchange.settled == pytest.approx(13.5)


def test_what_the_node_cancelled_is_waited_for_but_not_what_we_stopped():
    listener = Listener()
    listener.answered("a", 12.1, "cancelled")
    assert listener.exchange.settled is None
    listener.exchange.answers[0].stopped_by_us = True
    assert listener.exchange.settled is not None


def test_an_answer_into_the_users_words_is_talked_over_and_no_figure():
    listener = Listener()
    listener.answered("a", 11.0)
    assert listener.exchange.voice_to_voice_s is None
    assert listener.exchange.problems == ("talked_over",)


def test_an_answer_at_a_pause_and_another_at_the_end_is_split_and_the_second_counts():
    listener = Listener()
    listener.created("a", 11.0)
    listener.audio("a", 11.1)
    listener.says("input_audio_buffer.speech_started", 11.3)
    listener.done("a", 11.3, "cancelled")
    listener.playout.stop(11.3)
    listener.answered("b", 12.4)
    assert listener.exchange.problems == ("talked_over", "split")
    assert listener.exchange.answer.response_id == "b"
    assert listener.exchange.voice_to_voice_s == pytest.approx(0.4)


def test_audio_that_was_thrown_away_before_it_was_played_was_not_heard():
    listener = Listener()
    listener.created("a", 11.0)
    listener.audio("a", 11.1, np.concatenate([np.zeros(WIRE_RATE_HZ // 2, np.float32), TONE]))
    listener.says("input_audio_buffer.speech_started", 11.3)
    listener.done("a", 11.3, "cancelled")
    listener.playout.stop(11.3)
    listener.answered("b", 12.4)
    assert listener.exchange.problems == ("split",)


@pytest.mark.parametrize(("status", "problem"), [("failed", "failed_response"), ("completed", "no_answer")])
def test_a_turn_without_sound_is_counted_by_its_cause(status, problem):
    listener = Listener()
    listener.created("a", 12.1)
    listener.done("a", 12.2, status)
    assert listener.exchange.problems == (problem,)
    assert listener.exchange.voice_to_voice_s is None
    assert listener.exchange.settled == 13.0


def test_no_reply_at_all_is_no_answer_and_waiting_ends():
    listener = Listener()
    assert listener.exchange.problems == ("no_answer",)
    assert listener.exchange.gives_up(20.0) == 33.0


def test_signs_of_life_prolong_waiting_but_not_for_ever():
    listener = Listener()
    listener.says("input_audio_buffer.speech_started", 15.0)
    assert listener.exchange.gives_up(20.0) == 35.0
    listener.says("input_audio_buffer.speech_started", 500.0)
    assert listener.exchange.gives_up(20.0) == UTTERANCE.ends + LONGEST_ANSWER_S


def test_an_answer_may_be_stopped_once_its_first_audible_sample_was_played():
    listener = Listener()
    listener.created("a", 12.1)
    listener.audio("a", 12.2, np.concatenate([np.zeros(2400, np.float32), TONE]))
    assert listener.exchange.next_to_stop == pytest.approx(12.3)
    assert listener.exchange.to_stop(12.25) is None
    answer = listener.exchange.to_stop(12.4)
    assert listener.exchange.heard_ms(answer, 12.4) == pytest.approx(200, abs=1)
    answer.stopped_by_us = True
    listener.audio("a", 12.5)
    assert listener.exchange.to_stop(13.0) is None
    assert listener.playout.ends == pytest.approx(13.3)  # what still comes of it is not played


def test_a_late_word_about_an_earlier_response_is_not_an_answer_to_this_one():
    listener = Listener()
    listener.says("voiceedge.turn", 10.1, response_id="old")
    listener.audio("old", 10.1)
    listener.done("old", 10.2)
    assert listener.exchange.answers == []


def test_complaints_are_kept_but_a_cancel_that_came_too_late_is_none():
    listener = Listener()
    listener.says("error", 11.0, error=ErrorDetail("too late", "response_cancel_not_active"))
    listener.says("error", 11.0, error=ErrorDetail("bad", "invalid_value"))
    assert listener.exchange.errors == ["bad"]


def test_the_quiet_before_the_first_turn_expects_nothing_but_hears_a_greeting_out():
    listener = Listener(recording=None)
    assert listener.exchange.settled == UTTERANCE.ends
    listener.created("greeting", 12.9)
    assert listener.exchange.settled is None
    listener.audio("greeting", 13.1)
    listener.done("greeting", 13.2)
    assert listener.exchange.settled == pytest.approx(14.1)


# ── rude, or only hesitant? ───────────────────────────────────────────────────────────────────────────────


def test_speech_taken_for_over_and_heard_again_is_a_restart_and_nobodys_problem():
    listener = Listener()
    for at in (10.2, 10.9, 11.5):
        listener.says("input_audio_buffer.speech_started", at)
        listener.says("input_audio_buffer.speech_stopped", at + 0.4)
    listener.answered("a", 12.5)
    assert listener.exchange.restarts == 2
    assert listener.exchange.problems == ()


def test_an_answer_that_was_begun_in_a_pause_and_never_heard_is_a_split_but_not_rude():
    listener = Listener()
    listener.says("input_audio_buffer.speech_stopped", 11.0)
    listener.created("early", 11.1)
    listener.says("input_audio_buffer.speech_started", 11.2)
    listener.done("early", 11.2, "cancelled")
    listener.answered("a", 12.5)
    assert listener.exchange.problems == ("split",)
    assert listener.exchange.restarts == 1


def test_two_answers_that_are_both_heard_are_one_too_many():
    listener = Listener()
    listener.answered("a", 12.5)
    listener.answered("b", 14.0)
    assert listener.exchange.problems == ("double_answer", "split")


# ── interruptions ─────────────────────────────────────────────────────────────────────────────────────────


def interrupting(sounds_until=20.0):
    """A listener whose recording begins to be voiced at 10.2, while an answer sounds."""
    earlier = Answer("old", "iold")
    listener = Listener(barge_in=BargeIn(earlier, 10.2, sounds_until))
    listener.playout.play(np.zeros(round(WIRE_RATE_HZ * (sounds_until - 10.0)), np.float32), 10.0)
    return listener, earlier


def test_an_interruption_is_measured_from_its_first_voiced_sample_to_the_order_to_stop():
    listener, _ = interrupting()
    listener.says("input_audio_buffer.speech_started", 10.5)
    barge_in = listener.exchange.barge_in
    assert (barge_in.is_one, barge_in.stop_s) == (True, pytest.approx(0.3))
    listener.says("input_audio_buffer.speech_started", 11.5)
    assert barge_in.stop_s == pytest.approx(0.3)  # the first one counts


def test_what_still_comes_of_the_interrupted_answer_is_dead_audio_and_its_end_is_its_own():
    listener, earlier = interrupting()
    listener.audio("old", 10.3)
    assert listener.exchange.barge_in.sounds_until == pytest.approx(21.0)
    listener.says("input_audio_buffer.speech_started", 10.5)
    listener.playout.stop(10.5)
    earlier.stopped_by_us = True
    listener.audio("old", 10.9)
    listener.done("old", 11.0, "cancelled")
    listener.says("voiceedge.turn", 11.0, response_id="old", total_ms=400.0)
    assert listener.exchange.barge_in.dead_audio_s == pytest.approx(0.7)
    assert listener.playout.unplayed_s(10.9) == 0.0
    assert (earlier.status, earlier.trace.total_ms) == ("cancelled", 400.0)
    listener.answered("a", 12.5)
    assert [answer.response_id for answer in listener.exchange.answers] == ["a"]
    assert listener.exchange.problems == ()


def test_an_answer_that_ends_before_anybody_notices_was_not_stopped():
    listener, _ = interrupting(sounds_until=10.4)
    listener.says("input_audio_buffer.speech_started", 10.5)
    assert listener.exchange.barge_in.is_one
    assert listener.exchange.barge_in.stop_s is None
    assert listener.exchange.barge_in.dead_audio_s == 0.0


def test_an_answer_that_ends_before_the_first_voiced_sample_is_not_interrupted():
    assert not interrupting(sounds_until=10.1)[0].exchange.barge_in.is_one


def test_an_answer_is_interrupted_when_so_much_of_it_was_heard_and_only_while_it_sounds():
    listener = Listener()
    assert listener.exchange.to_interrupt(0.4) == np.inf
    listener.created("a", 12.1)
    listener.audio("a", 12.2)
    assert listener.exchange.to_interrupt(0.4) == pytest.approx(12.6)
    assert listener.exchange.to_interrupt(1.5) == np.inf


def test_what_sounds_is_the_latest_answer_else_the_interrupted_one():
    listener, earlier = interrupting()
    assert listener.exchange.sounding is earlier
    listener.created("a", 12.1)
    assert listener.exchange.sounding.response_id == "a"
    assert Listener().exchange.sounding is None


# ── the network, and the sample that both sides count from ────────────────────────────────────────────────


def test_the_network_is_the_median_of_the_turns_pings():
    listener = Listener()
    assert listener.exchange.network_ms is None
    listener.exchange.trips_s += [0.030, 0.032, 0.200]
    assert listener.exchange.network_ms == pytest.approx(32.0)


def test_how_much_later_the_node_hears_the_end_of_speech_is_told_in_media_time():
    utterance = Utterance(begins=10.0, zero=12.0, ends=13.0, first_sample=WIRE_RATE_HZ * 5)
    exchange = Exchange(RECORDING, utterance, Playout())
    exchange.receive(ServerEvent("response.created", response=ResponseState("a")), 12.1)
    assert exchange.zero_shift_ms is None
    exchange.receive(ServerEvent("voiceedge.turn", response_id="a", facts={"last_voiced_ms": 7040.0}), 13.0)
    assert exchange.zero_shift_ms == pytest.approx(40.0)
