"""An answer on its way to the client: each part becomes wire events, and items of the conversation."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable

from voiceedge.conversation.history import FunctionCall, History, Item
from voiceedge.conversation.text import Clause
from voiceedge.engines import CallClosed, CallOpened, CallPiece, Finished, Piece
from voiceedge.protocol import ids
from voiceedge.protocol.lifecycle import COMPLETED, INCOMPLETE, Outcome
from voiceedge.protocol.server_events import ServerEvent
from voiceedge.session.making import Part, Sound
from voiceedge.session.outbox import Outbox
from voiceedge.session.turn import Turn
from voiceedge.session.voice import Voice


class Delivery:
    """Delivers one answer: a message, if there is anything to say, and then the calls."""

    def __init__(
        self,
        turn: Turn,
        history: History,
        outbox: Outbox,
        tts_rate_hz: int,
        *,
        on_message: Callable[[], None],
        on_audio: Callable[[], None],
    ) -> None:
        """Prepare; `on_message` is called before a message is begun, `on_audio` before the first audio is sent."""
        self._turn = turn
        self._history = history
        self._outbox = outbox
        self._tts_rate_hz = tts_rate_hz
        self._on_message = on_message
        self._voice = Voice(turn, outbox, tts_rate_hz, on_audio)
        self._loose: list[tuple[int, str]] = []  # tokens that stand before the first item

    async def run(self, parts: AsyncIterable[Part]) -> Outcome:
        """Deliver everything; `response.created` is out already.

        Raises:
            NodeError: the answer could not be made; what came before has been delivered.
        """
        async for part in parts:
            await self._deliver(part)
        await self._voice.finish()
        finished = self._turn.finished
        assert finished is not None
        return COMPLETED if finished.reason == "stop" else INCOMPLETE

    async def _deliver(self, part: Part) -> None:
        turn = self._turn
        turn.completion_tokens += isinstance(part, Piece | CallPiece)
        match part:
            case Piece():
                self._write(part)
            case Clause():
                self._open_message()
                self._send_deltas(turn.lifecycle.transcript(part.written), turn.response_id)
                turn.say(part.written)
            case Sound(audio):
                # noted before it is sent: whoever barges in meanwhile must find what was heard
                turn.sounds(len(audio) / self._tts_rate_hz * 1000.0)
                await self._voice.send(audio)
            case CallOpened(name):
                await self._voice.finish()
                self._open_call(name)
            case CallPiece(token, text):
                turn.call_with(token, text)
                self._send_deltas(turn.lifecycle.arguments(text), turn.calls[-1].id)
            case CallClosed():
                self._send(turn.lifecycle.close_call())
                self._history.update(turn.close_call())
            case Finished():
                turn.finished = part

    def _write(self, piece: Piece) -> None:
        turn = self._turn
        if turn.calls:
            turn.call_with(piece.token, "")  # markup; what a model says behind its calls is not heard
        elif turn.message is not None:
            turn.message_with(piece.token, piece.text)
        else:
            self._loose.append((piece.token, piece.text))
        if turn.config.output_modality == "text" and piece.text and not turn.calls:
            self._open_message()
            self._send_deltas(turn.lifecycle.text(piece.text), turn.response_id)
            turn.say(piece.text)

    def _open_message(self) -> None:
        turn = self._turn
        if turn.message is not None:
            return
        self._on_message()
        message = turn.begin_message(self._loose)
        before = self._history.insert(message)
        self._send(turn.lifecycle.open_message(message.id, before))

    def _open_call(self, name: str) -> None:
        turn = self._turn
        if turn.message is not None and not turn.calls:
            self._send(turn.lifecycle.close_message())
            self._history.update(turn.message)
        call = FunctionCall(ids.call_id(), name, "")
        item = Item(ids.item_id(), "function_call", is_complete=False, call=call)
        pieces = () if turn.message is not None or turn.calls else tuple((token, "") for token, _ in self._loose)
        before = self._history.insert(turn.begin_call(item, pieces))
        self._send(turn.lifecycle.open_call(item.id, call.call_id, name, before))

    def _send(self, events: list[ServerEvent]) -> None:
        for event in events:
            self._outbox.put(event)

    def _send_deltas(self, events: list[ServerEvent], owner: str) -> None:
        """Send what is taken back when its owner is cancelled: the events that close it say it all.

        Words go with their sound, as long as the response lasts; arguments only until their call is complete.
        """
        for event in events:
            self._outbox.put(event, owner=owner)
