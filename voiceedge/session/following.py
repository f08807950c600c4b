"""What the user has said so far, while they are still speaking.

The client sees the words on which successive hypotheses agree; the LLM prefills them; the transcript of the whole
utterance begins with the last hypothesis. All of it is done in idle time: a busy node goes without, but for what is
found out in pauses anyway.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from voiceedge.conversation.agreement import Agreement
from voiceedge.engines import Segment
from voiceedge.errors import VoiceEdgeError
from voiceedge.session.hear import Hearing
from voiceedge.session.load import FOLLOWS_BELOW
from voiceedge.session.node import Node
from voiceedge.session.transcribing import Spawn
from voiceedge.trace import TurnTrace

log = logging.getLogger(__name__)

INTERVAL_S = 1.0
"""Between two hypotheses: two to four words more, which is what a caption grows by."""
SHARE = 0.15
"""Of its time that a session may spend on hypotheses: the interval grows with what one costs."""
LATER_S = 2.0
"""How much later than a turn's words a hypothesis is due."""
LONGEST_S = 25.0
"""Of the audio of a hypothesis: a longer one would not fit one window of speech-to-text."""


@dataclass(slots=True)
class Followed:
    """What is known of one utterance."""

    start: int
    """First sample of the audio."""
    since: float
    """When the last hypothesis was made, or the user began to speak."""
    trace: TurnTrace
    """What hypotheses cost."""
    agreement: Agreement = field(default_factory=Agreement)
    segments: Sequence[Segment] = ()
    """The last hypothesis."""


class Following:
    """Follows one session's user."""

    def __init__(self, node: Node, hearing: Hearing, spawn: Spawn, *, on_words: Callable[[str, str], None]) -> None:
        """`on_words` takes the words that have become certain since the last time, and all that are."""
        self._node = node
        self._hearing = hearing
        self._spawn = spawn
        self._on_words = on_words
        self._task: asyncio.Task[None] | None = None
        self._followed: Followed | None = None
        self._is_paused = False

    def begin(self, start: int) -> None:
        """The user speaks, from this sample on."""
        self.end()
        if self._node.draft_after_ms is None:
            return  # nothing is done before it is asked for
        self._is_paused = False
        begun = self._node.clock()
        self._followed = Followed(start, begun, TurnTrace(0, begun, self._node.clock))
        self._task = self._spawn(self._follow(self._followed), "follow")

    def end(self) -> Followed | None:
        """The user has spoken: say what is known."""
        if self._task is not None:
            self._task.cancel()
        followed, self._task, self._followed = self._followed, None, None
        return followed

    def pause(self) -> Followed | None:
        """The user is silent, and the words so far will be found out by others: say what is known of them."""
        self._is_paused = True
        return self._followed

    def go_on(self) -> None:
        """The user speaks again."""
        self._is_paused = False

    def learn(self, followed: Followed | None, segments: Sequence[Segment]) -> None:
        """Take what a pause has told as a hypothesis; nothing, if that utterance is over."""
        if followed is not None and followed is self._followed and any(segment.text for segment in segments):
            self._take(followed, segments)

    async def _follow(self, followed: Followed) -> None:
        interval_s = INTERVAL_S
        while True:
            await asyncio.sleep(interval_s)
            end, begun = self._hearing.ring.end, self._node.clock()
            is_known = begun - followed.since < interval_s / 2  # a pause has told the words
            is_too_long = end - followed.start > LONGEST_S * self._hearing.ring.rate_hz
            if self._is_paused or is_known or is_too_long or self._is_busy:
                continue
            try:
                segments = await self._hypothesis(followed, end)
            except VoiceEdgeError as error:
                log.debug("no hypothesis: %s", error)  # the client is told when the utterance itself fails
                return
            interval_s = max(INTERVAL_S, (self._node.clock() - begun) / SHARE)
            if followed.since < begun:  # else a pause has told more, meanwhile
                self._take(followed, segments)

    @property
    def _is_busy(self) -> bool:
        compute = self._node.compute
        return compute.is_busy(before=self._node.clock() + LATER_S) or compute.load >= FOLLOWS_BELOW

    def _take(self, followed: Followed, segments: Sequence[Segment]) -> None:
        followed.segments, followed.since = segments, self._node.clock()
        delta = followed.agreement.push(" ".join(segment.text for segment in segments if segment.text))
        if delta:
            self._on_words(delta, followed.agreement.said)

    async def _hypothesis(self, followed: Followed, end: int) -> list[Segment]:
        audio, stt = self._hearing.ring.read(followed.start, end), self._node.engines.stt
        due = self._node.clock() + LATER_S
        steps = self._node.compute.stream(
            lambda: stt.steps(audio, followed.segments), deadline=lambda: due, trace=followed.trace, name="stt"
        )
        async with aclosing(steps) as heard:
            return [segment async for segment in heard if segment is not None and segment.text]
