"""One socket's life: client events in, server events out, and the tasks that live as long as the socket.

Whatever decides is synchronous: the state is read and written between two awaits. Tasks only do the long work (hearing,
transcribing, answering) and report back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Coroutine, Sequence
from typing import Any, Literal

from voiceedge.audio.codec import codec
from voiceedge.conversation.events import Action, Event
from voiceedge.conversation.history import History
from voiceedge.conversation.state import Conversation, IllegalEvent, State
from voiceedge.errors import Flood, Refused, SlowReader, VoiceEdgeError
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
from voiceedge.session.allowance import UNLIMITED, Allowance, AudioGate
from voiceedge.session.answering import Answering, RoundTrip
from voiceedge.session.asides import Asides
from voiceedge.session.editing import Editing
from voiceedge.session.hear import Hearing
from voiceedge.session.node import Node
from voiceedge.session.outbox import Outbox
from voiceedge.session.patience import endpoint_settings
from voiceedge.session.presence import Presence
from voiceedge.session.prompting import check_tools
from voiceedge.session.question import Question, speech_in
from voiceedge.session.silence import Silence
from voiceedge.session.spending import Spending
from voiceedge.session.transcribing import Transcribing
from voiceedge.session.user import User
from voiceedge.trace import epoch_s

log = logging.getLogger(__name__)

LARGE_MESSAGE = 4096
"""Characters. What answers a message quotes it, so a client that sends and does not read fills the queue with its own
words: of small ones there is room for thousands, of large ones for two."""


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
        allowance: Allowance = UNLIMITED,
    ) -> None:
        self.config = config
        self.opened_at = epoch_s()
        self._node = node
        self._outbox = outbox
        self._conversation = Conversation()
        self._history = History(max_items=node.bounds.max_items)
        self._presence = Presence(node.bounds.idle_s, node.clock, self._is_busy)
        self._spending = Spending(node.bounds.session_tokens, allowance)
        self._tasks: asyncio.TaskGroup | None = None
        self._children: set[asyncio.Task[None]] = set()
        self._hearing = Hearing(node.engines.vad, node.compute, config.input_format.type, node.clock)
        self._hearing.set_endpoint(endpoint_settings(config.turn_detection, node))
        self._gate = AudioGate(allowance, on_shut=lambda reached: outbox.put(out.error_event(reached)))
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
            spending=self._spending,
        )
        self._user = User(
            node,
            self._hearing,
            self._transcribing,
            self._answering,
            outbox,
            self._spawn,
            config=lambda: self.config,
            on_event=self._happened,
            on_perhaps=self._receive_if_legal,
            on_sign=self._noticed,
        )
        self._asides = Asides(node, outbox, self._spawn, self._spending)
        self._editing = Editing(
            self._history, outbox, self._transcribing, self._answering, node.clock, admit=self._admit
        )
        self._silence = Silence(
            node,
            self._hearing,
            self._transcribing,
            self._answering,
            outbox,
            config=lambda: self.config,
            is_awaited=lambda: not (self._conversation.is_answering or self._conversation.user_is_speaking),
            on_turn=self._stayed_silent,
        )

    @property
    def state(self) -> Literal["idle", "hearing", "thinking", "speaking"]:
        """What goes on, for whoever looks at the node: an answer is spoken until it has been played."""
        if self._conversation.user_is_speaking:
            return "hearing"
        if self._answering.is_audible:
            return "speaking"
        return "thinking" if self._conversation.is_answering else "idle"

    def _is_busy(self) -> bool:
        return self.state != "idle" or self._asides.is_running

    async def run(self, messages: AsyncIterable[str | bytes]) -> None:
        """Serve the client until its messages end; leaves no task behind.

        Raises:
            SlowReader: the client does not read what it is sent.
            LimitReached: the messages end in it: what the client may send in an hour is used up.
            Flood: it sends more than anybody would wait for.
            Expired: nobody takes part any more.
        """
        self._answering.open(self.config)
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._outbox.put(out.SessionCreated(session=self.config.echo()))
                self._answering.configure(self.config)
                self._spawn(self._presence.watch(), "presence")
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
        self._user.close()
        self._silence.close()
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
        if not isinstance(event, AppendAudio):
            self._presence.noticed()
            if isinstance(event, SessionUpdate) or len(message) > LARGE_MESSAGE:
                await self._outbox.one_at_a_time()  # the reply is as large
        try:
            await self._handle(event)
        except (SlowReader, Flood):
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
                await self._commit()
            case ClearAudio():
                self._user.clear()
            case CreateItem():
                await self._editing.create(event, self.config)
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
        await self._answering.check_room(after)
        self.config = after
        if after.input_format != before.input_format:
            self._hearing.set_format(after.input_format.type)
        if after.turn_detection != before.turn_detection:
            self._silence.stop()
            self._user.detect_turns()
        self._outbox.put(out.SessionUpdated(session=after.echo()))
        self._answering.configure(after)

    # ── audio in ──────────────────────────────────────────────────────────────────────────────────────

    async def _append(self, event: AppendAudio) -> None:
        audio = audio_of(event)
        self._user.listening.stop_watching()  # who is made to wait has not fallen silent
        await self._transcribing.room()
        if not await self._gate.admits(audio, self.config.input_format.type):
            self._user.listening.expire()  # nothing more will be heard: what was said so far is the turn
            return
        # the agent's own voice comes back through the microphone while it can be heard: more evidence is needed
        audible = self._answering.is_audible or self._asides.is_audible
        await self._user.listening.hear(audio, agent_audible=audible)

    async def _commit(self) -> None:
        with self._user.listening.unwatched():
            await self._transcribing.room()
        self._user.commit()

    async def _admit(self, speech: Sequence[str], param: str) -> None:
        """Let speech in that the client has written: it is audio as any other, and has to be listened to."""
        form = codec(self.config.input_format.type)
        seconds = sum(form.seconds(len(base64) * 3 // 4) for base64 in speech)
        with self._user.listening.unwatched():
            await self._transcribing.room(seconds, param=param)
            await self._gate.take(seconds)

    # ── answers ───────────────────────────────────────────────────────────────────────────────────────

    async def _respond(self, event: CreateResponse) -> None:
        if self.config.kind == "transcription":
            raise Refused("A transcription session makes no responses.", code="invalid_session_type")
        config = response_config(self.config, event.response)
        await check_tools(self._node, config.tools, self.config.tools, "response")
        if speech := speech_in(config.input):
            await self._admit(speech, "response.input")
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
        self._silence.broken()
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
                    self._silence.stop()
                    self._answering.start()
                case Action.INTERRUPT_TURN:
                    self._answering.cancel("turn_detected")
                case Action.CANCEL_TURN:
                    self._answering.cancel("client_cancelled")
                    self._outbox.put(self._silence.begin)

    def _receive_if_legal(self, event: Event) -> None:
        """For what clients do at any time: where it changes nothing, it is no event of the conversation."""
        try:
            self._happened(event)
        except IllegalEvent:
            log.debug("%s changes nothing while %s", event, self._conversation.state)

    def _turn_ended(self) -> None:
        self._presence.noticed()
        self._happened(Event.TURN_ENDED)
        self._outbox.put(self._silence.begin)  # behind response.done: what is still to be played is known then

    def _noticed(self) -> None:
        """Somebody is there."""
        self._presence.noticed()
        self._silence.broken()

    def _stayed_silent(self, end: int) -> None:
        self._user.skip_to(end)
        self._happened(Event.TURN_OVER)
