"""When the user's turn begins, pauses and ends.

The endpoint decides, the end-of-turn model and the words are its witnesses, and a client that falls silent is noticed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from voiceedge.audio.pcm import PCM
from voiceedge.conversation.endpoint import (
    Acknowledged,
    Decision,
    Ended,
    Endpoint,
    Paused,
    Resumed,
    Started,
    Undecided,
)
from voiceedge.errors import VoiceEdgeError
from voiceedge.session.hear import Hearing
from voiceedge.session.load import THRIFTY_FROM
from voiceedge.session.node import Node
from voiceedge.session.transcribing import Spawn

log = logging.getLogger(__name__)

SILENT_CLIENT_S = 1.5
"""A client that stops sending audio while the user speaks would leave the turn open for ever; after this long on the
wall clock the turn ends. Longer than any stall of a network that can still carry a conversation."""


class Listening:
    """Turns what one session hears into turns of its user."""

    def __init__(
        self,
        node: Node,
        hearing: Hearing,
        spawn: Spawn,
        *,
        on_started: Callable[[Started], None],
        on_paused: Callable[[Paused], None],
        on_resumed: Callable[[], None],
        on_ended: Callable[[Ended], None],
    ) -> None:
        self._node = node
        self._hearing = hearing
        self._spawn = spawn
        self._on_started = on_started
        self._on_paused = on_paused
        self._on_resumed = on_resumed
        self._on_ended = on_ended
        self._guard: asyncio.TimerHandle | None = None
        self._judging: asyncio.Task[None] | None = None

    async def hear(self, data: bytes, *, agent_audible: bool) -> None:
        """Take wire audio; the callbacks are called where it decides something.

        Raises:
            NodeError: voice activity failed; see `Hearing.listen`.
        """
        self.stop_watching()  # a long message takes a while: its audio has come, so the client is not silent
        if self._hearing.endpoint is not None:
            self._hearing.endpoint.is_thrifty = self._node.compute.load >= THRIFTY_FROM
        try:
            async for decision in self._hearing.listen(data, agent_audible=agent_audible):
                self._decided(decision)
        finally:
            self._watch_for_silence()

    def drop(self) -> bool:
        """Forget the turn that is being heard; whether there was one."""
        endpoint = self._hearing.endpoint
        if endpoint is None or not endpoint.is_hearing:
            return False
        was_speaking = endpoint.is_speaking
        endpoint.reset()
        self._on_resumed()
        return was_speaking

    def read(self, pause: int, words: str, whole: float | None, marked: float | None) -> None:
        """Take what was said up to a pause, and how likely a sentence ends there; the turn may end at once.

        By the language model, `whole`, and by speech-to-text, `marked`: see `Endpoint.read`.
        """
        endpoint = self._hearing.endpoint
        for decision in endpoint.read(pause, words, whole, marked) if endpoint is not None else ():
            self._decided(decision)

    def wants_language(self, pause: int, words: str) -> bool:
        """Whether how likely a sentence ends there could change anything."""
        endpoint = self._hearing.endpoint
        return endpoint is not None and endpoint.wants_language(pause, words)

    def expire(self) -> None:
        """Nothing more comes: the turn that is being heard is over."""
        self.stop_watching()
        endpoint = self._hearing.endpoint
        for decision in endpoint.expire() if endpoint is not None else ():
            self._decided(decision)

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """While the client is made to wait: then it has not fallen silent."""
        self.stop_watching()
        try:
            yield
        finally:
            self._watch_for_silence()

    def stop_watching(self) -> None:
        """Do not end the turn because nothing more comes."""
        if self._guard is not None:
            self._guard.cancel()
            self._guard = None

    def _decided(self, decision: Decision) -> None:
        if isinstance(decision, Resumed | Acknowledged | Ended):
            self._stop_judging()
        match decision:
            case Started():
                self._on_started(decision)
            case Paused():
                self._on_paused(decision)
            case Undecided():
                endpoint = self._hearing.endpoint
                assert endpoint is not None
                audio = self._hearing.ring.read(decision.start, decision.end)
                self._judging = self._spawn(self._judge(endpoint, decision, audio), "end of turn")
            case Resumed() | Acknowledged():
                self._on_resumed()
            case Ended():
                self._on_ended(decision)

    async def _judge(self, endpoint: Endpoint, undecided: Undecided, audio: PCM) -> None:
        """Ask the end-of-turn model about a pause; without its answer the turn ends by silence alone."""
        try:
            probability = await self._node.compute.run(
                lambda: self._node.engines.end_of_turn.probability(audio),
                deadline=self._hearing.moment(undecided.end),
                name="end of turn",
            )
        except VoiceEdgeError as error:
            log.warning("The end-of-turn model failed; silence alone decides. %s", error)
            return
        if endpoint is self._hearing.endpoint:  # else the client has changed how turns are detected
            for decision in endpoint.judge(undecided.pause, probability):
                self._decided(decision)

    def _stop_judging(self) -> None:
        """The pause is over: what still waits for a thread is not asked any more."""
        task, self._judging = self._judging, None
        if task is not None and task is not asyncio.current_task():  # it may have ended the turn itself
            task.cancel()

    def _watch_for_silence(self) -> None:
        self.stop_watching()
        endpoint = self._hearing.endpoint
        if endpoint is not None and endpoint.is_hearing:
            loop = asyncio.get_running_loop()
            self._guard = loop.call_later(SILENT_CLIENT_S, self.expire)
