"""One socket's life: client events in, server events out, and the tasks that live as long as the socket.

Whatever decides is synchronous: the state is read and written between two awaits. Tasks only do the long work (hearing,
transcribing, answering) and report back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Coroutine
from typing import Any

from voiceedge.conversation.endpoint import Ended, EndpointSettings, Started
from voiceedge.conversation.events import Action, Event
from voiceedge.conversation.history import DuplicateItem, History, UnknownItem
from voiceedge.conversation.state import Conversation, IllegalEvent
from voiceedge.errors import InvalidRequest, InvalidTool, Refused, VoiceEdgeError
from voiceedge.protocol import ids
from voiceedge.protocol import server_events as out
from voiceedge.protocol.client_events import (
    AppendAudio,
    CancelResponse,
    ClearAudio,
    ClearOutputAudio,
    ClientEvent,
    CommitAudio,
    CreateItem,
    CreateResponse,
    DeleteItem,
    RetrieveItem,
    SessionUpdate,
    TruncateItem,
    audio_of,
    decode_client_event,
    event_id_of,
)
from voiceedge.protocol.items import parse_item
from voiceedge.protocol.response_config import response_config
from voiceedge.protocol.session_config import SessionConfig, TurnDetection, merge
from voiceedge.protocol.session_object import FunctionTool
from voiceedge.session.answering import Answering
from voiceedge.session.hear import Hearing, milliseconds
from voiceedge.session.items import audio_in, from_wire, to_wire
from voiceedge.session.listening import Listening
from voiceedge.session.node import Node
from voiceedge.session.outbox import Outbox, SlowReader
from voiceedge.session.prompting import tools_of
from voiceedge.session.transcribing import Transcribing
from voiceedge.trace import TurnTrace

log = logging.getLogger(__name__)

MIN_COMMIT_MS = 100
"""Least audio of a manual commit (OpenAI's rule)."""
PATIENCE = {2_000: 0.7, 4_000: 1.0, 8_000: 1.5}
"""Factor on the wait by semantic_vad's longest wait, which stands for its eagerness high, medium, low."""


class Session:
    """What one client talks to."""

    def __init__(self, node: Node, config: SessionConfig, outbox: Outbox, *, wants_trace: bool) -> None:
        self.config = config
        self._node = node
        self._outbox = outbox
        self._conversation = Conversation()
        self._history = History()
        self._tasks: asyncio.TaskGroup | None = None
        self._children: set[asyncio.Task[None]] = set()
        self._hearing = Hearing(node.engines.vad, node.compute, config.input_format.type, node.clock)
        self._hearing.set_endpoint(_endpoint_settings(config.turn_detection))
        self._listening = Listening(
            node, self._hearing, self._spawn, on_started=self._speech_started, on_ended=self._speech_stopped
        )
        self._transcribing = Transcribing(node, self._history, outbox, self._spawn)
        self._answering = Answering(
            node,
            self._history,
            outbox,
            self._spawn,
            on_audio=self._audio_started,
            on_end=self._turn_ended,
            wants_trace=wants_trace,
        )
        self._speech_id = ids.item_id()
        self._buffer_begin = 0  # first sample that the next manual commit takes

    async def run(self, messages: AsyncIterable[str | bytes]) -> None:
        """Serve the client until its messages end; leaves no task behind.

        Raises:
            SlowReader: the client does not read what it is sent.
        """
        self._answering.open(self.config)
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._outbox.put(out.SessionCreated(session=self.config.echo()))
                self._answering.configure(self.config)
                try:
                    async for message in messages:
                        await self._receive(message)
                finally:
                    self._hang_up()
        finally:
            self._answering.close()

    async def finish(self) -> None:
        """Let the running answer come to its end and go out (a node that drains)."""
        await self._answering.wait()
        await self._outbox.flushed()

    def _hang_up(self) -> None:
        self._listening.stop_watching()
        self._answering.abandon()
        for child in self._children:
            child.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        assert self._tasks is not None
        task = self._tasks.create_task(work, name=name)
        self._children.add(task)
        task.add_done_callback(self._children.discard)
        return task

    # ── messages ──────────────────────────────────────────────────────────────────────────────────────

    async def _receive(self, message: str | bytes) -> None:
        try:
            event = decode_client_event(message)
        except VoiceEdgeError as error:
            self._outbox.put(out.error_event(error, event_id=event_id_of(message)))
            return
        try:
            await self._handle(event)
        except SlowReader:
            raise
        except VoiceEdgeError as error:
            self._outbox.put(out.error_event(error, event_id=event.event_id))

    async def _handle(self, event: ClientEvent) -> None:  # noqa: C901 - one line for each client event
        match event:
            case AppendAudio():
                await self._append(event)
            case SessionUpdate():
                await self._update(event)
            case CommitAudio():
                self._commit()
            case ClearAudio():
                self._clear()
            case CreateItem():
                self._create_item(event)
            case RetrieveItem():
                self._outbox.put(out.ItemRetrieved(item=to_wire(self._find(event.item_id, "retrieve"))))
            case TruncateItem():
                self._truncate(event)
            case DeleteItem():
                self._find(event.item_id, "delete")
                self._history.delete(event.item_id)
                self._outbox.put(out.ItemDeleted(item_id=event.item_id))
            case CreateResponse():
                await self._respond(event)
            case CancelResponse():
                self._cancel_response(event)
            case ClearOutputAudio():
                pass  # of use over WebRTC only

    async def _update(self, event: SessionUpdate) -> None:
        before = self.config
        after = merge(before, event.session, voice_fixed=self._answering.has_spoken)
        await self._check_tools(after.tools, before.tools, "session")
        self.config = after
        if after.input_format != before.input_format:
            self._hearing.set_format(after.input_format.type)
        if after.turn_detection != before.turn_detection:
            self._hearing.set_endpoint(_endpoint_settings(after.turn_detection))
            if after.turn_detection is None:
                self._receive_if_legal(Event.SPEECH_DROPPED)
        self._outbox.put(out.SessionUpdated(session=after.echo()))
        self._answering.configure(after)

    async def _check_tools(self, tools: tuple[FunctionTool, ...], known: tuple[FunctionTool, ...], param: str) -> None:
        """Let the LLM look at tools before anything depends on them.

        Raises:
            InvalidTool: answers cannot be held to one of the schemas.
        """
        if not tools or tools == known:
            return
        offered = tools_of(tools)
        llm, clock = self._node.engines.llm, self._node.clock
        try:
            await self._node.compute.run(lambda: llm.check_tools(offered), deadline=clock())
        except InvalidTool as error:
            raise InvalidTool(str(error), param=f"{param}.{error.param or 'tools'}") from error

    # ── audio in ──────────────────────────────────────────────────────────────────────────────────────

    async def _append(self, event: AppendAudio) -> None:
        # the agent's own voice comes back through the microphone while it can be heard: more evidence is needed
        await self._listening.hear(audio_of(event), agent_audible=self._answering.is_audible)

    def _speech_started(self, started: Started) -> None:
        self._speech_id = ids.item_id()
        detection = self.config.turn_detection
        interrupts = detection is not None and detection.interrupt_response
        self._outbox.put(out.SpeechStarted(audio_start_ms=milliseconds(started.start), item_id=self._speech_id))
        if interrupts:
            self._answering.silence()
        self._happened(Event.SPEECH_STARTED if interrupts else Event.SPOKE_OVER)

    def _speech_stopped(self, ended: Ended) -> None:
        self._outbox.put(out.SpeechStopped(audio_end_ms=milliseconds(ended.end), item_id=self._speech_id))
        self._buffer_begin = ended.end
        trace = TurnTrace(self._answering.next_number, self._hearing.moment(ended.last_voiced), self._node.clock)
        trace.mark("wait_over", self._hearing.moment(ended.wait_over))
        trace.mark("endpoint")
        utterance = self._transcribing.hear(self._speech_id, self._hearing.ring.read(ended.start, ended.end), trace)
        self._transcribing.commit(utterance, transcription=self._shows_words, commit_empty=False)
        self._answering.heard(utterance)
        if self._answers_by_itself():
            self._answering.prepare(response_config(self.config, None), utterance)
            self._happened(Event.TURN_OVER)
        else:
            self._happened(Event.TURN_KEPT)

    def _answers_by_itself(self) -> bool:
        """Whether the end of the user's turn asks for an answer, or the client will."""
        detection = self.config.turn_detection
        return self.config.kind == "realtime" and (detection is None or detection.create_response)

    @property
    def _shows_words(self) -> bool:
        """Whether the client wants to see what the user said."""
        return self.config.transcription is not None

    def _commit(self) -> None:
        begin, end = max(self._buffer_begin, self._hearing.ring.begin), self._hearing.ring.end
        if milliseconds(end - begin) < MIN_COMMIT_MS:
            raise InvalidRequest(
                f"Error committing input audio buffer: buffer too small. Expected at least {MIN_COMMIT_MS}ms of audio, "
                f"but buffer only has {milliseconds(end - begin)}ms of audio.",
                code="input_audio_buffer_commit_empty",
            )
        was_speaking = self._listening.drop()
        self._buffer_begin = end
        trace = TurnTrace(self._answering.next_number, self._hearing.moment(end), self._node.clock)
        item_id = self._speech_id if was_speaking else ids.item_id()
        utterance = self._transcribing.hear(item_id, self._hearing.ring.read(begin, end), trace)
        self._transcribing.commit(utterance, transcription=self._shows_words, commit_empty=True)
        self._answering.heard(utterance)
        self._receive_if_legal(Event.TURN_KEPT)

    def _clear(self) -> None:
        self._buffer_begin = self._hearing.ring.end
        if self._listening.drop():
            self._receive_if_legal(Event.SPEECH_DROPPED)
        self._outbox.put(out.AudioCleared())

    # ── items ─────────────────────────────────────────────────────────────────────────────────────────

    def _find(self, item_id: str, what: str) -> Any:
        try:
            return self._history.get(item_id)
        except UnknownItem as error:
            raise Refused(str(error), code=f"item_{what}_invalid_item_id", param="item_id") from error

    def _create_item(self, event: CreateItem) -> None:
        wire = parse_item(event.item)
        item = from_wire(wire)
        try:
            before = self._history.insert(item, event.previous_item_id)
        except DuplicateItem as error:
            raise Refused(str(error), code="item_create_duplicate_item_id", param="item.id") from error
        except UnknownItem as error:
            raise Refused(str(error), code="item_create_invalid_previous_item_id", param="previous_item_id") from error
        self._outbox.put(out.ItemAdded(item=to_wire(item), previous_item_id=before))
        self._outbox.put(out.ItemDone(item=to_wire(item), previous_item_id=before))
        if (base64 := audio_in(wire)) is not None:
            audio = self._transcribing.decode(base64, self.config.input_format.type)
            trace = TurnTrace(self._answering.next_number, self._node.clock(), self._node.clock)
            utterance = self._transcribing.hear(item.id, audio, trace)
            self._transcribing.fill(utterance, item, transcription=self._shows_words)
            self._answering.heard(utterance)

    def _truncate(self, event: TruncateItem) -> None:
        self._answering.publish()
        try:
            item = self._history.truncate(event.item_id, event.audio_end_ms)
        except UnknownItem as unknown:
            # pipecat and LiveKit still truncate what they played when they have connected anew, and pipecat hangs up
            # on an error; nothing of an item that is not here is in the context, so it is as they want it
            log.debug("ignored: %s", unknown)
            return
        self._outbox.put(
            out.ItemTruncated(
                item_id=event.item_id,
                content_index=event.content_index,
                audio_end_ms=int(item.heard_ms or 0),
            )
        )

    # ── answers ───────────────────────────────────────────────────────────────────────────────────────

    async def _respond(self, event: CreateResponse) -> None:
        if self.config.kind == "transcription":
            raise Refused("A transcription session makes no responses.", code="invalid_session_type")
        config = response_config(self.config, event.response)
        await self._check_tools(config.tools, self.config.tools, "response")
        if not config.in_conversation:
            raise Refused("Responses outside the conversation are not served yet.", code="not_supported")
        if self._conversation.is_answering:
            raise Refused(
                "Conversation already has an active response; response.create has to wait for its response.done.",
                code="conversation_already_has_active_response",
            )
        self._answering.prepare(config, None)
        self._happened(Event.RESPONSE_REQUESTED)

    def _cancel_response(self, event: CancelResponse) -> None:
        running = self._answering.response_id
        if running is None or event.response_id not in (None, running):
            raise Refused("Cancellation failed: no active response found", code="response_cancel_not_active")
        self._happened(Event.RESPONSE_CANCELLED)

    def _happened(self, event: Event) -> None:
        for action in self._conversation.receive(event):
            match action:
                case Action.START_TURN:
                    self._answering.start()
                case Action.INTERRUPT_TURN:
                    self._answering.cancel("turn_detected")
                case Action.CANCEL_TURN:
                    self._answering.cancel("client_cancelled")

    def _receive_if_legal(self, event: Event) -> None:
        """For what clients do at any time: where it changes nothing, it is no event of the conversation."""
        try:
            self._happened(event)
        except IllegalEvent:
            log.debug("%s changes nothing while %s", event, self._conversation.state)

    def _audio_started(self) -> None:
        self._happened(Event.AUDIO_STARTED)

    def _turn_ended(self) -> None:
        self._happened(Event.TURN_ENDED)


def _endpoint_settings(detection: TurnDetection | None) -> EndpointSettings | None:
    if detection is None:
        return None
    return EndpointSettings(
        threshold=detection.threshold,
        prefix_padding_ms=detection.prefix_padding_ms,
        silence_ms=detection.silence_duration_ms,
        patience=PATIENCE.get(detection.max_wait_ms or 0, 1.0),
    )
