from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.conversation.endpoint import (
    ASK_AFTER_MS,
    HYSTERESIS,
    UNJUDGED_WAIT_MS,
    WAIT_MS,
    Ended,
    Endpoint,
    EndpointSettings,
    Paused,
    Started,
    adaptive_wait_ms,
)

FRAME = 512
"""Samples: 32 ms at 16 kHz, as Silero has it."""
MS = 16
"""Samples."""


def endpoint(**settings):
    return Endpoint(FRAME, 1000 * MS, EndpointSettings(**settings))


def hear(heard, frames, **circumstances):
    """What `frames` decide: V is voiced, anything else is not; numbers are probabilities."""
    probabilities = [{"V": 0.99}.get(f, 0.01) if isinstance(f, str) else f for f in frames]
    return [decision for p in probabilities for decision in heard.push(p, **circumstances)]


def frames_until_ended(heard, limit=200):
    """Silent frames until the turn is over, and the decision."""
    for count in range(1, limit):
        for decision in hear(heard, "."):
            if isinstance(decision, Ended):
                return count, decision
    return None, None


# ── how a turn begins ─────────────────────────────────────────────────────────────────────────────────────


def test_three_frames_of_voice_make_a_turn():
    assert hear(endpoint(), "..........VVV") == [Started(10 * FRAME - 300 * MS)]


def test_two_frames_do_not():
    assert hear(endpoint(), "VV..........") == []


def test_a_turn_is_announced_once():
    assert len([d for d in hear(endpoint(), "VVVVVVVV") if isinstance(d, Started)]) == 1


def test_evidence_may_have_a_gap_of_two_frames():
    assert hear(endpoint(), "VV..V") == [Started(0)]


def test_a_gap_of_three_frames_voids_the_evidence():
    assert hear(endpoint(), "VV...VV") == []
    assert hear(endpoint(prefix_padding_ms=0), "VV...VVV") == [Started(5 * FRAME)]


def test_while_the_agent_is_audible_twice_the_evidence_is_needed():
    assert hear(endpoint(), "VVVVV", agent_audible=True) == []
    assert hear(endpoint(), "VVVVVV", agent_audible=True) == [Started(0)]


def test_prefix_padding_reaches_back_before_the_first_voiced_frame():
    assert hear(endpoint(prefix_padding_ms=0), "...VVV") == [Started(3 * FRAME)]
    assert hear(endpoint(prefix_padding_ms=64), "...VVV") == [Started(FRAME)]


def test_prefix_padding_does_not_reach_before_the_session():
    assert hear(endpoint(prefix_padding_ms=5000), "VVV") == [Started(0)]


def test_a_turn_does_not_reach_back_into_the_speech_of_the_one_before():
    heard = endpoint(silence_ms=64, prefix_padding_ms=300)
    first = hear(heard, "VVVV..")[-1]
    second = hear(heard, "VVV")[-1]
    assert (first.last_voiced, second) == (4 * FRAME, Started(4 * FRAME))


def test_speech_goes_on_a_little_below_the_threshold_that_began_it():
    low = 0.5 - HYSTERESIS + 0.01
    assert hear(endpoint(), [low] * 20) == []
    heard = endpoint()
    hear(heard, "VVV")
    assert hear(heard, [low] * 100) == []
    assert hear(heard, [0.5 - HYSTERESIS - 0.01] * 100) != []


def test_the_threshold_itself_is_voiced():
    assert hear(endpoint(threshold=0.7), [0.7] * 3) == [Started(0)]
    assert hear(endpoint(threshold=0.7), [0.69] * 30) == []


# ── how it ends, when the client states a silence ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(("silence_ms", "frames"), [(0, 1), (32, 1), (33, 2), (500, 16), (512, 16), (513, 17)])
def test_a_stated_silence_is_honoured_to_the_frame(silence_ms, frames):
    heard = endpoint(silence_ms=silence_ms)
    hear(heard, "VVV")
    count, ended = frames_until_ended(heard)
    now = (3 + frames) * FRAME
    assert (count, ended) == (frames, Ended(start=0, last_voiced=3 * FRAME, wait_over=now, end=now))


def test_with_a_stated_silence_the_model_is_neither_asked_nor_listened_to():
    heard = endpoint(silence_ms=1000)
    assert hear(heard, "VVV" + 10 * ".") == [Started(0)]
    assert heard.judge(1, 1.0) == []
    assert heard.judge(0, 1.0) == []


def test_voice_starts_the_silence_anew():
    heard = endpoint(silence_ms=96)
    assert hear(heard, "VVV..V..V..") == [Started(0)]
    assert hear(heard, ".") == [Ended(0, 9 * FRAME, 12 * FRAME, 12 * FRAME)]


# ── how it ends, when the node chooses ────────────────────────────────────────────────────────────────────


def test_the_model_is_asked_once_a_pause():
    heard = endpoint()
    decisions = hear(heard, "VVV" + 12 * "." + "V" + 12 * ".")
    asked = [d for d in decisions if isinstance(d, Paused)]
    first = (3 + -(-ASK_AFTER_MS // 32)) * FRAME
    assert asked == [Paused(1, first), Paused(2, first + 13 * FRAME)]


def test_a_plosive_is_no_pause():
    assert hear(endpoint(), "VVV...VVV...VVV") == [Started(0)]


def test_a_finished_sentence_ends_after_the_short_wait():
    heard = endpoint()
    hear(heard, "VVV....")
    assert heard.judge(1, 1.0) == []
    assert frames_until_ended(heard)[0] == 7 - 4  # 200 ms are seven frames


def test_a_hesitation_is_waited_out():
    heard = endpoint()
    hear(heard, "VVV....")
    heard.judge(1, 0.0)
    assert frames_until_ended(heard)[0] == 35 - 4  # 1,100 ms


def test_without_an_answer_of_the_model_silence_alone_ends_the_turn():
    heard = endpoint()
    hear(heard, "VVV")
    assert frames_until_ended(heard)[0] == -(-UNJUDGED_WAIT_MS // 32)


def test_a_late_answer_ends_the_turn_at_once_and_the_rest_of_the_wait_was_the_models():
    heard = endpoint()
    hear(heard, "VVV" + 20 * ".")
    now = 23 * FRAME
    assert heard.judge(1, 1.0) == [Ended(start=0, last_voiced=3 * FRAME, wait_over=3 * FRAME + 200 * MS, end=now)]
    assert not heard.is_speaking


def test_an_answer_to_an_earlier_pause_is_ignored():
    heard = endpoint()
    hear(heard, "VVV" + 20 * "." + "V" + 20 * ".")
    assert heard.judge(1, 1.0) == []
    assert len(heard.judge(2, 1.0)) == 1


def test_an_answer_that_comes_when_the_user_speaks_again_is_ignored():
    heard = endpoint()
    hear(heard, "VVV" + 20 * "." + "V")
    assert heard.judge(1, 1.0) == []
    assert hear(heard, 10 * ".") == [Paused(2, 28 * FRAME)]


def test_an_answer_to_a_pause_of_the_turn_before_is_ignored():
    heard = endpoint()
    hear(heard, "VVV" + 60 * ".")
    hear(heard, "VVV" + 3 * ".")
    assert heard.judge(1, 1.0) == []
    assert heard.is_speaking


def test_patience_lengthens_the_wait():
    counts = []
    for patience in (0.7, 1.0, 1.5):
        heard = endpoint(patience=patience)
        hear(heard, "VVV....")
        heard.judge(1, 0.5)
        counts.append(frames_until_ended(heard)[0])
    assert counts == [14 - 4, 19 - 4, 29 - 4]  # 420, 600 and 900 ms


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.5, 2))
def test_who_seems_more_finished_never_waits_longer(p, q, patience):
    assert adaptive_wait_ms(max(p, q), patience) <= adaptive_wait_ms(min(p, q), patience)


@pytest.mark.parametrize(("probability", "wait_ms"), [*WAIT_MS, (1.5, 200.0)])
def test_the_wait_goes_through_the_points_of_its_table(probability, wait_ms):
    assert adaptive_wait_ms(probability) == pytest.approx(wait_ms)


def test_the_wait_has_no_steps():
    waits = [adaptive_wait_ms(step / 1000) for step in range(1001)]
    assert max(before - after for before, after in pairwise(waits)) < 2


# ── clients that interfere ────────────────────────────────────────────────────────────────────────────────


def test_a_turn_whose_audio_stops_is_ended_where_it_stands():
    heard = endpoint()
    hear(heard, "VVV.")
    assert heard.expire() == [Ended(0, 3 * FRAME, 4 * FRAME, 4 * FRAME)]
    assert heard.expire() == []


def test_nothing_expires_where_nobody_speaks():
    heard = endpoint()
    hear(heard, "VV.")
    assert heard.expire() == []


def test_a_turn_that_is_forgotten_needs_new_evidence():
    heard = endpoint(prefix_padding_ms=0)
    hear(heard, "VVV")
    heard.reset()
    assert not heard.is_speaking
    assert hear(heard, "VV") == []
    assert hear(heard, "V") == [Started(3 * FRAME)]


def test_audio_that_was_not_looked_at_is_counted():
    heard = endpoint(prefix_padding_ms=0)
    heard.skip_to(10_000)
    assert hear(heard, "VVV") == [Started(10_000)]
    assert heard.now == 10_000 + 3 * FRAME


probabilities = st.lists(st.sampled_from([0.0, 0.34, 0.36, 0.49, 0.5, 0.99]), max_size=150)
chosen_settings = st.builds(
    EndpointSettings,
    silence_ms=st.none() | st.integers(0, 1000),
    prefix_padding_ms=st.integers(0, 1000),
    patience=st.sampled_from([0.7, 1.0, 1.5]),
)


@given(probabilities, chosen_settings, st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1)), max_size=150))
def test_turns_alternate_and_media_time_is_in_order(frames, chosen, answers):
    heard = Endpoint(FRAME, 1000 * MS, chosen)
    answered = iter(answers)
    speaking, start, over, pauses = False, 0, 0, []
    for probability in frames:
        decisions = heard.push(probability)
        if answer := next(answered, None):
            decisions += heard.judge(*answer)
        for decision in decisions:
            match decision:
                case Started():
                    assert not speaking
                    assert over <= decision.start <= heard.now
                    speaking, start = True, decision.start
                case Paused():
                    pauses.append(decision.pause)
                    assert speaking
                    assert decision.end == heard.now
                case Ended():
                    assert speaking
                    assert decision.start == start
                    assert start < decision.last_voiced <= decision.wait_over <= decision.end == heard.now
                    speaking, over = False, decision.last_voiced
        assert heard.is_speaking == speaking
    assert pauses == list(range(1, len(pauses) + 1))
    assert heard.now == len(frames) * FRAME
