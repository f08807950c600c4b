"""What is done while it is still being decided whether the user's turn is over.

The words are found out and an answer is made to them, behind a gate. Nothing of it is visible to anybody until the turn
is over; if the user goes on, all of it is dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from voiceedge.conversation.ending import Ending, ending
from voiceedge.errors import VoiceEdgeError
from voiceedge.protocol.response_config import ResponseConfig
from voiceedge.session.answering import Answering
from voiceedge.session.following import Followed, Following
from voiceedge.session.load import ANSWERS_BELOW, THRIFTY_FROM
from voiceedge.session.node import Node
from voiceedge.session.transcribing import Spawn, Transcribing
from voiceedge.session.turn import Utterance

log = logging.getLogger(__name__)

READ_LANGUAGE = "en"
"""What `conversation/ending.py` can read; in other languages silence and the end-of-turn model decide."""
MAY_END = frozenset({Ending.UNCLEAR, Ending.WHOLE, Ending.BRIEF})
"""After all others so much silence is waited for that there is time to answer them then."""


class Drafting:
    """Drafts for one session: at most one at a time, for the pause that the user makes now."""

    def __init__(
        self,
        node: Node,
        transcribing: Transcribing,
        answering: Answering,
        following: Following,
        spawn: Spawn,
        *,
        on_words: Callable[[int, str, float | None, float | None], None],
        wants_language: Callable[[int, str], bool],
    ) -> None:
        """Draft for whoever knows about the user's turn.

        Args:
            node: has the engines.
            transcribing: finds out the words.
            answering: makes the answer.
            following: what is known of the words before, and learns what becomes known.
            spawn: begins a task of the session.
            on_words: takes (pause, words, probability that a sentence ends there by the language model, the same by
                speech-to-text); it may end the turn.
            wants_language: whether that probability could change anything, by (pause, words).
        """
        self._node = node
        self._transcribing = transcribing
        self._answering = answering
        self._following = following
        self._spawn = spawn
        self._on_words = on_words
        self._wants_language = wants_language
        self._utterance: Utterance | None = None
        self._followed: Followed | None = None  # what was known when it began
        self._task: asyncio.Task[None] | None = None

    def begin(self, pause: int, utterance: Utterance, config: ResponseConfig | None) -> None:
        """Listen to what has been said so far and answer it; `config` is None where nobody asks for an answer.

        The words are needed to tell whether the turn is over. An answer lives on idle time: when an engine is
        waited for by somebody who is due sooner, none is drafted.
        """
        self.drop()
        if (followed := self._following.pause()) is not None:
            utterance.earlier = followed.segments
        utterance.is_over = False
        self._utterance, self._followed = utterance, followed
        self._transcribing.listen(utterance)
        self._task = self._spawn(self._answer(pause, utterance, config), "draft")

    def take(self) -> Utterance | None:
        """The turn is over: hand over what was listened to, if there is anything."""
        utterance = self._leave()
        if utterance is not None:
            utterance.is_over = True
            utterance.trace.facts["speculated"] = 1
        return utterance

    def drop(self) -> None:
        """The user goes on; what has been understood is remembered, and so is what a step in flight finds out."""
        followed, utterance = self._followed, self._leave()
        if utterance is not None:
            if utterance.listening is not None:
                utterance.listening.add_done_callback(lambda _: self._following.learn(followed, utterance.heard))
                utterance.listening.cancel()
            utterance.words.cancel()  # the task may not even have begun
            self._answering.drop_draft()
            self._answering.waste(utterance.trace)

    def _leave(self) -> Utterance | None:
        """Ask nobody any more whether the turn is over."""
        utterance, self._utterance = self._utterance, None
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():  # it may have ended the turn itself
            task.cancel()
        return utterance

    async def _answer(self, pause: int, utterance: Utterance, config: ResponseConfig | None) -> None:
        await asyncio.wait([utterance.words])
        if self._utterance is not utterance:
            return
        try:
            words = utterance.words.result()
        except VoiceEdgeError as error:
            log.debug("the draft has no words: %s", error)  # the client is told if the turn ends here
            return
        if words and config is not None and self._is_worth_an_answer(words, utterance.deadline()):
            self._answering.draft(config, utterance, words)
        if self._node.names.language != READ_LANGUAGE:
            return
        whole = await self._whole(words) if self._wants_language(pause, words) else None
        if self._utterance is utterance:
            self._on_words(pause, words, whole, utterance.heard[-1].marked if utterance.heard else None)

    def _is_worth_an_answer(self, words: str, due: float) -> bool:
        """Whether the CPU can be spared for an answer that may be for nothing, and is due then."""
        compute = self._node.compute
        if compute.is_busy(before=due) or compute.load >= ANSWERS_BELOW:
            return False
        is_read = self._node.names.language == READ_LANGUAGE
        return compute.load < THRIFTY_FROM or not is_read or ending(words) in MAY_END

    async def _whole(self, words: str) -> float | None:
        """Ask what language makes of the words; without its answer they are judged by their last ones."""
        sentence_end, clock = self._node.engines.sentence_end, self._node.clock
        if sentence_end is None:
            return None
        try:
            return await self._node.compute.run(
                lambda: sentence_end.probability(words), deadline=clock(), name="sentence end"
            )
        except VoiceEdgeError as error:
            log.warning("Nobody can tell whether a sentence has ended. %s", error)
            return None
