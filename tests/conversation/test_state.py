from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.conversation.events import Action, Event
from voiceedge.conversation.state import ANSWERING, TRANSITIONS, USER_SPEAKING, Conversation, IllegalEvent, State, table

ILLEGAL = sorted(set(product(State, Event)) - set(TRANSITIONS))


def talk(*events):
    """A conversation in which these events have happened, and the actions of the last one."""
    conversation = Conversation()
    actions = ()
    for event in events:
        actions = conversation.receive(event)
    return conversation, actions


def test_a_spoken_turn_is_heard_thought_about_spoken_and_over():
    conversation = Conversation()
    walk = [
        (Event.SPEECH_STARTED, State.HEARING, ()),
        (Event.TURN_OVER, State.THINKING, (Action.START_TURN,)),
        (Event.AUDIO_STARTED, State.SPEAKING, ()),
        (Event.TURN_ENDED, State.LISTENING, ()),
    ]
    for event, state, actions in walk:
        assert conversation.receive(event) == actions
        assert conversation.state is state


def test_barge_in_interrupts_the_answer_and_hears_the_user():
    for before in ([], [Event.AUDIO_STARTED]):
        conversation, actions = talk(Event.SPEECH_STARTED, Event.TURN_OVER, *before, Event.SPEECH_STARTED)
        assert actions == (Action.INTERRUPT_TURN,)
        assert conversation.state is State.HEARING


def test_a_client_that_cancels_is_told_apart_from_a_user_who_interrupts():
    conversation, actions = talk(Event.RESPONSE_REQUESTED, Event.AUDIO_STARTED, Event.RESPONSE_CANCELLED)
    assert actions == (Action.CANCEL_TURN,)
    assert conversation.state is State.LISTENING


def test_a_turn_spoken_over_an_answer_waits_for_its_end_and_is_then_answered():
    conversation, actions = talk(Event.RESPONSE_REQUESTED, Event.SPOKE_OVER, Event.TURN_OVER)
    assert (conversation.state, actions) == (State.QUEUED, ())
    assert conversation.receive(Event.TURN_ENDED) == (Action.START_TURN,)
    assert conversation.state is State.THINKING


def test_cancelling_an_answer_that_a_turn_waits_for_starts_the_next_one():
    conversation, actions = talk(Event.RESPONSE_REQUESTED, Event.TURN_OVER, Event.RESPONSE_CANCELLED)
    assert actions == (Action.CANCEL_TURN, Action.START_TURN)
    assert conversation.state is State.THINKING


def test_a_response_that_is_asked_for_takes_the_place_of_one_that_is_not_announced_yet():
    conversation, actions = talk(Event.SPEECH_STARTED, Event.TURN_OVER, Event.RESPONSE_REQUESTED)
    assert actions == (Action.CANCEL_TURN, Action.START_TURN)
    assert conversation.state is State.THINKING


def test_a_turn_kept_for_the_client_is_not_answered():
    conversation, actions = talk(Event.SPEECH_STARTED, Event.TURN_KEPT)
    assert (conversation.state, actions) == (State.LISTENING, ())


def test_an_answer_goes_on_when_what_was_said_over_it_is_dropped():
    conversation, actions = talk(Event.RESPONSE_REQUESTED, Event.SPOKE_OVER, Event.SPEECH_DROPPED)
    assert (conversation.is_answering, conversation.user_is_speaking, actions) == (True, False, ())


@pytest.mark.parametrize(("state", "event"), ILLEGAL)
def test_an_event_that_the_table_does_not_know_raises_and_changes_nothing(state, event):
    conversation = Conversation()
    conversation.state = state
    with pytest.raises(IllegalEvent, match=f"{event} cannot happen while {state}") as raised:
        conversation.receive(event)
    assert conversation.state is state
    assert (raised.value.state, raised.value.event) == (state, event)


@given(st.data())
def test_no_sequence_of_events_leaves_two_answers_running_or_stops_one_that_does_not_run(data):
    conversation = Conversation()
    running = 0
    for _ in range(data.draw(st.integers(1, 40), label="events")):
        legal = [event for state, event in TRANSITIONS if state is conversation.state]
        event = data.draw(st.sampled_from(legal))
        if event is Event.TURN_ENDED:  # the answer has ended by itself
            running -= 1
        for action in conversation.receive(event):
            running += 1 if action is Action.START_TURN else -1
            assert running in {0, 1}, f"{action} after {event}"
        assert running == conversation.is_answering


def test_every_state_can_be_reached_and_left():
    reached = {after for after, _ in TRANSITIONS.values()}
    left = {state for (state, _), (after, _) in TRANSITIONS.items() if after is not state}
    assert reached == left == set(State)


def test_whatever_happens_can_happen_somewhere():
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_the_client_may_cancel_wherever_an_answer_is_made_and_only_there():
    assert {state for state, event in TRANSITIONS if event is Event.RESPONSE_CANCELLED} == ANSWERING
    assert {state for state, event in TRANSITIONS if event is Event.TURN_ENDED} == ANSWERING


def test_speech_begins_only_where_the_user_is_silent():
    silent = set(State) - USER_SPEAKING
    for event in (Event.SPEECH_STARTED, Event.SPOKE_OVER):
        assert {state for state, known in TRANSITIONS if known is event} == silent


def test_the_drawn_table_has_a_row_for_every_transition():
    rows = table().splitlines()[2:]
    assert len(rows) == len(TRANSITIONS)
    assert "| queued | response_cancelled | thinking | cancel_turn, start_turn |" in rows
    assert "| hearing | turn_kept | listening | — |" in rows
