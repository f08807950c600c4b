"""What can happen to a conversation, and what it asks to be done about it."""

from __future__ import annotations

from enum import StrEnum, auto


class Event(StrEnum):
    """Something that happened."""

    SPEECH_STARTED = auto()
    """The user began to speak, and may interrupt."""
    SPOKE_OVER = auto()
    """The user began to speak over an answer that must not be interrupted."""
    TURN_OVER = auto()
    """The user's turn is over and wants an answer."""
    TURN_KEPT = auto()
    """The user's turn is over; the client will ask for the answer itself."""
    SPEECH_DROPPED = auto()
    """What began as speech was cleared by the client."""
    RESPONSE_REQUESTED = auto()
    """The client asked for an answer."""
    RESPONSE_CANCELLED = auto()
    """The client took its request back."""
    AUDIO_STARTED = auto()
    """The answer's first audio went out."""
    TURN_ENDED = auto()
    """The answer is over: completed, incomplete or failed. A cancelled one reports nothing."""


class Action(StrEnum):
    """Something to do about it."""

    START_TURN = auto()
    """Answer what has been said so far."""
    INTERRUPT_TURN = auto()
    """Cancel the running answer because the user speaks."""
    CANCEL_TURN = auto()
    """Cancel the running answer because the client said so."""
