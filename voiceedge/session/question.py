"""What a response answers: the conversation, or what its client has put in its place."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from voiceedge.audio.pcm import PCM
from voiceedge.conversation.history import History, Item, UnknownItem
from voiceedge.errors import InvalidRequest
from voiceedge.protocol.items import Item as WireItem
from voiceedge.protocol.items import ItemReference
from voiceedge.session.items import audio_in, from_wire
from voiceedge.session.transcribing import Transcribing
from voiceedge.trace import Clock, TurnTrace


class Question:
    """What one response answers, and the words of it that are still being made out."""

    def __init__(
        self,
        entries: Sequence[WireItem | ItemReference] | None,
        history: History,
        transcribing: Transcribing,
        *,
        wire_format: str,
        clock: Clock,
    ) -> None:
        """Take what `response.create` carried; None stands for the conversation as it will be.

        Args:
            entries: items, and references to items of the conversation.
            history: the conversation; never changed here.
            transcribing: makes out what is said in the items.
            wire_format: of the items' audio.
            clock: seconds.

        Raises:
            InvalidRequest: a reference to an item that is not there, or audio that is not base64.
        """
        self._history = history
        self._transcribing = transcribing
        self._entries: list[Item | str] | None = None
        speech: dict[str, PCM] = {}
        for index, entry in enumerate(entries or ()):
            if isinstance(entry, ItemReference):
                _require(entry, history, index)
            elif (base64 := audio_in(entry)) is not None:
                speech[entry.id] = transcribing.decode(base64, wire_format)
        # only now: what is refused waits for no words
        self._utterances = {
            item_id: transcribing.hear(item_id, audio, TurnTrace(0, clock(), clock))
            for item_id, audio in speech.items()
        }
        if entries is not None:
            self._entries = [entry.id if isinstance(entry, ItemReference) else from_wire(entry) for entry in entries]
        for utterance in self._utterances.values():
            transcribing.listen(utterance)

    async def history(self) -> History:
        """A history of its own, once its words are known. Items that were deleted meanwhile are not in it.

        Raises:
            NodeError: its speech could not be transcribed.
        """
        await self._transcribing.settled()
        if self._entries is None:
            return History(list(self._history.items), set(self._history.forgotten))
        if self._utterances:
            await asyncio.wait([utterance.words for utterance in self._utterances.values()])
        known = {item.id: item for item in self._history.items}
        items = [known.get(entry) if isinstance(entry, str) else self._heard(entry) for entry in self._entries]
        return History([item for item in items if item is not None])

    def _heard(self, item: Item) -> Item:
        utterance = self._utterances.get(item.id)
        return item if utterance is None else replace(item, text=utterance.words.result())


def speech_in(entries: Sequence[WireItem | ItemReference] | None) -> list[str]:
    """What is said in them, as base64."""
    items = [entry for entry in entries or () if not isinstance(entry, ItemReference)]
    return [base64 for item in items if (base64 := audio_in(item)) is not None]


def _require(reference: ItemReference, history: History, index: int) -> None:
    try:
        history.get(reference.id)
    except UnknownItem as error:
        raise InvalidRequest(str(error), param=f"response.input[{index}].id") from error
