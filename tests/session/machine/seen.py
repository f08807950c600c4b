"""What a client knows: all that it sent, and what the events so far have told it.

Written from the protocol's description, not from the server's code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.session.machine.sounds import milliseconds_of

LONGEST_SHOWN = 60
"""Characters of a string in what people read."""
SILENT_REQUESTS = frozenset({"input_audio_buffer.append", "output_audio_buffer.clear"})
"""Client events that nothing answers, when all is well."""


class Broken(AssertionError):
    """A rule of the protocol does not hold."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule


def brief(what: Any) -> str:
    """An event in one line, without its audio."""
    if isinstance(what, dict):
        return "{" + ", ".join(f"{key}: {brief(value)}" for key, value in what.items() if key != "session") + "}"
    if isinstance(what, list):
        return "[" + ", ".join(brief(value) for value in what) + "]"
    text = str(what)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


@dataclass(slots=True)
class Request:
    """One client event."""

    type: str
    """"" for what is no event at all."""
    event: dict[str, Any]
    event_id: str | None
    is_bad: bool
    """It cannot be honoured, whatever the state of the session."""
    audio_ms: float
    """Audio sent before it."""

    def __str__(self) -> str:
        asked = {"session": "…", **self.event} if "session" in self.event else self.event
        return brief(asked) if self.event else "garbage"


@dataclass(slots=True)
class Response:
    """One response, as its events tell."""

    id: str
    in_conversation: bool
    modality: str
    metadata: dict[str, str] | None
    output_format: str
    status: str = "in_progress"
    silenced: bool = False
    """The user interrupts it: it may not be heard any more."""
    sounded: bool = False
    item_audio_ms: dict[str, float] = field(default_factory=dict)
    """Audio received of each of its items."""

    @property
    def is_open(self) -> bool:
        """Whether its end has not been told."""
        return self.status == "in_progress"


@dataclass(slots=True)
class Seen:
    """Everything known at one moment, in the order of the server's events."""

    text: str = ""
    """The server's event as it came."""
    session: dict[str, Any] = field(default_factory=dict)
    items: list[str] = field(default_factory=list)
    """Ids of the conversation, in order."""
    shown: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Every item that was ever announced, as it was announced first."""
    made_by: dict[str, str] = field(default_factory=dict)
    """Response by item, for what responses put out."""
    responses: dict[str, Response] = field(default_factory=dict)
    pending: list[Request] = field(default_factory=list)
    """Client events that have not been answered."""
    speech: str | None = None
    """Item id of the speech that goes on."""
    stopped: dict[str, int] = field(default_factory=dict)
    """Moment (ms) at which speech ended that has not been committed."""
    committed: set[str] = field(default_factory=set)
    """Items that a commit has announced."""
    timed_out: set[str] = field(default_factory=set)
    """Items that an idle timeout has announced."""
    answers_due: int = 0
    """Turns of the user that are over and whose answers may be on their way, or wait for another to end."""
    audio_ms: float = 0.0
    """Audio sent."""
    buffer_from_ms: float = 0.0
    """Audio that the last commit or clear has taken, by what had been sent when it was asked for."""
    stopped_at_ms: float = 0.0
    """Where the last speech ended; its audio is taken, too."""
    input_format: str = "audio/pcm"
    """What the client sends now."""
    hears_words: bool = False
    """Whether speech-to-text hears words in all speech."""
    once_broken: set[str] = field(default_factory=set)
    """Stages of the engines that have failed at some time."""

    @property
    def detection(self) -> dict[str, Any] | None:
        """The turn detection that holds."""
        found: dict[str, Any] | None = self.session.get("audio", {}).get("input", {}).get("turn_detection")
        return found

    @property
    def transcribes(self) -> bool:
        """Whether the client is told the user's words."""
        return self.session["audio"]["input"].get("transcription") is not None

    @property
    def answers(self) -> list[str]:
        """Items that responses put out and that are still in the conversation."""
        return [item for item in self.items if item in self.made_by]

    def is_being_made(self, item: str) -> bool:
        """Whether a response puts this item out now; one that is deleted may come again, from the client."""
        return item in self.made_by and self.responses[self.made_by[item]].is_open

    @property
    def main(self) -> Response | None:
        """The response that writes the conversation now."""
        return next((one for one in self.responses.values() if one.is_open and one.in_conversation), None)

    def sent(self, request: Request) -> None:
        """Note a client event."""
        self.pending.append(request)
        if request.type == "input_audio_buffer.append" and not request.is_bad:
            self.audio_ms += milliseconds_of(request.event["audio"], self.input_format)
        elif request.type == "session.update" and not request.is_bad:
            asked = request.event["session"].get("audio", {}).get("input", {}).get("format")
            self.input_format = asked["type"] if asked else self.input_format

    def received(self, event: dict[str, Any]) -> None:
        """Note a server event, after the rules have had their say."""
        kind: str = event["type"]
        if kind in {"session.created", "session.updated"}:
            self.session = event["session"]
            if self.detection is None:
                self.speech = None
        elif kind.startswith("conversation.item."):
            self._item(kind, event)
        elif kind.startswith("input_audio_buffer."):
            self._buffer(kind, event)
        elif kind.startswith("response."):
            self._response(kind, event)

    def _item(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "conversation.item.added":
            before = event["previous_item_id"]
            place = self.items.index(before) + 1 if before in self.items else 0
            self.items.insert(place, event["item"]["id"])
            self.shown[event["item"]["id"]] = event["item"]  # an id may come again once its item is deleted
            if not self.is_being_made(event["item"]["id"]):
                self.made_by.pop(event["item"]["id"], None)
        elif kind == "conversation.item.deleted" and event["item_id"] in self.items:
            self.items.remove(event["item_id"])

    def _buffer(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "input_audio_buffer.speech_started":
            self.speech = event["item_id"]
            if self.detection is not None and self.detection["interrupt_response"]:
                self.answers_due = 0
                for response in self.responses.values():
                    response.silenced |= response.is_open and response.in_conversation
        elif kind == "input_audio_buffer.speech_stopped":
            self.speech = None
            self.stopped[event["item_id"]] = event["audio_end_ms"]
            self.stopped_at_ms = event["audio_end_ms"]
            self.answers_due += bool(self.detection and self.detection["create_response"])
        elif kind == "input_audio_buffer.committed":
            self.committed.add(event["item_id"])
            if self.stopped.pop(event["item_id"], None) is None:
                self.speech = None
        elif kind == "input_audio_buffer.timeout_triggered":
            self.timed_out.add(event["item_id"])
            self.answers_due += 1
        elif kind == "input_audio_buffer.cleared":
            self.speech = None

    def _response(self, kind: str, event: dict[str, Any]) -> None:
        if kind == "response.created":
            made = event["response"]
            self.responses[made["id"]] = Response(
                made["id"],
                made["conversation_id"] is not None,
                made["output_modalities"][0],
                made.get("metadata"),
                made["audio"]["output"]["format"]["type"],
            )
            self.answers_due = max(0, self.answers_due - 1)
            return
        if kind == "response.done":
            self.responses[event["response"]["id"]].status = event["response"]["status"]
            return
        response = self.responses[event["response_id"]]
        if kind == "response.output_item.added":
            self.made_by[event["item"]["id"]] = response.id
        elif kind == "response.output_audio.delta":
            response.sounded = True
            sounds = response.item_audio_ms
            more = milliseconds_of(event["delta"], response.output_format)
            sounds[event["item_id"]] = sounds.get(event["item_id"], 0.0) + more
