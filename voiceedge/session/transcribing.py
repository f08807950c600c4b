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


class Transcribing:
    """The words of one session's user."""

    def __init__(self, node: Node, history: History, outbox: Outbox, spawn: Spawn) -> None:
        self._node = node
        self._history = history
        self._outbox = outbox
        self._spawn = spawn
        self._last: asyncio.Task[None] | None = None
        self._waiting_samples = 0  # of speech whose words are not known yet

    def hear(self, item_id: str, audio: PCM, trace: TurnTrace) -> Utterance:
        """An utterance whose words are not known yet."""
        utterance = Utterance(item_id, audio, trace, asyncio.get_running_loop().create_future())
        utterance.words.add_done_callback(_seen)
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

    def decode(self, base64: str, wire_format: str) -> PCM:
        """The audio of an item that the client made, at 16 kHz.

        Raises:
            InvalidRequest: it is not base64.
            Refused: together with what still waits for its words it is more than a user could have said.
        """
        form = codec(wire_format)
        waiting_s = self._waiting_samples / LISTENING_RATE_HZ + form.seconds(len(base64) * 3 // 4)
        if waiting_s > KEPT_S:
            raise Refused(
                f"The speech that waits for its words may be {KEPT_S} s long, and would be {waiting_s:.0f} s.",
                code="too_much_audio",
                param="item.content",
            )
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
        trace = utterance.trace
        trace.mark("stt_started")
        segments = self._node.compute.stream(
            lambda: _kept(self._node.engines.stt.steps(utterance.audio, utterance.earlier), utterance.heard),
            deadline=utterance.deadline,
            trace=trace,
            name="stt",
        )
        try:
            async with self._node.turn(), aclosing(segments) as heard:
                texts = [segment.text.strip() async for segment in heard if segment is not None]
        except VoiceEdgeError as error:
            utterance.words.set_exception(error)
            return
        except asyncio.CancelledError:
            utterance.words.cancel()
            raise
        trace.mark("stt_final")
        utterance.words.set_result(" ".join(text for text in texts if text))

    def _heard(self, samples: int, _words: asyncio.Future[str]) -> None:
        self._waiting_samples -= samples

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
