from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.conversation.endpoint import (
    ASK_AFTER_MS,
    BACKCHANNEL_MS,
    CLOSURE_MS,
    HYSTERESIS,
    TOO_EARLY_MS,
    UNJUDGED_WAIT_MS,
    WORDLESS_WAIT_MS,
    Acknowledged,
    Ended,
    Endpoint,
    EndpointSettings,
    Paused,
    Resumed,
    Started,
    Undecided,
)
from voiceedge.conversation.waiting import LONGEST_MS, SHORTEST_MS, WAIT_MS, OwnPauses, wait_ms

FRAME = 512
"""Samples: 32 ms at 16 kHz, as Silero has it."""
MS = 16
"""Samples."""


def endpoint(**settings):
    """Without drafts, unless a test asks for them: then words are awaited too."""
    return Endpoint(FRAME, 1000 * MS, EndpointSettings(**{"draft_after_ms": None} | settings))


def frames(ms):
    """Frames until so much time has passed."""
    return ceil(ms * MS / FRAME)


def of(kind, decisions):
    return [decision for decision in decisions if isinstance(decision, kind)]


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


def test_it_is_known_where_the_voice_of_a_turn_began():
    heard = endpoint()
    hear(heard, ".V...VV..V")
    assert heard.first_voiced == 5 * FRAME


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

WHOLE = "What time is it?"
"""A sentence; with `LIKELY` the language model agrees."""
LIKELY = 0.7


def test_the_model_is_asked_once_a_pause():
    heard = endpoint()
    decisions = hear(heard, "VVV" + 12 * "." + "VV" + 12 * ".")
    first = (3 + frames(ASK_AFTER_MS)) * FRAME
    assert of(Undecided, decisions) == [Undecided(1, 0, first), Undecided(2, 0, first + 14 * FRAME)]


def test_a_plosive_is_no_pause():
    assert hear(endpoint(), "VVV...VVV...VVV") == [Started(0)]


def test_a_finished_sentence_ends_after_the_short_wait():
    heard = endpoint()
    hear(heard, "VVV....")
    assert heard.judge(1, 1.0) == heard.read(1, WHOLE, LIKELY) == []
    assert frames_until_ended(heard)[0] == frames(SHORTEST_MS) - 4


def test_the_model_and_the_words_may_answer_in_any_order():
    heard = endpoint()
    hear(heard, "VVV....")
    assert heard.read(1, WHOLE, LIKELY) == heard.judge(1, 1.0) == []
    assert frames_until_ended(heard)[0] == frames(SHORTEST_MS) - 4


def test_a_hesitation_is_waited_out():
    heard = endpoint()
    hear(heard, "VVV....")
    heard.judge(1, 0.0)
    assert frames_until_ended(heard)[0] == frames(wait_ms(0.0, None)) - 4


def test_words_that_end_nothing_outvote_a_model_that_is_sure():
    heard = endpoint()
    hear(heard, "VVV....")
    heard.judge(1, 1.0)
    heard.read(1, "Could you book a table for the")
    assert frames_until_ended(heard)[0] == frames(WAIT_MS[0][1]) - 4


def test_the_model_is_not_asked_where_the_words_have_decided():
    heard = endpoint(draft_after_ms=64)
    assert of(Paused, hear(heard, "VVV.."))
    assert heard.read(1, "Could you book a table for the") == []
    assert hear(heard, "........") == []


def test_nor_where_it_has_answered_already():
    heard = endpoint(draft_after_ms=64)
    hear(heard, "VVV..")
    assert heard.judge(1, 0.0) == []
    assert hear(heard, "........") == []


def test_without_an_answer_of_anybody_silence_alone_ends_the_turn():
    heard = endpoint()
    hear(heard, "VVV")
    assert frames_until_ended(heard)[0] == frames(UNJUDGED_WAIT_MS)


def test_a_late_answer_ends_the_turn_at_once_and_the_rest_of_the_wait_was_the_models():
    heard = endpoint()
    hear(heard, "VVV" + 20 * ".")
    now = 23 * FRAME
    assert heard.judge(1, 1.0) == [Ended(start=0, last_voiced=3 * FRAME, wait_over=3 * FRAME + 200 * MS, end=now)]
    assert not heard.is_speaking


def test_late_words_end_it_at_once_too():
    heard = endpoint(draft_after_ms=64)
    hear(heard, "VVV" + 20 * ".")
    assert of(Ended, heard.judge(1, 1.0) + heard.read(1, WHOLE, LIKELY)) == [
        Ended(start=0, last_voiced=3 * FRAME, wait_over=3 * FRAME + WORDLESS_WAIT_MS * MS, end=23 * FRAME)
    ]


def test_while_the_words_are_awaited_nothing_ends_early():
    heard = endpoint(draft_after_ms=64)
    hear(heard, "VVV....")
    heard.judge(1, 1.0)
    assert frames_until_ended(heard)[0] == frames(WORDLESS_WAIT_MS) - 4


def test_an_answer_to_an_earlier_pause_is_ignored():
    heard = endpoint()
    hear(heard, "VVV" + 20 * "." + "VV" + 20 * ".")
    assert heard.judge(1, 1.0) == heard.read(1, WHOLE, LIKELY) == []
    assert len(heard.judge(2, 1.0)) == 1


def test_an_answer_that_comes_when_the_user_speaks_again_is_ignored():
    heard = endpoint()
    hear(heard, "VVV" + 20 * "." + "VV")
    assert heard.judge(1, 1.0) == heard.read(1, WHOLE, LIKELY) == []
    assert hear(heard, 10 * ".") == [Undecided(2, 0, 29 * FRAME)]


def test_an_answer_to_a_pause_of_the_turn_before_is_ignored():
    heard = endpoint()
    hear(heard, "VVV" + 60 * ".")
    hear(heard, "VVV" + 3 * ".")
    assert heard.judge(1, 1.0) == []
    assert heard.is_speaking


def test_an_answer_to_what_was_not_asked_is_ignored():
    heard = endpoint()
    hear(heard, "VVV.")
    assert heard.judge(0, 1.0) == heard.judge(1, 1.0) == heard.read(0, WHOLE) == []


def test_patience_lengthens_the_wait():
    counts = []
    for patience in (0.7, 1.0, 1.5):
        heard = endpoint(patience=patience)
        hear(heard, "VVV....")
        heard.judge(1, 0.0)
        counts.append(frames_until_ended(heard)[0])
    assert counts == [frames(wait_ms(0.0, None, patience)) - 4 for patience in (0.7, 1.0, 1.5)]


def test_who_pauses_long_is_given_more_time():
    heard = endpoint()
    for _ in range(OwnPauses.NEEDED):
        hear(heard, "VVV" + frames(800) * ".")
    hear(heard, "VVV....")
    heard.judge(heard._pauses, 0.0)
    count, _ = frames_until_ended(heard)
    assert frames(wait_ms(0.0, None)) < count + 4 <= frames(LONGEST_MS)


def test_who_goes_on_right_after_the_end_had_only_paused():
    heard = endpoint(silence_ms=320)
    for _ in range(OwnPauses.NEEDED + 1):
        hear(heard, "VVV" + frames(TOO_EARLY_MS - 100) * ".")
    assert heard._own.stretch == OwnPauses.LONGEST_STRETCH


def test_who_comes_back_later_had_finished():
    heard = endpoint(silence_ms=320)
    for _ in range(9):
        hear(heard, "VVV" + frames(TOO_EARLY_MS + 100) * ".")
    assert heard._own.stretch == 1.0


# ── drafts ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_draft_may_begin_soon_after_the_voice_stops():
    heard = endpoint(draft_after_ms=64)
    assert hear(heard, "VVV........") == [Started(0), Paused(1, 0, 5 * FRAME), Undecided(1, 0, 7 * FRAME)]


def test_a_turn_without_drafts_says_nothing_of_pauses():
    assert not of(Paused, hear(endpoint(), "VVV" + 40 * "."))


def test_with_a_stated_silence_there_are_drafts_and_nobody_is_asked():
    heard = endpoint(draft_after_ms=64, silence_ms=320)
    now = 13 * FRAME
    assert hear(heard, "VVV........") == [Started(0), Paused(1, 0, 5 * FRAME)]
    assert heard.judge(1, 1.0) == heard.read(1, "for the") == []
    assert hear(heard, "..") == [Ended(0, 3 * FRAME, now, now)]


def test_a_silence_shorter_than_the_drafts_leaves_no_time_for_one():
    assert of(Paused, hear(endpoint(draft_after_ms=64, silence_ms=64), "VVV..")) == []


def test_while_the_cpu_is_needed_drafts_wait_until_the_end_of_turn_model_is_asked():
    heard = endpoint(draft_after_ms=64)
    heard.is_thrifty = True
    silent = frames(ASK_AFTER_MS)
    now = (3 + silent) * FRAME
    assert hear(heard, "VVV" + (silent - 1) * ".") == [Started(0)]
    assert hear(heard, ".") == [Paused(1, 0, now), Undecided(1, 0, now)]


def test_nor_does_that_shorten_a_longer_silence_that_drafts_wait_for():
    heard = endpoint(draft_after_ms=224)
    heard.is_thrifty = True
    assert of(Paused, hear(heard, "VVV" + 8 * ".")) == [Paused(1, 0, 10 * FRAME)]


def test_a_draft_is_void_when_the_user_goes_on():
    heard = endpoint(draft_after_ms=64)
    assert hear(heard, "VVV...V")[-1] == Resumed(1)
    assert of(Paused, hear(heard, "...")) == [Paused(2, 0, 9 * FRAME)]


def test_one_noisy_frame_voids_no_draft_and_does_not_count_as_voice():
    heard = endpoint(draft_after_ms=64)
    silent = frames(CLOSURE_MS)
    assert not of(Resumed, hear(heard, "VVV" + silent * "." + "V" + 4 * "."))
    heard.judge(1, 1.0)
    (ended,) = heard.read(1, WHOLE, LIKELY)
    assert ended.last_voiced == 3 * FRAME


def test_soon_after_the_voice_one_frame_belongs_to_the_word():
    heard = endpoint(draft_after_ms=64)
    assert hear(heard, "VVV....V")[-1] == Resumed(1)


def test_no_turn_ends_while_a_sound_may_be_the_next_word():
    heard = endpoint()
    hear(heard, "VVV......")
    heard.judge(1, 1.0)
    assert hear(heard, "V") == []  # 200 ms have passed here
    assert hear(heard, "V") == [Resumed(1)]


def test_a_sound_that_was_none_ends_the_turn_two_frames_later():
    heard = endpoint()
    hear(heard, "VVV......")
    heard.judge(1, 1.0)
    now = 12 * FRAME
    assert hear(heard, "V..") == [Ended(0, 3 * FRAME, now, now)]


def test_an_answer_that_comes_meanwhile_waits_for_that():
    heard = endpoint()
    hear(heard, "VVV......V")
    assert heard.judge(1, 1.0) == []
    assert of(Ended, hear(heard, ".."))


def test_a_weak_sound_after_a_silence_is_no_voice():
    heard = endpoint(draft_after_ms=64)
    hear(heard, "VVV" + frames(CLOSURE_MS) * ".")
    assert hear(heard, [0.5 - HYSTERESIS + 0.01] * 4) == []


# ── backchannels ──────────────────────────────────────────────────────────────────────────────────────────

SPOKEN_OVER = {"agent_audible": True}
SHORT = "VVVVVVVV"
"""256 ms, more than the evidence that a turn needs."""


def listener(**settings):
    return endpoint(**{"draft_after_ms": 64, "backchannels": True} | settings)


def test_by_default_a_backchannel_is_a_turn():
    assert hear(endpoint(), SHORT, **SPOKEN_OVER) == [Started(0)]


def test_a_backchannel_makes_no_turn():
    heard = listener()
    assert hear(heard, SHORT + "..", **SPOKEN_OVER) == [Paused(1, 0, 10 * FRAME)]
    assert not heard.is_speaking
    assert heard.read(1, "Uh-huh.") == [Acknowledged(0, 10 * FRAME)]
    assert hear(heard, 60 * ".", **SPOKEN_OVER) == []


def test_nor_does_a_sound_without_words():
    heard = listener()
    hear(heard, SHORT + "..", **SPOKEN_OVER)
    assert heard.read(1, "") == [Acknowledged(0, 10 * FRAME)]


def test_other_words_begin_a_turn_at_once():
    heard = listener()
    hear(heard, SHORT + "..", **SPOKEN_OVER)
    assert heard.read(1, "Stop!") == [Started(0)]
    assert of(Undecided, hear(heard, "....", **SPOKEN_OVER))


def test_who_speaks_longer_than_a_backchannel_has_begun_a_turn():
    count = BACKCHANNEL_MS * MS // FRAME
    heard = listener()
    assert hear(heard, count * "V", **SPOKEN_OVER) == []
    assert hear(heard, "V", **SPOKEN_OVER) == [Started(0)]


def test_to_an_agent_who_has_stopped_it_is_an_answer():
    heard = listener()
    hear(heard, SHORT, **SPOKEN_OVER)
    assert hear(heard, ".") == [Started(0)]


def test_a_sound_whose_words_never_come_is_a_turn():
    heard = listener()
    decisions = hear(heard, SHORT + 60 * ".", **SPOKEN_OVER)
    assert [type(decision) for decision in decisions] == [Paused, Started, Ended]


def test_words_are_awaited_even_without_drafts_and_with_a_stated_silence():
    heard = listener(draft_after_ms=None, silence_ms=500)
    assert of(Paused, hear(heard, SHORT + "....", **SPOKEN_OVER))
    assert of(Acknowledged, heard.read(1, "okay"))


def test_a_sound_that_stops_coming_is_ended_as_a_turn():
    heard = listener()
    hear(heard, SHORT, **SPOKEN_OVER)
    assert heard.is_hearing
    assert [type(decision) for decision in heard.expire()] == [Started, Ended]


def test_what_was_acknowledged_does_not_belong_to_the_next_turn():
    heard = listener()
    hear(heard, SHORT + "..", **SPOKEN_OVER)
    heard.read(1, "okay")
    assert hear(heard, "VVV") == [Started(8 * FRAME)]


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
    draft_after_ms=st.none() | st.integers(0, 300),
    backchannels=st.booleans(),
)
told = st.one_of(
    st.none(),
    st.tuples(st.just("judge"), st.integers(0, 1), st.floats(0, 1)),
    st.tuples(st.just("read"), st.integers(0, 1), st.sampled_from(["", "okay", WHOLE, "for the", "two"])),
)


@given(probabilities, chosen_settings, st.lists(told, max_size=150), st.lists(st.booleans(), max_size=150))
def test_turns_alternate_pauses_resume_and_media_time_is_in_order(voiced, chosen, answers, audible):
    heard = Endpoint(FRAME, 1000 * MS, chosen)
    answered, agent = iter(answers), iter(audible)
    speaking, start, over, last_voiced, at, pauses, open_pause, asked = False, 0, 0, 0, 0, [], None, set()
    for probability in voiced:
        decisions = heard.push(probability, agent_audible=next(agent, False))
        if answer := next(answered, None):
            verb, back, said = answer
            decisions += getattr(heard, verb)(max(len(pauses) - back, 0), said)
        for decision in decisions:
            match decision:
                case Started():
                    assert not speaking
                    assert over <= decision.start <= heard.now
                    speaking, start = True, decision.start
                case Paused() | Undecided():
                    if decision.pause != open_pause:
                        assert decision.pause == len(pauses) + 1
                        pauses.append(decision.pause)
                    assert (type(decision), decision.pause) not in asked
                    asked.add((type(decision), decision.pause))
                    open_pause = decision.pause
                    assert decision.start < decision.end == heard.now
                case Resumed():
                    assert decision.pause == open_pause
                    open_pause = None
                case Ended():
                    assert speaking
                    assert decision.start == start
                    assert start < decision.last_voiced <= decision.wait_over <= decision.end == heard.now
                    speaking, over, open_pause = False, decision.last_voiced, None
                case Acknowledged():
                    assert chosen.backchannels
                    assert not speaking
                    assert decision.start < decision.end == heard.now
                    open_pause = None
            at, last_voiced = heard.now, over
        assert heard.is_speaking == speaking
    assert at <= heard.now == len(voiced) * FRAME
    assert last_voiced <= heard.now


@given(st.none() | st.floats(0, 1), st.none() | st.sampled_from(["", "okay", WHOLE, "for the", "two"]), chosen_settings)
def test_no_turn_waits_longer_than_its_bound(probability, text, chosen):
    heard = Endpoint(FRAME, 1000 * MS, chosen)
    hear(heard, "VVV....")
    if probability is not None:
        heard.judge(1, probability)
    if text is not None:
        heard.read(1, text)
    if not heard.is_speaking:
        return  # a stated silence of less than this
    bound = chosen.patience * LONGEST_MS if chosen.silence_ms is None else chosen.silence_ms
    _, ended = frames_until_ended(heard)
    assert ended.end - ended.last_voiced <= max(bound, 128) * MS + FRAME


@pytest.mark.parametrize(
    ("text", "wanted"), [(WHOLE, True), ("two", True), ("for the", False), ("Yes.", False), (" ", False)]
)
def test_the_language_model_is_wanted_where_words_alone_do_not_decide(text, wanted):
    heard = endpoint(draft_after_ms=64)
    hear(heard, "VVV..")
    assert heard.wants_language(1, text) == wanted
    assert not heard.wants_language(2, text)


def test_nobody_wants_it_where_the_client_states_a_silence():
    heard = endpoint(draft_after_ms=64, silence_ms=500)
    hear(heard, "VVV..")
    assert not heard.wants_language(1, WHOLE)


read_texts = st.sampled_from(["", "okay", "Yes.", WHOLE, "for the", "two", "Play some"])
heard_and_read = st.one_of(
    st.none(),
    st.tuples(st.just("judge"), st.floats(0, 1), st.none()),
    st.tuples(st.just("read"), read_texts, st.floats(0, 1)),
)


@given(probabilities, chosen_settings, st.lists(heard_and_read, max_size=150), st.lists(st.booleans(), max_size=150))
def test_what_the_language_model_says_changes_nothing_where_it_is_not_wanted(voiced, chosen, answers, audible):
    told, spared = Endpoint(FRAME, 1000 * MS, chosen), Endpoint(FRAME, 1000 * MS, chosen)
    answered, agent, pause = iter(answers), iter(audible), 0
    for probability in voiced:
        is_audible = next(agent, False)
        decisions = told.push(probability, agent_audible=is_audible)
        assert spared.push(probability, agent_audible=is_audible) == decisions
        pause = max([pause, *(one.pause for one in decisions if isinstance(one, Paused | Undecided))])
        verb, said, whole = next(answered, None) or ("", "", None)
        if verb == "judge":
            assert told.judge(pause, said) == spared.judge(pause, said)
        elif verb == "read":
            asked = whole if spared.wants_language(pause, said) else None
            assert told.read(pause, said, whole) == spared.read(pause, said, asked)


@given(probabilities, st.integers(0, 150))
def test_whatever_is_open_can_be_ended(voiced, count):
    heard = Endpoint(FRAME, 1000 * MS, EndpointSettings(backchannels=True))
    hear(heard, voiced[:count], agent_audible=True)
    was_open = heard.is_hearing
    assert len(of(Ended, heard.expire())) == was_open
    assert not heard.is_hearing
    assert heard.expire() == []
