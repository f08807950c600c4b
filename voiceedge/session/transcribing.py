"""From an utterance to its words, in the order in which utterances were spoken.

What voice activity took for speech becomes an item only if there are words in it: noise is dropped before anything of
it is committed. What the client commits by hand becomes an item in any case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

import pybase64

from voiceedge.audio.codec import codec
from voiceedge.audio.pcm import PCM
from voiceedge.audio.resample import resample
from voiceedge.conversation.history import History, Item
from voiceedge.engines import LISTENING_RATE_HZ, Segment
from voiceedge.errors import InvalidRequest, Refused, VoiceEdgeError
from voiceedge.protocol import server_events as out
from voiceedge.protocol.usage import DurationUsage
from voiceedge.session.hear import KEPT_S
from voiceedge.session.items import to_wire
from voiceedge.session.node import Node
from voiceedge.session.outbox import Outbox
from voiceedge.session.turn import Utterance
from voiceedge.trace import TurnTrace

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]

AT_ONCE = 2
"""Utterances of one session that are listened to at a time: one that somebody waits for, and a draft whose last step
cannot be interrupted, or the one before."""
MOST_WAITING = 16
"""Utterances of one session that wait for their words; with more, nothing is read from its client until some are known.
A user who talks has one or two, somebody who commits every second to a node that stalls a dozen."""
LATER_S = 1.0
"""How much later than when its turn comes an utterance is due that had to wait for others of its session: a
conversation that is replayed is less urgent than somebody who has just spoken."""


class Transcribing:
    """The words of one session's user."""

    def __init__(self, node: Node, history: History, outbox: Outbox, spawn: Spawn) -> None:
        self._node = node
        self._history = history
        self._outbox = outbox
        self._spawn = spawn
        self._last: asyncio.Task[None] | None = None
        self._waiting = 0  # utterances whose words are not known yet
        self._waiting_samples = 0  # of them
        self._fewer_wait = asyncio.Event()
        self._streams = asyncio.Semaphore(AT_ONCE)

    def hear(self, item_id: str, audio: PCM, trace: TurnTrace) -> Utterance:
        """An utterance whose words are not known yet."""
        utterance = Utterance(item_id, audio, trace, asyncio.get_running_loop().create_future())
        utterance.words.add_done_callback(_seen)
        self._waiting += 1
        self._waiting_samples += audio.size
        utterance.words.add_done_callback(partial(self._heard, audio.size))
        return utterance

    def listen(self, utterance: Utterance) -> None:
        """Find out the words, unless that has begun already."""
        if utterance.listening is None:
            utterance.listening = self._spawn(self._listen(utterance), "transcribe")

    def commit(self, utterance: Utterance, *, transcription: bool, commit_empty: bool) -> None:
        """Make an utterance an item as soon as it has words; `commit_empty` makes it one at once.

        `transcription` says whether the client wants to see the words; those in `utterance.shown` it has seen.
        """
        item = Item(utterance.item_id, "message", "user", None, modality="audio")
        if commit_empty:
            self._commit(item)
        self._follow(utterance, item, committed=commit_empty, transcription=transcription)

    def fill(self, utterance: Utterance, item: Item, *, transcription: bool) -> None:
        """Give an item that the client made the words of its speech."""
        self._follow(utterance, item, committed=True, transcription=transcription)

    async def settled(self) -> None:
        """Wait until the words of all that has been said are known."""
        if self._last is not None:
            await asyncio.wait([self._last])

    async def room(self, seconds: float = 0.0, *, param: str | None = None) -> None:
        """Wait until there is room for so much more speech whose words are not known.

        Whoever sends more than can be listened to is not read any further, and waits by TCP: a client that replays a
        long conversation loses nothing of it.

        Args:
            seconds: of the speech that comes at once; 0 where that is not known yet.
            param: the field that it is in.

        Raises:
            Refused: it is more than a user could have said.
        """
        if seconds > KEPT_S:
            raise Refused(
                f"The speech in one message may be {KEPT_S} s long, and is {seconds:.0f} s.",
                code="too_much_audio",
                param=param,
            )
        while self._waiting >= MOST_WAITING or (self._waiting and self._waiting_s + seconds > KEPT_S):
            self._fewer_wait.clear()
            await self._fewer_wait.wait()

    @property
    def _waiting_s(self) -> float:
        return self._waiting_samples / LISTENING_RATE_HZ

    def decode(self, base64: str, wire_format: str) -> PCM:
        """The audio of an item that the client made, at 16 kHz.

        Raises:
            InvalidRequest: it is not base64.
        """
        form = codec(wire_format)
        try:
            data = pybase64.b64decode(base64, validate=True)
        except ValueError as error:
            raise InvalidRequest("Invalid 'item.content.audio': not valid base64.", param="item.content") from error
        return resample(form.decoder().decode(data), form.rate_hz, LISTENING_RATE_HZ)

    def _follow(self, utterance: Utterance, item: Item, *, committed: bool, transcription: bool) -> None:
        self.listen(utterance)
        work = self._tell_in_turn(utterance, item, self._last, committed=committed, transcription=transcription)
        self._last = utterance.told = self._spawn(work, "tell the words")

    async def _tell_in_turn(
        self,
        utterance: Utterance,
        item: Item,
        before: asyncio.Task[None] | None,
        *,
        committed: bool,
        transcription: bool,
    ) -> None:
        """Tell the client and the history what was said, in the order in which it was said."""
        if before is not None:
            await asyncio.wait([before])
        await asyncio.wait([utterance.words])
        try:
            words = utterance.words.result()
        except VoiceEdgeError as error:
            if not committed:
                self._commit(item)
            if transcription:
                self._outbox.put(out.transcription_failed(item.id, error))
            return
        if words and not committed:
            self._commit(item)
        self._history.update(replace(item, text=words))
        if transcription and (words or committed):
            self._tell(utterance, words)

    async def _listen(self, utterance: Utterance) -> None:
        try:
            words = await self._words(utterance)
        except VoiceEdgeError as error:
            utterance.words.set_exception(error)
        except asyncio.CancelledError:
            utterance.words.cancel()
            raise
        else:
            utterance.words.set_result(words)

    async def _words(self, utterance: Utterance) -> str:
        """Find out what was said, when those before it leave room.

        However much one session has to be listened to, it is no more urgent than what others have said meanwhile: the
        words are due when it is its turn among its session's own, and those of its next window when the last are known.

        Raises:
            NodeError: it could not be found out.
        """
        trace, clock, texts = utterance.trace, self._node.clock, []
        had_to_wait = self._streams.locked()
        segments = self._node.compute.stream(
            lambda: _kept(self._node.engines.stt.steps(utterance.audio, utterance.earlier), utterance.heard),
            deadline=utterance.deadline,
            trace=trace,
            name="stt",
        )
        async with self._streams, self._node.turn(), aclosing(segments) as heard:
            if had_to_wait:
                utterance.not_before = clock() + LATER_S
            trace.mark("stt_started")
            async for segment in heard:
                if segment is not None:
                    texts.append(segment.text.strip())
                    utterance.not_before = max(utterance.not_before, clock())
        trace.mark("stt_final")
        return " ".join(text for text in texts if text)

    def _heard(self, samples: int, _words: asyncio.Future[str]) -> None:
        self._waiting -= 1
        self._waiting_samples -= samples
        self._fewer_wait.set()

    def _commit(self, item: Item) -> None:
        before = self._history.insert(item)
        wire = to_wire(item)
        self._outbox.put(out.AudioCommitted(item_id=item.id, previous_item_id=before))
        self._outbox.put(out.ItemAdded(item=wire, previous_item_id=before))
        self._outbox.put(out.ItemDone(item=wire, previous_item_id=before))

    def _tell(self, utterance: Utterance, words: str) -> None:
        rest = utterance.shown.finish(words)
        if rest:  # where it contradicts what was shown, the completed transcript tells the client
            self._outbox.put(out.TranscriptionDelta(item_id=utterance.item_id, delta=rest))
        seconds = len(utterance.audio) / LISTENING_RATE_HZ
        self._outbox.put(
            out.TranscriptionCompleted(
                item_id=utterance.item_id, transcript=words, usage=DurationUsage(seconds=round(seconds, 3))
            )
        )


def _kept(steps: Iterator[Segment | None], heard: list[Segment]) -> Iterator[Segment | None]:
    """Pass `steps` on; the segment of one in flight, which nobody waits for any more, is kept as well."""
    for segment in steps:
        if segment is not None:
            heard.append(segment)
        yield segment


def _seen(words: asyncio.Future[str]) -> None:
    """Nobody has to ask for the words: a failure has been told to the client already."""
    if not words.cancelled():
        words.exception()
