"""One socket's life: client events in, server events out, and the tasks that live as long as the socket.

Whatever decides is synchronous: the state is read and written between two awaits. Tasks only do the long work (hearing,
transcribing, answering) and report back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Coroutine
from typing import Any, Literal

from voiceedge.conversation.endpoint import Ended, Paused, Started
from voiceedge.conversation.events import Action, Event
from voiceedge.conversation.history import History
from voiceedge.conversation.state import Conversation, IllegalEvent, State
from voiceedge.engines import LISTENING_RATE_HZ
from voiceedge.errors import Refused, VoiceEdgeError
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
from voiceedge.protocol.response_config import ResponseConfig, response_config
from voiceedge.protocol.session_config import SessionConfig, merge
from voiceedge.session.answering import Answering, RoundTrip
from voiceedge.session.asides import Asides
from voiceedge.session.drafting import Drafting
from voiceedge.session.editing import Editing
from voiceedge.session.following import Following
from voiceedge.session.hear import Hearing, milliseconds, require_enough
from voiceedge.session.idle import Idle
from voiceedge.session.listening import Listening
from voiceedge.session.node import Node
from voiceedge.session.outbox import Outbox, SlowReader
from voiceedge.session.patience import endpoint_settings
from voiceedge.session.prompting import check_tools
from voiceedge.session.question import Question
from voiceedge.session.transcribing import Transcribing
from voiceedge.trace import TurnTrace, epoch_s

log = logging.getLogger(__name__)

SILENCE = "The user has been silent for a while. Find out in one short sentence whether they are still there."
"""Instructions for the answer to `idle_timeout_ms`; to a model that reads, silence is nothing at all."""


class Session:
    """What one client talks to."""

    def __init__(
        self,
        node: Node,
        config: SessionConfig,
        outbox: Outbox,
        *,
        wants_trace: bool,
        network: RoundTrip = lambda: None,
    ) -> None:
        self.config = config
        self.opened_at = epoch_s()
        self._node = node
        self._outbox = outbox
        self._conversation = Conversation()
        self._history = History()
        self._tasks: asyncio.TaskGroup | None = None
        self._children: set[asyncio.Task[None]] = set()
        self._hearing = Hearing(node.engines.vad, node.compute, config.input_format.type, node.clock)
        self._hearing.set_endpoint(endpoint_settings(config.turn_detection, node))
        self._listening = Listening(
            node,
            self._hearing,
            self._spawn,
            on_started=self._speech_started,
            on_paused=self._speech_paused,
            on_resumed=self._speech_resumed,
            on_ended=self._speech_stopped,
        )
        self._transcribing = Transcribing(node, self._history, outbox, self._spawn)
        self._answering = Answering(
            node,
            self._history,
            outbox,
            self._spawn,
            on_audio=lambda: self._happened(Event.AUDIO_STARTED),
            on_end=self._turn_ended,
            wants_trace=wants_trace,
            network=network,
        )
        self._following = Following(node, self._hearing, self._spawn, on_words=self._words_are_certain)
        self._drafting = Drafting(
            node,
            self._transcribing,
            self._answering,
            self._following,
            self._spawn,
            on_words=self._listening.read,
            wants_language=self._listening.wants_language,
        )
        self._asides = Asides(node, outbox, self._spawn)
        self._editing = Editing(self._history, outbox, self._transcribing, self._answering, node.clock)
        self._idle = Idle(lambda: self._hearing.ring.end, self._stayed_silent)
        self._speech_id = ids.item_id()
        self._buffer_begin = 0  # first sample that the next manual commit takes

    @property
    def state(self) -> Literal["idle", "hearing", "thinking", "speaking"]:
        """What goes on, for whoever looks at the node: an answer is spoken until it has been played."""
        if self._conversation.user_is_speaking:
            return "hearing"
        if self._answering.is_audible:
            return "speaking"
        return "thinking" if self._conversation.is_answering else "idle"

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
        """Let the running responses come to their end and go out (a node that drains)."""
        await self._answering.wait()
        await self._asides.wait()
        await self._outbox.flushed()

    def _hang_up(self) -> None:
        self._listening.stop_watching()
        self._following.end()
        self._idle.close()
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
                self._editing.create(event, self.config)
            case RetrieveItem():
                self._editing.retrieve(event)
            case TruncateItem():
                self._editing.truncate(event)
            case DeleteItem():
                self._editing.delete(event)
            case CreateResponse():
                await self._respond(event)
            case CancelResponse():
                self._cancel_response(event)
            case ClearOutputAudio():
                pass  # of use over WebRTC only

    async def _update(self, event: SessionUpdate) -> None:
        before = self.config
        after = merge(before, event.session, voice_fixed=self._answering.has_spoken)
        await check_tools(self._node, after.tools, before.tools, "session")
        self.config = after
        if after.input_format != before.input_format:
            self._hearing.set_format(after.input_format.type)
        if after.turn_detection != before.turn_detection:
            self._idle.stop()
            self._drafting.drop()
            self._following.end()
            self._hearing.set_endpoint(endpoint_settings(after.turn_detection, self._node))
            if after.turn_detection is None:
                self._receive_if_legal(Event.SPEECH_DROPPED)
        self._outbox.put(out.SessionUpdated(session=after.echo()))
        self._answering.configure(after)

    # ── audio in ──────────────────────────────────────────────────────────────────────────────────────

    async def _append(self, event: AppendAudio) -> None:
        # the agent's own voice comes back through the microphone while it can be heard: more evidence is needed
        audible = self._answering.is_audible or self._asides.is_audible
        await self._listening.hear(audio_of(event), agent_audible=audible)

    def _speech_started(self, started: Started) -> None:
        self._idle.stop()
        self._speech_id = ids.item_id()
        detection = self.config.turn_detection
        interrupts = detection is not None and detection.interrupt_response
        self._outbox.put(out.SpeechStarted(audio_start_ms=milliseconds(started.start), item_id=self._speech_id))
        if interrupts:
            self._answering.silence(since=self._hearing.voice_began)
        self._happened(Event.SPEECH_STARTED if interrupts else Event.SPOKE_OVER)
        self._following.begin(started.start)

    def _words_are_certain(self, delta: str, said: str) -> None:
        """The user still speaks; so much of it will not change."""
        if self._shows_words:
            self._outbox.put(out.TranscriptionDelta(item_id=self._speech_id, delta=delta))
        if self._answers_by_itself():
            self._answering.foresee(said)

    def _speech_paused(self, paused: Paused) -> None:
        """The user has stopped, perhaps for good: until that is decided, what would be needed then is made."""
        trace = TurnTrace(self._answering.next_number, self._hearing.moment(paused.end), self._node.clock)
        audio = self._hearing.ring.read(paused.start, paused.end)
        config = response_config(self.config, None) if self._answers_by_itself() else None
        utterance = self._transcribing.hear(self._speech_id, audio, trace)
        self._drafting.begin(paused.pause, utterance, config)

    def _speech_resumed(self) -> None:
        self._drafting.drop()
        self._following.go_on()

    def _speech_stopped(self, ended: Ended) -> None:
        self._outbox.put(out.SpeechStopped(audio_end_ms=milliseconds(ended.end), item_id=self._speech_id))
        self._buffer_begin = ended.end
        zero = self._hearing.moment(ended.last_voiced)
        audio = self._hearing.ring.read(ended.start, ended.end)
        followed, utterance = self._following.end(), self._drafting.take()
        if utterance is None:
            trace = TurnTrace(self._answering.next_number, zero, self._node.clock)
            utterance = self._transcribing.hear(self._speech_id, audio, trace)
            utterance.earlier = followed.segments if followed is not None else ()
        if followed is not None:
            utterance.shown = followed.agreement
            utterance.trace.facts["followed_ms"] = round(followed.trace.work_s * 1000)
        utterance.item_id, utterance.audio, utterance.trace.zero = self._speech_id, audio, zero
        utterance.trace.facts["last_voiced_ms"] = ended.last_voiced * 1000 / LISTENING_RATE_HZ
        utterance.trace.mark("wait_over", self._hearing.moment(ended.wait_over))
        utterance.trace.mark("endpoint")
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
        require_enough(end - begin)
        self._idle.stop()
        was_speaking = self._listening.drop()
        self._buffer_begin = end
        trace = TurnTrace(self._answering.next_number, self._hearing.moment(end), self._node.clock)
        item_id = self._speech_id if was_speaking else ids.item_id()
        utterance = self._transcribing.hear(item_id, self._hearing.ring.read(begin, end), trace)
        if (followed := self._following.end()) is not None:
            utterance.shown = followed.agreement
        self._transcribing.commit(utterance, transcription=self._shows_words, commit_empty=True)
        self._answering.heard(utterance)
        self._receive_if_legal(Event.TURN_KEPT)

    def _clear(self) -> None:
        self._buffer_begin = self._hearing.ring.end
        self._following.end()
        if self._listening.drop():
            self._receive_if_legal(Event.SPEECH_DROPPED)
        self._outbox.put(out.AudioCleared())

    # ── answers ───────────────────────────────────────────────────────────────────────────────────────

    async def _respond(self, event: CreateResponse) -> None:
        if self.config.kind == "transcription":
            raise Refused("A transcription session makes no responses.", code="invalid_session_type")
        config = response_config(self.config, event.response)
        await check_tools(self._node, config.tools, self.config.tools, "response")
        if not config.in_conversation:
            self._asides.start(config, self.config.instructions, self._question(config))
            return
        # an answer that nobody knows of yet gives way: this one is to all that has been said, in speech and in writing
        unannounced = self._conversation.state is State.THINKING and self._answering.response_id is None
        if self._conversation.is_answering and not unannounced:
            raise Refused(
                "Conversation already has an active response; response.create has to wait for its response.done.",
                code="conversation_already_has_active_response",
            )
        self._answering.prepare(config, None, self._question(config) if config.input is not None else None)
        self._happened(Event.RESPONSE_REQUESTED)

    def _question(self, config: ResponseConfig) -> Question:
        self._answering.publish()
        wire_format = self.config.input_format.type
        return Question(
            config.input, self._history, self._transcribing, wire_format=wire_format, clock=self._node.clock
        )

    def _cancel_response(self, event: CancelResponse) -> None:
        if event.response_id is not None and self._asides.cancel(event.response_id):
            return
        running = self._answering.response_id
        if running is None or event.response_id not in (None, running):
            raise Refused("Cancellation failed: no active response found", code="response_cancel_not_active")
        self._happened(Event.RESPONSE_CANCELLED)

    def _happened(self, event: Event) -> None:
        for action in self._conversation.receive(event):
            match action:
                case Action.START_TURN:
                    self._idle.stop()
                    self._answering.start()
                case Action.INTERRUPT_TURN:
                    self._answering.cancel("turn_detected")
                case Action.CANCEL_TURN:
                    self._answering.cancel("client_cancelled")
                    self._outbox.put(self._await_user)

    def _receive_if_legal(self, event: Event) -> None:
        """For what clients do at any time: where it changes nothing, it is no event of the conversation."""
        try:
            self._happened(event)
        except IllegalEvent:
            log.debug("%s changes nothing while %s", event, self._conversation.state)

    def _turn_ended(self) -> None:
        self._happened(Event.TURN_ENDED)
        self._outbox.put(self._await_user)  # behind response.done: what is still to be played is known then

    def _await_user(self) -> None:
        """Begin to wait for the user, if the client wants to know when nothing comes."""
        detection = self.config.turn_detection
        waits = not self._conversation.is_answering and not self._conversation.user_is_speaking
        if waits and detection is not None and detection.idle_timeout_ms is not None:
            self._idle.begin(detection.idle_timeout_ms, after_s=self._answering.unplayed_s)

    def _stayed_silent(self, begin: int) -> None:
        """The user has said nothing since `begin`: that is a turn as well."""
        endpoint, end = self._hearing.endpoint, self._hearing.ring.end
        if endpoint is not None and endpoint.is_hearing:
            self._await_user()  # perhaps somebody is beginning to speak
            return
        item_id, self._buffer_begin = ids.item_id(), end
        start_ms, end_ms = milliseconds(begin), milliseconds(end)
        self._outbox.put(out.TimeoutTriggered(audio_start_ms=start_ms, audio_end_ms=end_ms, item_id=item_id))
        trace = TurnTrace(self._answering.next_number, self._node.clock(), self._node.clock)
        silence = self._transcribing.hear(item_id, self._hearing.ring.read(end, end), trace)
        self._transcribing.commit(silence, transcription=self._shows_words, commit_empty=True)
        self._answering.heard(silence)
        self._answering.prepare(response_config(self.config, {"instructions": SILENCE}), None)
        self._happened(Event.TURN_OVER)
