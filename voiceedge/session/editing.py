"""What a client does to the items of its conversation: create, retrieve, truncate and delete them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from voiceedge.conversation.history import DuplicateItem, History, Item, UnknownItem
from voiceedge.errors import Refused
from voiceedge.protocol import server_events as out
from voiceedge.protocol.client_events import CreateItem, DeleteItem, RetrieveItem, TruncateItem
from voiceedge.protocol.items import parse_item
from voiceedge.protocol.session_config import SessionConfig
from voiceedge.session.answering import Answering
from voiceedge.session.items import audio_in, from_wire, to_wire
from voiceedge.session.outbox import Outbox
from voiceedge.session.transcribing import Transcribing
from voiceedge.trace import Clock, TurnTrace

Admit = Callable[[Sequence[str], str], Awaitable[None]]
"""Lets speech in that the client has written as base64, in the field that is named; may wait, and raises `CallerError`
where it may not be listened to."""
log = logging.getLogger(__name__)


class Editing:
    """Edits the history of one session for its client."""

    def __init__(
        self,
        history: History,
        outbox: Outbox,
        transcribing: Transcribing,
        answering: Answering,
        clock: Clock,
        *,
        admit: Admit,
    ) -> None:
        self._history = history
        self._outbox = outbox
        self._transcribing = transcribing
        self._answering = answering
        self._clock = clock
        self._admit = admit

    async def create(self, event: CreateItem, config: SessionConfig) -> None:
        """Add an item; speech in it is transcribed, once it is let in.

        Raises:
            CallerError: the item does not fit, its id is taken, or the item before it is not here; or its client has
                sent all the audio that it may.
        """
        wire = parse_item(event.item)
        item = from_wire(wire)
        base64 = audio_in(wire)
        audio = None
        if base64 is not None:
            await self._admit([base64], "item.content")
            audio = self._transcribing.decode(base64, config.input_format.type)
        try:
            before = self._history.insert(item, event.previous_item_id)
        except DuplicateItem as error:
            raise Refused(str(error), code="item_create_duplicate_item_id", param="item.id") from error
        except UnknownItem as error:
            raise Refused(str(error), code="item_create_invalid_previous_item_id", param="previous_item_id") from error
        self._outbox.put(out.ItemAdded(item=to_wire(item), previous_item_id=before))
        self._outbox.put(out.ItemDone(item=to_wire(item), previous_item_id=before))
        if audio is not None:
            trace = TurnTrace(self._answering.next_number, self._clock(), self._clock)
            utterance = self._transcribing.hear(item.id, audio, trace)
            self._transcribing.fill(utterance, item, transcription=config.transcription is not None)
            self._answering.heard(utterance)

    def retrieve(self, event: RetrieveItem) -> None:
        """Send an item back.

        Raises:
            Refused: there is none of that id.
        """
        self._outbox.put(out.ItemRetrieved(item=to_wire(self._find(event.item_id, "retrieve"))))

    def truncate(self, event: TruncateItem) -> None:
        """Keep of an answer what was heard."""
        self._answering.publish()
        try:
            item = self._history.truncate(event.item_id, event.audio_end_ms)
        except UnknownItem:
            # pipecat and LiveKit still truncate what they played when they have connected anew, and pipecat hangs up
            # on an error; nothing of an item that is not here is in the context, so it is as they want it
            log.debug("a truncate of an unknown item is ignored")
            return
        self._outbox.put(
            out.ItemTruncated(
                item_id=event.item_id, content_index=event.content_index, audio_end_ms=int(item.heard_ms or 0)
            )
        )

    def delete(self, event: DeleteItem) -> None:
        """Take an item out.

        Raises:
            Refused: there is none of that id.
        """
        self._find(event.item_id, "delete")
        self._history.delete(event.item_id)
        self._outbox.put(out.ItemDeleted(item_id=event.item_id))

    def _find(self, item_id: str, what: str) -> Item:
        self._answering.publish()
        try:
            return self._history.get(item_id)
        except UnknownItem as error:
            raise Refused(str(error), code=f"item_{what}_invalid_item_id", param="item_id") from error
