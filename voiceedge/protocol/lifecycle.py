"""The one place that makes every `response.created` end in exactly one `response.done`.

A response holds items one after another: messages (each with one content part) and function calls. Whatever
is open when the response ends is closed first, in the order that stock clients rely on, whether the end is
good or not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Literal

import msgspec

from voiceedge.errors import VoiceEdgeError
from voiceedge.protocol import server_events as events
from voiceedge.protocol.items import FunctionCallItem, Item, ItemStatus, MessageItem, OutputAudio, OutputText
from voiceedge.protocol.response_config import ResponseConfig
from voiceedge.protocol.server_events import FailureDetails, ServerEvent, StatusDetails
from voiceedge.protocol.session_object import Modality
from voiceedge.protocol.usage import Usage

Outcome = StatusDetails
"""How a response ended."""
COMPLETED: Outcome = StatusDetails(type="completed")
INCOMPLETE: Outcome = StatusDetails(type="incomplete", reason="max_output_tokens")


def cancelled(reason: Literal["turn_detected", "client_cancelled"]) -> Outcome:
    """The user spoke, or the client sent response.cancel."""
    return StatusDetails(type="cancelled", reason=reason)


def failed(error: VoiceEdgeError) -> Outcome:
    """Something broke; the session goes on."""
    return StatusDetails(
        type="failed",
        error=FailureDetails(
            type=error.wire_type, code=error.wire_code, message=events.brief(str(error), events.LONGEST_MESSAGE)
        ),
    )


class _Phase(Enum):
    NEW = auto()
    RUNNING = auto()
    FINISHED = auto()


@dataclass(slots=True)
class _Message:
    """The message that is open."""

    item_id: str
    previous_item_id: str | None
    said: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Call:
    """The function call that is open."""

    item_id: str
    previous_item_id: str | None
    call_id: str
    name: str
    arguments: list[str] = field(default_factory=list)


class ResponseLifecycle:
    """One response, from `begin` to `finish`.

    Every method returns the events to send, in order. A call that the state does not allow is a mistake of
    the program: it raises RuntimeError and changes nothing.
    """

    def __init__(self, response_id: str, config: ResponseConfig, *, conversation_id: str | None) -> None:
        """Describe the response; `conversation_id` is not shown for one that is out of band."""
        self.response_id = response_id
        self._config = config
        self._conversation_id = conversation_id if config.in_conversation else None
        self._phase = _Phase.NEW
        self._open: _Message | _Call | None = None
        self._output: list[Item] = []

    @property
    def is_finished(self) -> bool:
        """`response.done` has been made."""
        return self._phase is _Phase.FINISHED

    @property
    def output(self) -> tuple[Item, ...]:
        """The items closed so far."""
        return tuple(self._output)

    @property
    def said(self) -> str:
        """Text or transcript of the open message so far; "" when none is open."""
        return "".join(self._open.said) if isinstance(self._open, _Message) else ""

    def begin(self) -> list[ServerEvent]:
        """Start the response.

        Raises:
            RuntimeError: it has been started before.
        """
        if self._phase is not _Phase.NEW:
            raise RuntimeError(f"response {self.response_id} was started before")
        self._phase = _Phase.RUNNING
        return [events.ResponseCreated(response=self._response("in_progress"))]

    def open_message(self, item_id: str, previous_item_id: str | None) -> list[ServerEvent]:
        """Start a message of the assistant, and the one content part that it has.

        Raises:
            RuntimeError: the response is not running, or another item is open.
        """
        self._require_nothing_open()
        self._open = _Message(item_id, previous_item_id)
        return [
            *self._item_added(self._message_item(self._open, "in_progress")),
            events.ContentPartAdded(**self._place(item_id), part=self._part("")),
        ]

    def text(self, delta: str) -> list[ServerEvent]:
        """More text of the open message, in a response that writes.

        Raises:
            RuntimeError: no message is open, or the response speaks.
        """
        message = self._message_of("text")
        if not delta:
            return []
        message.said.append(delta)
        return [events.OutputTextDelta(**self._place(message.item_id), delta=delta)]

    def transcript(self, delta: str) -> list[ServerEvent]:
        """More of what the open message says, in a response that speaks.

        Raises:
            RuntimeError: no message is open, or the response writes.
        """
        message = self._message_of("audio")
        if not delta:
            return []
        message.said.append(delta)
        return [events.OutputAudioTranscriptDelta(**self._place(message.item_id), delta=delta)]

    def audio(self, base64: str) -> list[ServerEvent]:
        """More sound of the open message, encoded in the response's output format.

        Raises:
            RuntimeError: no message is open, or the response writes.
        """
        message = self._message_of("audio")
        if not base64:
            return []
        return [events.OutputAudioDelta(**self._place(message.item_id), delta=base64)]

    def close_message(self) -> list[ServerEvent]:
        """Complete the open message; more items may follow.

        Raises:
            RuntimeError: no message is open.
        """
        self._message()
        return self._close("completed")

    def open_call(self, item_id: str, call_id: str, name: str, previous_item_id: str | None) -> list[ServerEvent]:
        """Start a function call.

        Raises:
            RuntimeError: the response is not running, or another item is open.
        """
        self._require_nothing_open()
        self._open = _Call(item_id, previous_item_id, call_id, name)
        return self._item_added(self._call_item(self._open, "in_progress"))

    def arguments(self, delta: str) -> list[ServerEvent]:
        """More of the open call's arguments.

        Raises:
            RuntimeError: no call is open.
        """
        call = self._call()
        if not delta:
            return []
        call.arguments.append(delta)
        place = self._place(call.item_id)
        return [events.FunctionCallArgumentsDelta(**place, call_id=call.call_id, delta=delta)]

    def close_call(self) -> list[ServerEvent]:
        """Complete the open call; the client runs it.

        Raises:
            RuntimeError: no call is open.
        """
        self._call()
        return self._close("completed")

    def finish(self, outcome: Outcome, usage: Usage | None = None) -> list[ServerEvent]:
        """End the response: close what is open, then `response.done`. Again is no mistake and does nothing.

        Raises:
            RuntimeError: the response was never started.
        """
        if self.is_finished:
            return []
        self._require_running()
        closing = self._close("completed" if outcome.type == "completed" else "incomplete")
        self._phase = _Phase.FINISHED
        return [*closing, events.ResponseDone(response=self._response(outcome.type, outcome, usage))]

    def _require_running(self) -> _Message | _Call | None:
        if self._phase is not _Phase.RUNNING:
            raise RuntimeError(f"response {self.response_id} is not running")
        return self._open

    def _require_nothing_open(self) -> None:
        if self._require_running() is not None:
            raise RuntimeError("another item is open")

    def _message(self) -> _Message:
        opened = self._require_running()
        if isinstance(opened, _Message):
            return opened
        raise RuntimeError("no message is open")

    def _call(self) -> _Call:
        opened = self._require_running()
        if isinstance(opened, _Call):
            return opened
        raise RuntimeError("no function call is open")

    def _message_of(self, modality: Modality) -> _Message:
        message = self._message()
        if self._config.output_modality != modality:
            raise RuntimeError(f"the output of response {self.response_id} is not {modality}")
        return message

    def _item_added(self, item: Item) -> list[ServerEvent]:
        assert self._open is not None
        added: list[ServerEvent] = [
            events.OutputItemAdded(response_id=self.response_id, output_index=len(self._output), item=item)
        ]
        if self._config.in_conversation:
            added.append(events.ItemAdded(item=item, previous_item_id=self._open.previous_item_id))
        return added

    def _close(self, status: ItemStatus) -> list[ServerEvent]:
        """Close the open item, if there is one."""
        opened, index = self._open, len(self._output)
        if opened is None:
            return []
        closing: list[ServerEvent]
        item: Item
        if isinstance(opened, _Message):
            item = self._message_item(opened, status)
            closing = self._part_done(opened)
        else:
            item = self._call_item(opened, status)
            closing = self._arguments_done(item) if status == "completed" else []
        if self._config.in_conversation:
            closing.append(events.ItemDone(item=item, previous_item_id=opened.previous_item_id))
        closing.append(events.OutputItemDone(response_id=self.response_id, output_index=index, item=item))
        self._output.append(item)
        self._open = None
        return closing

    def _part_done(self, message: _Message) -> list[ServerEvent]:
        place, said = self._place(message.item_id), "".join(message.said)
        part = events.ContentPartDone(**place, part=self._part(said))
        if self._config.output_modality == "text":
            return [events.OutputTextDone(**place, text=said), part]
        return [
            events.OutputAudioDone(**place),
            events.OutputAudioTranscriptDone(**place, transcript=said),
            part,
        ]

    def _arguments_done(self, call: FunctionCallItem) -> list[ServerEvent]:
        """Only for a complete call: pipecat runs a function when it sees this, whatever the item's status."""
        return [
            events.FunctionCallArgumentsDone(
                **self._place(call.id), call_id=call.call_id, name=call.name, arguments=call.arguments
            )
        ]

    def _message_item(self, message: _Message, status: ItemStatus) -> MessageItem:
        said = "".join(message.said)
        written = self._config.output_modality == "text"
        content = (OutputText(said) if written else OutputAudio(said),) if status != "in_progress" else ()
        return MessageItem(id=message.item_id, role="assistant", content=content, status=status)

    def _call_item(self, call: _Call, status: ItemStatus) -> FunctionCallItem:
        arguments = "".join(call.arguments)
        return FunctionCallItem(call.item_id, call.call_id, call.name, arguments, status)

    def _part(self, said: str) -> events.AudioPart | events.TextPart:
        return events.TextPart(said) if self._config.output_modality == "text" else events.AudioPart(said)

    def _place(self, item_id: str) -> events.Place:
        return {"response_id": self.response_id, "item_id": item_id, "output_index": len(self._output)}

    def _response(
        self,
        status: Literal["in_progress", "completed", "cancelled", "incomplete", "failed"],
        outcome: Outcome | None = None,
        usage: Usage | None = None,
    ) -> events.Response:
        config = self._config
        output = events.ResponseAudioOutput(
            format=msgspec.to_builtins(config.output_format), voice=config.voice_requested
        )
        return events.Response(
            id=self.response_id,
            status=status,
            status_details=None if outcome is None or outcome.type == "completed" else outcome,
            output=tuple(self._output),
            conversation_id=self._conversation_id,
            output_modalities=(config.output_modality,),
            audio=events.ResponseAudio(output=output),
            max_output_tokens="inf" if config.max_output_tokens is None else config.max_output_tokens,
            metadata=config.metadata,
            usage=usage,
        )
