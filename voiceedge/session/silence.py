"""A user who stays silent after an answer: that is a turn as well, if the client wants to know of it."""

from __future__ import annotations

from collections.abc import Callable

from voiceedge.protocol import ids
from voiceedge.protocol import server_events as out
from voiceedge.protocol.response_config import response_config
from voiceedge.protocol.session_config import SessionConfig
from voiceedge.session.answering import Answering
from voiceedge.session.hear import Hearing, milliseconds
from voiceedge.session.idle import Idle
from voiceedge.session.node import Node
from voiceedge.session.outbox import Outbox
from voiceedge.session.transcribing import Transcribing
from voiceedge.trace import TurnTrace

SILENCE = "The user has been silent for a while. Find out in one short sentence whether they are still there."
"""Instructions for the answer to `idle_timeout_ms`; to a model that reads, silence is nothing at all."""
MOST_IN_A_ROW = 3
"""Silences that are answered one after the other. It is the one thing that the node begins by itself: without an end
it would talk to an empty room for as long as the session lasts."""


class Silence:
    """One session's silences."""

    def __init__(
        self,
        node: Node,
        hearing: Hearing,
        transcribing: Transcribing,
        answering: Answering,
        outbox: Outbox,
        *,
        config: Callable[[], SessionConfig],
        is_awaited: Callable[[], bool],
        on_turn: Callable[[int], None],
    ) -> None:
        """Prepare.

        Args:
            node: has the clock.
            hearing: knows whether somebody is beginning to speak.
            transcribing: makes the silence an item.
            answering: knows how much of the last answer is still to be played, and makes the next.
            outbox: of the session.
            config: the settings that hold.
            is_awaited: whether it is the user's turn.
            on_turn: takes the sample at which the silent turn ends; the answer is prepared.
        """
        self._node = node
        self._hearing = hearing
        self._transcribing = transcribing
        self._answering = answering
        self._outbox = outbox
        self._config = config
        self._is_awaited = is_awaited
        self._on_turn = on_turn
        self._in_a_row = 0
        self._timer = Idle(lambda: hearing.ring.end, self._stayed_silent)

    def begin(self) -> None:
        """Begin to wait for the user, if the client wants to know when nothing comes."""
        detection = self._config().turn_detection
        if self._in_a_row >= MOST_IN_A_ROW or not self._is_awaited() or detection is None:
            return
        if detection.idle_timeout_ms is not None:
            self._timer.begin(detection.idle_timeout_ms, after_s=self._answering.unplayed_s)

    def stop(self) -> None:
        """Somebody has the floor."""
        self._timer.stop()

    def broken(self) -> None:
        """Somebody is there: the user has said something, or the client."""
        self.stop()
        self._in_a_row = 0

    def close(self) -> None:
        """The session is over."""
        self._timer.close()

    def _stayed_silent(self, begin: int) -> None:
        """The user has said nothing since `begin`: that is a turn as well."""
        endpoint, end = self._hearing.endpoint, self._hearing.ring.end
        if endpoint is not None and endpoint.is_hearing:
            self.begin()  # perhaps somebody is beginning to speak
            return
        self._in_a_row += 1
        item_id, config, clock = ids.item_id(), self._config(), self._node.clock
        start_ms, end_ms = milliseconds(begin), milliseconds(end)
        self._outbox.put(out.TimeoutTriggered(audio_start_ms=start_ms, audio_end_ms=end_ms, item_id=item_id))
        trace = TurnTrace(self._answering.next_number, clock(), clock)
        silence = self._transcribing.hear(item_id, self._hearing.ring.read(end, end), trace)
        self._transcribing.commit(silence, transcription=config.transcription is not None, commit_empty=True)
        self._answering.heard(silence)
        self._answering.prepare(response_config(config, {"instructions": SILENCE}), None)
        self._on_turn(end)
