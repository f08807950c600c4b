"""The user's side of a session: what is heard becomes utterances, and events of the conversation."""

from __future__ import annotations

from collections.abc import Callable

from voiceedge.conversation.endpoint import Ended, Paused, Started
from voiceedge.conversation.events import Event
from voiceedge.engines import LISTENING_RATE_HZ
from voiceedge.protocol import ids
from voiceedge.protocol import server_events as out
from voiceedge.protocol.response_config import response_config
from voiceedge.protocol.session_config import SessionConfig
from voiceedge.session.answering import Answering
from voiceedge.session.drafting import Drafting
from voiceedge.session.following import Following
from voiceedge.session.hear import Hearing, milliseconds, require_enough
from voiceedge.session.listening import Listening
from voiceedge.session.node import Node
from voiceedge.session.outbox import Outbox
from voiceedge.session.patience import endpoint_settings
from voiceedge.session.transcribing import Spawn, Transcribing
from voiceedge.trace import TurnTrace


class User:
    """Whoever talks to one session."""

    def __init__(
        self,
        node: Node,
        hearing: Hearing,
        transcribing: Transcribing,
        answering: Answering,
        outbox: Outbox,
        spawn: Spawn,
        *,
        config: Callable[[], SessionConfig],
        on_event: Callable[[Event], None],
        on_perhaps: Callable[[Event], None],
        on_sign: Callable[[], None],
    ) -> None:
        """Listen for one session.

        Args:
            node: has the engines.
            hearing: what is heard.
            transcribing: finds out the words.
            answering: is told what the next answer is to.
            outbox: of the session.
            spawn: begins a task of the session.
            config: the settings that hold.
            on_event: takes what happens in the conversation.
            on_perhaps: the same, for what may change nothing.
            on_sign: told at every sign of life.
        """
        self._node = node
        self._hearing = hearing
        self._transcribing = transcribing
        self._answering = answering
        self._outbox = outbox
        self._config = config
        self._on_event = on_event
        self._on_perhaps = on_perhaps
        self._on_sign = on_sign
        self.listening = Listening(
            node,
            hearing,
            spawn,
            on_started=self._speech_started,
            on_paused=self._speech_paused,
            on_resumed=self._speech_resumed,
            on_ended=self._speech_stopped,
        )
        self._following = Following(node, hearing, spawn, on_words=self._words_are_certain)
        self._drafting = Drafting(
            node,
            transcribing,
            answering,
            self._following,
            spawn,
            on_words=self.listening.read,
            wants_language=self.listening.wants_language,
        )
        self._speech_id = ids.item_id()
        self._buffer_begin = 0  # first sample that the next manual commit takes

    def detect_turns(self) -> None:
        """Take new settings of turn detection; what was going on is forgotten."""
        detection = self._config().turn_detection
        self._drafting.drop()
        self._following.end()
        self._hearing.set_endpoint(endpoint_settings(detection, self._node))
        if detection is None:
            self._on_perhaps(Event.SPEECH_DROPPED)

    def skip_to(self, sample: int) -> None:
        """What was heard until then belongs to a turn that is over."""
        self._buffer_begin = sample

    def close(self) -> None:
        """The session is over."""
        self.listening.stop_watching()
        self._following.end()

    def commit(self) -> None:
        """Make what was heard since the last turn an item, because the client says so.

        Raises:
            InvalidRequest: there is next to nothing.
        """
        begin, end = max(self._buffer_begin, self._hearing.ring.begin), self._hearing.ring.end
        require_enough(end - begin)
        self._on_sign()
        was_speaking = self.listening.drop()
        self._buffer_begin = end
        trace = TurnTrace(self._answering.next_number, self._hearing.moment(end), self._node.clock)
        item_id = self._speech_id if was_speaking else ids.item_id()
        utterance = self._transcribing.hear(item_id, self._hearing.ring.read(begin, end), trace)
        if (followed := self._following.end()) is not None:
            utterance.shown = followed.agreement
        self._transcribing.commit(utterance, transcription=self._shows_words, commit_empty=True)
        self._answering.heard(utterance)
        self._on_perhaps(Event.TURN_KEPT)

    def clear(self) -> None:
        """Forget it, because the client says so."""
        self._buffer_begin = self._hearing.ring.end
        self._following.end()
        if self.listening.drop():
            self._on_perhaps(Event.SPEECH_DROPPED)
        self._outbox.put(out.AudioCleared())

    # ── speech ────────────────────────────────────────────────────────────────────────────────────────

    def _speech_started(self, started: Started) -> None:
        self._on_sign()
        self._speech_id = ids.item_id()
        detection = self._config().turn_detection
        interrupts = detection is not None and detection.interrupt_response
        self._outbox.put(out.SpeechStarted(audio_start_ms=milliseconds(started.start), item_id=self._speech_id))
        if interrupts:
            self._answering.silence(since=self._hearing.voice_began)
        self._on_event(Event.SPEECH_STARTED if interrupts else Event.SPOKE_OVER)
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
        config = response_config(self._config(), None) if self._answers_by_itself() else None
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
            self._answering.prepare(response_config(self._config(), None), utterance)
            self._on_event(Event.TURN_OVER)
        else:
            self._on_event(Event.TURN_KEPT)

    def _answers_by_itself(self) -> bool:
        """Whether the end of the user's turn asks for an answer, or the client will."""
        detection = self._config().turn_detection
        return self._config().kind == "realtime" and (detection is None or detection.create_response)

    @property
    def _shows_words(self) -> bool:
        """Whether the client wants to see what the user said."""
        return self._config().transcription is not None
