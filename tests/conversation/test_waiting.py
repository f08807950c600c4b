from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.conversation.ending import Ending
from voiceedge.conversation.waiting import (
    LONGEST_MS,
    SHORTEST_MS,
    WAIT_MS,
    OwnPauses,
    Words,
    wait_ms,
)

probabilities = st.none() | st.floats(0, 1)
words = st.none() | st.builds(Words, st.sampled_from(Ending), probabilities, probabilities)
WHOLE = Words(Ending.WHOLE, 0.6)
LONGEST_UNSTRETCHED_MS = WAIT_MS[0][1]


def test_when_all_agree_on_an_end_the_wait_is_short():
    assert wait_ms(0.99, WHOLE) == SHORTEST_MS


def test_when_they_disagree_it_is_long():
    assert wait_ms(0.02, WHOLE) > 1000
    assert wait_ms(0.99, Words(Ending.WHOLE, 0.02)) > 1000


def test_when_all_agree_that_more_is_to_come_it_is_longest():
    assert wait_ms(0.01, Words(Ending.UNMARKED, 0.01)) == LONGEST_UNSTRETCHED_MS


@pytest.mark.parametrize("whole", [None, 0.9])
def test_a_word_that_ends_nothing_decides_alone(whole):
    open_ended = Words(Ending.OPEN, whole)
    assert open_ended.decide
    assert wait_ms(0.99, open_ended) == wait_ms(None, open_ended) == LONGEST_UNSTRETCHED_MS


@pytest.mark.parametrize("ending", [ending for ending in Ending if ending is not Ending.OPEN])
def test_other_words_do_not(ending):
    assert not Words(ending).decide


def test_a_short_answer_needs_no_sentence_around_it():
    assert wait_ms(0.9, Words(Ending.BRIEF, 0.001)) == SHORTEST_MS


@given(probabilities, st.sampled_from([Ending.OPEN, Ending.BRIEF]))
def test_what_decides_by_itself_does_not_depend_on_the_language_model(whole, ending):
    assert not Words(ending, whole).depend_on_language
    assert Words(ending, whole).odds == Words(ending).odds


@pytest.mark.parametrize("ending", [ending for ending in Ending if Words(ending).depend_on_language])
def test_whatever_depends_on_it_is_changed_by_it(ending):
    assert Words(ending, 0.0001).odds < Words(ending, 0.99).odds


def test_a_number_is_not_believed_to_be_complete():
    assert wait_ms(0.95, Words(Ending.DICTATED, 0.9)) > 900
    assert wait_ms(0.95, Words(Ending.DICTATED, 0.9, marked=0.99)) > 900


def test_without_a_language_model_the_syntax_stands_in():
    waits = [wait_ms(0.98, Words(ending)) for ending in (Ending.BRIEF, Ending.WHOLE, Ending.UNCLEAR, Ending.UNMARKED)]
    assert waits == sorted(waits)
    assert waits[0] == waits[1] == SHORTEST_MS < waits[2] < waits[3]


def test_words_alone_end_a_turn_later_than_with_the_model():
    assert wait_ms(None, WHOLE) > wait_ms(0.98, WHOLE)


@given(st.floats(0, 1), st.floats(0, 1), words)
def test_who_sounds_more_finished_never_waits_longer(p, q, said):
    assert wait_ms(max(p, q), said) <= wait_ms(min(p, q), said)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.sampled_from(Ending))
def test_who_reads_more_finished_never_waits_longer(p, q, heard, ending):
    assert wait_ms(heard, Words(ending, max(p, q))) <= wait_ms(heard, Words(ending, min(p, q)))


@given(st.floats(0, 1), st.floats(0, 1), probabilities, st.floats(0, 1), st.sampled_from(Ending))
def test_where_a_final_mark_is_likelier_nobody_waits_longer(p, q, whole, heard, ending):
    high, low = Words(ending, whole, max(p, q)), Words(ending, whole, min(p, q))
    assert wait_ms(heard, high) <= wait_ms(heard, low)


def test_a_final_mark_that_was_a_close_call_is_a_reason_to_wait():
    assert wait_ms(0.9, Words(Ending.WHOLE, 0.4, marked=0.95)) < 300
    assert wait_ms(0.9, Words(Ending.WHOLE, 0.4, marked=0.05)) > 1000


def test_a_missing_mark_counts_as_much_as_speech_to_text_says():
    close, clear = Words(Ending.UNMARKED, 0.5, marked=0.45), Words(Ending.UNMARKED, 0.5, marked=0.001)
    assert clear.odds < Words(Ending.UNMARKED, 0.5).odds < close.odds


@given(probabilities, words, st.floats(0.5, 2), st.floats(1, 1.5))
def test_no_wait_exceeds_its_bounds(p, said, patience, stretch):
    wait = wait_ms(p, said, patience, stretch)
    assert patience * SHORTEST_MS <= wait <= patience * LONGEST_MS


@given(probabilities, words)
def test_patience_is_a_factor(p, said):
    assert wait_ms(p, said, 1.5) == pytest.approx(1.5 * wait_ms(p, said))


def test_the_table_falls():
    assert all(low <= high and long >= short for (low, long), (high, short) in pairwise(WAIT_MS))


# ── the speaker's own pauses ──────────────────────────────────────────────────────────────────────────────


def paused(*pauses_ms):
    own = OwnPauses()
    for pause_ms in pauses_ms:
        own.note(pause_ms)
    return own.stretch


def test_a_speaker_who_is_not_known_is_a_usual_one():
    assert paused() == paused(1500, 1500) == 1.0


def test_who_pauses_long_is_waited_for_longer():
    assert paused(300, 900, 700, 800, 750) == 800 / OwnPauses.USUAL_MS


def test_one_long_pause_among_short_ones_is_an_exception():
    assert paused(300, 300, 300, 400, 5000) == 1.0


def test_the_stretch_is_bounded():
    assert paused(*[9000] * 9) == OwnPauses.LONGEST_STRETCH


def test_gaps_between_syllables_are_no_pauses():
    assert paused(1500, 1500, 100, 100) == 1.0


def test_what_was_long_ago_is_forgotten():
    assert paused(*[2000] * 20, *[300] * OwnPauses.KEPT) == 1.0


def test_the_shortest_wait_is_not_stretched():
    assert wait_ms(0.99, WHOLE, stretch=1.5) == SHORTEST_MS
    assert wait_ms(0.01, WHOLE, stretch=1.2) > wait_ms(0.01, WHOLE)
