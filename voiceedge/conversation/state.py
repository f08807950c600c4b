"""The state of a conversation: one enum, one table, one file.

Rule 1: whatever changes the state stands in this file. An event that the table does not know in a state raises
and changes nothing. Transitions never await: whoever calls `receive` performs the returned actions afterwards.
"""

from __future__ import annotations

from enum import StrEnum, auto

from voiceedge.conversation.events import Action, Event


class State(StrEnum):
    """Who has the floor."""

    LISTENING = auto()
    """Nobody speaks."""
    HEARING = auto()
    """The user speaks."""
    THINKING = auto()
    """An answer is being made; nothing of it is audible yet."""
    SPEAKING = auto()
    """The answer is being spoken."""
    OVERLAP = auto()
    """The user speaks while an answer goes on that must not be interrupted."""
    QUEUED = auto()
    """A finished turn of the user waits for such an answer to end."""


class IllegalEvent(Exception):
    """An event that has no place in the current state. Nothing was changed."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"{event} cannot happen while {state}")
        self.state = state
        self.event = event


_S, _E, _A = State, Event, Action

TRANSITIONS: dict[tuple[State, Event], tuple[State, tuple[Action, ...]]] = {
    (_S.LISTENING, _E.SPEECH_STARTED): (_S.HEARING, ()),
    (_S.LISTENING, _E.SPOKE_OVER): (_S.HEARING, ()),
    (_S.LISTENING, _E.TURN_OVER): (_S.THINKING, (_A.START_TURN,)),
    (_S.LISTENING, _E.TURN_KEPT): (_S.LISTENING, ()),
    (_S.LISTENING, _E.RESPONSE_REQUESTED): (_S.THINKING, (_A.START_TURN,)),
    (_S.HEARING, _E.TURN_OVER): (_S.THINKING, (_A.START_TURN,)),
    (_S.HEARING, _E.TURN_KEPT): (_S.LISTENING, ()),
    (_S.HEARING, _E.SPEECH_DROPPED): (_S.LISTENING, ()),
    (_S.HEARING, _E.RESPONSE_REQUESTED): (_S.OVERLAP, (_A.START_TURN,)),
    (_S.THINKING, _E.SPEECH_STARTED): (_S.HEARING, (_A.INTERRUPT_TURN,)),  # the user had only paused
    (_S.THINKING, _E.SPOKE_OVER): (_S.OVERLAP, ()),
    (_S.THINKING, _E.TURN_OVER): (_S.QUEUED, ()),
    (_S.THINKING, _E.TURN_KEPT): (_S.THINKING, ()),
    (_S.THINKING, _E.RESPONSE_REQUESTED): (_S.THINKING, (_A.CANCEL_TURN, _A.START_TURN)),  # of one not yet announced
    (_S.THINKING, _E.RESPONSE_CANCELLED): (_S.LISTENING, (_A.CANCEL_TURN,)),
    (_S.THINKING, _E.AUDIO_STARTED): (_S.SPEAKING, ()),
    (_S.THINKING, _E.TURN_ENDED): (_S.LISTENING, ()),
    (_S.SPEAKING, _E.SPEECH_STARTED): (_S.HEARING, (_A.INTERRUPT_TURN,)),  # barge-in
    (_S.SPEAKING, _E.SPOKE_OVER): (_S.OVERLAP, ()),
    (_S.SPEAKING, _E.TURN_OVER): (_S.QUEUED, ()),
    (_S.SPEAKING, _E.TURN_KEPT): (_S.SPEAKING, ()),
    (_S.SPEAKING, _E.AUDIO_STARTED): (_S.SPEAKING, ()),  # speech over the answer was dropped before it sounded
    (_S.SPEAKING, _E.RESPONSE_CANCELLED): (_S.LISTENING, (_A.CANCEL_TURN,)),
    (_S.SPEAKING, _E.TURN_ENDED): (_S.LISTENING, ()),
    (_S.OVERLAP, _E.TURN_OVER): (_S.QUEUED, ()),
    (_S.OVERLAP, _E.TURN_KEPT): (_S.SPEAKING, ()),
    (_S.OVERLAP, _E.SPEECH_DROPPED): (_S.SPEAKING, ()),
    (_S.OVERLAP, _E.RESPONSE_CANCELLED): (_S.HEARING, (_A.CANCEL_TURN,)),
    (_S.OVERLAP, _E.AUDIO_STARTED): (_S.OVERLAP, ()),
    (_S.OVERLAP, _E.TURN_ENDED): (_S.HEARING, ()),
    (_S.QUEUED, _E.SPEECH_STARTED): (_S.HEARING, (_A.INTERRUPT_TURN,)),
    (_S.QUEUED, _E.SPOKE_OVER): (_S.OVERLAP, ()),  # the next answer will see both turns
    (_S.QUEUED, _E.TURN_OVER): (_S.QUEUED, ()),
    (_S.QUEUED, _E.TURN_KEPT): (_S.QUEUED, ()),
    (_S.QUEUED, _E.RESPONSE_CANCELLED): (_S.THINKING, (_A.CANCEL_TURN, _A.START_TURN)),
    (_S.QUEUED, _E.AUDIO_STARTED): (_S.QUEUED, ()),
    (_S.QUEUED, _E.TURN_ENDED): (_S.THINKING, (_A.START_TURN,)),
}

ANSWERING = frozenset({State.THINKING, State.SPEAKING, State.OVERLAP, State.QUEUED})
"""States in which an answer is being made."""
USER_SPEAKING = frozenset({State.HEARING, State.OVERLAP})
"""States in which the user has the floor."""


class Conversation:
    """The machine: hand it events, carry out its actions."""

    def __init__(self) -> None:
        self.state = State.LISTENING

    @property
    def is_answering(self) -> bool:
        """Whether an answer is being made."""
        return self.state in ANSWERING

    @property
    def user_is_speaking(self) -> bool:
        """Whether the user has the floor."""
        return self.state in USER_SPEAKING

    def receive(self, event: Event) -> tuple[Action, ...]:
        """Move on and say what is to be done.

        Raises:
            IllegalEvent: the event has no place in this state; nothing was changed.
        """
        try:
            self.state, actions = TRANSITIONS[self.state, event]
        except KeyError:
            raise IllegalEvent(self.state, event) from None
        return actions


def table() -> str:
    """Draw the transitions as a Markdown table, for ARCHITECTURE.md."""
    rows = ["| state | event | next | actions |", "|---|---|---|---|"]
    rows += [
        f"| {state} | {event} | {after} | {', '.join(actions) or '—'} |"
        for (state, event), (after, actions) in TRANSITIONS.items()
    ]
    return "\n".join(rows)
