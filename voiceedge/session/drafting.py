"""What is done while it is still being decided whether the user's turn is over.

The words are found out and an answer is made to them, behind a gate. Nothing of it is visible to anybody until the turn
is over; if the user goes on, all of it is dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from voiceedge.errors import VoiceEdgeError
from voiceedge.protocol.response_config import ResponseConfig
from voiceedge.session.answering import Answering
from voiceedge.session.node import Node
from voiceedge.session.transcribing import Spawn, Transcribing
from voiceedge.session.turn import Utterance

log = logging.getLogger(__name__)

READ_LANGUAGE = "en"
"""What `conversation/ending.py` can read; in other languages silence and the end-of-turn model decide."""


class Drafting:
    """Drafts for one session: at most one at a time, for the pause that the user makes now."""

    def __init__(
        self,
        node: Node,
        transcribing: Transcribing,
        answering: Answering,
        spawn: Spawn,
        *,
        on_words: Callable[[int, str, float | None], None],
    ) -> None:
        """`on_words` takes (pause, words, probability that a sentence ends there); it may end the turn."""
        self._node = node
        self._transcribing = transcribing
        self._answering = answering
        self._spawn = spawn
        self._on_words = on_words
        self._utterance: Utterance | None = None

    def begin(self, pause: int, utterance: Utterance, config: ResponseConfig | None) -> None:
        """Listen to what has been said so far and answer it; `config` is None where nobody asks for an answer.

        The words are needed to tell whether the turn is over. An answer lives on idle time: when somebody waits for
        an engine, none is drafted.
        """
        self.drop()
        utterance.is_over = False
        self._utterance = utterance
        self._transcribing.listen(utterance)
        self._spawn(self._answer(pause, utterance, config), "draft")

    def take(self) -> Utterance | None:
        """The turn is over: hand over what was listened to, if there is anything."""
        utterance, self._utterance = self._utterance, None
        if utterance is not None:
            utterance.is_over = True
            utterance.trace.facts["speculated"] = 1
        return utterance

    def drop(self) -> None:
        """The user goes on."""
        utterance, self._utterance = self._utterance, None
        if utterance is not None:
            if utterance.listening is not None:
                utterance.listening.cancel()
            utterance.words.cancel()  # the task may not even have begun
            self._answering.drop_draft()
            self._answering.waste(utterance.trace)

    async def _answer(self, pause: int, utterance: Utterance, config: ResponseConfig | None) -> None:
        await asyncio.wait([utterance.words])
        if self._utterance is not utterance:
            return
        try:
            words = utterance.words.result()
        except VoiceEdgeError as error:
            log.debug("the draft has no words: %s", error)  # the client is told if the turn ends here
            return
        if words and config is not None and not self._node.compute.is_busy:
            self._answering.draft(config, utterance, words)
        if self._node.names.language != READ_LANGUAGE:
            return
        whole = await self._whole(words)
        if self._utterance is utterance:
            self._on_words(pause, words, whole)

    async def _whole(self, words: str) -> float | None:
        """Ask what language makes of the words; without its answer they are judged by their last ones."""
        sentence_end, clock = self._node.engines.sentence_end, self._node.clock
        if sentence_end is None or not words:
            return None
        try:
            return await self._node.compute.run(
                lambda: sentence_end.probability(words), deadline=clock(), name="sentence end"
            )
        except VoiceEdgeError as error:
            log.warning("Nobody can tell whether a sentence has ended. %s", error)
            return None
