"""How messages are read from a WebSocket: fifty times a second for every session, mostly to hear that nobody speaks."""

from __future__ import annotations

from typing import Any

from websockets.frames import OP_TEXT, apply_mask  # type: ignore[attr-defined]  # in C where that is built, else not
from websockets.protocol import OPEN, Protocol
from websockets.streams import StreamReader

from voiceedge.server.frames import FrameProtocol

_FIN, _MASKED, _LENGTH = 0x80, 0x80, 0x7F
_WHOLE_TEXT = _FIN | OP_TEXT
_WIDE = 126
"""From here on the length follows, in 2 bytes, or in 8 (RFC 6455, 5.2)."""
_MASK_BYTES = 4
_BEFORE_A_FRAME = StreamReader.at_eof.__code__
"""Where websockets' parser waits for one: everywhere else it waits for the rest of one."""


class ReadingProtocol(FrameProtocol):
    """Takes a message that came as one frame by the shortest way.

    Audio comes as one text frame a message, and each in a packet of its own. What else there is (fragments, control
    frames, several frames at once, whatever breaks a rule) goes through websockets' own parser.
    """

    _is_awaited = False

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        begin = None if self._unread else self._text_begins(data)
        if begin is None:
            super().data_received(data)
            return
        self._is_heard = True
        self.curr_msg_data_type = "text"
        self.frames = [apply_mask(data[begin:], data[begin - _MASK_BYTES : begin])]
        self.send_receive_event_to_app()

    def send_receive_event_to_app(self) -> None:
        """Hand a message on; the socket is read no further until it is taken, unless somebody waits for it."""
        if self.read_paused or not (self._is_awaited and self.queue.empty()):
            super().send_receive_event_to_app()
            return
        self.read_paused = True  # as far as the parent knows: to stop and to go on are two system calls
        super().send_receive_event_to_app()
        self.read_paused = False

    async def receive(self) -> Any:
        """Wait for the next message."""
        self._is_awaited = True
        message = await super().receive()
        self._is_awaited = False
        return message

    def _text_begins(self, data: bytes) -> int | None:
        """Where the text begins, if `data` is exactly one masked frame with a whole message of text."""
        if len(data) < 2 + _MASK_BYTES or data[0] != _WHOLE_TEXT or not data[1] & _MASKED:
            return None
        conn = self.conn
        if conn.state is not OPEN or conn.cur_size is not None or not _is_between_frames(conn):
            return None  # the handshake is not over, or something is half read
        length, begin = data[1] & _LENGTH, 2
        if length >= _WIDE:
            begin = 4 if length == _WIDE else 10
            length = int.from_bytes(data[2:begin], "big")
        begin += _MASK_BYTES
        return begin if len(data) == begin + length else None


def _is_between_frames(conn: Protocol) -> bool:
    """Whether the next byte begins a frame. An empty buffer says less: the parser may have taken a frame's head."""
    step: Any = conn.parser
    while (inner := step.gi_yieldfrom) is not None:
        step = inner
    return step.gi_code is _BEFORE_A_FRAME
