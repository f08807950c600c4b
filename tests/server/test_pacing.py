"""What comes below the messages: frames that are none are read no faster than is good, and nobody is cut off for it."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

import pytest
from websockets.frames import OP_BINARY, OP_CLOSE, OP_CONT, OP_PING, OP_PONG

from tests.server.wire import Connection, frame, opened, rest
from voiceedge.server import frames
from voiceedge.server.frames import FRAMES_A_SECOND, FRAMES_AHEAD, PIECE_BYTES
from voiceedge.server.reading import ReadingProtocol

READ_BYTES = 256 * 1024
"""What one read of a socket brings at most."""


class Clock:
    """The time of a connection, and the timers that it has set; both move when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moment = 1000.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        monkeypatch.setattr(frames, "now", lambda: self.moment)

    def time(self) -> float:
        return self.moment

    def call_later(self, seconds: float, call: Callable[[], None]) -> Clock:
        self.timers.append((self.moment + seconds, call))
        return self

    def cancel(self) -> None:
        self.timers.clear()

    def fire(self) -> float:
        """Go on to the next timer; how long that took."""
        self.timers.sort(key=lambda timer: timer[0])
        due, call = self.timers.pop(0)
        passed, self.moment = max(due - self.moment, 0.0), max(due, self.moment)
        call()
        return passed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def on_the_clock(clock: Clock) -> Connection:
    connection = await opened()
    connection.protocol.loop = clock
    connection.wire.written = b""
    return connection


FLOODS: dict[str, Callable[[int], bytes]] = {
    "pings": lambda count: frame(b"", OP_PING) * count,
    "pongs": lambda count: frame(b"", OP_PONG) * count,
    "fragments": lambda count: frame("a", fin=False) + frame("", OP_CONT, fin=False) * (count - 1),
}


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood_of_frames_is_read_at_their_rate(clock: Clock, kind: str):
    connection = await on_the_clock(clock)
    seconds = 20
    flood = FLOODS[kind](round(FRAMES_AHEAD + seconds * FRAMES_A_SECOND))
    passed = 0.0
    for begin in range(0, len(flood), READ_BYTES):
        await connection.take(flood[begin : begin + READ_BYTES])
        while clock.timers:
            assert not connection.wire.is_read
            passed += clock.fire()
        assert connection.wire.is_read
    assert passed == pytest.approx(seconds, rel=0.02)
    assert connection.protocol._line.held_s == pytest.approx(passed)
    await connection.close()


async def test_others_come_between_the_pieces_of_a_read_that_is_full_of_frames(clock: Clock):
    connection = await on_the_clock(clock)
    ping = frame(b"", OP_PING)
    await connection.take(ping * 1000)
    answered = []
    while clock.timers:
        answered.append(len(connection.wire.written))
        clock.fire()
    most = PIECE_BYTES // len(ping) + 1
    assert max(after - before for before, after in zip([0, *answered], answered, strict=False)) <= most * 2  # bytes
    assert connection.wire.written == frame(b"", OP_PONG, mask=False) * 1000
    await connection.close()


async def test_messages_of_one_read_wait_in_the_socket_for_a_session_that_is_busy():
    connection = await opened()
    connection.busy.clear()
    texts = [f"{number:05}" for number in range(5000)]
    await connection.take(b"".join(map(frame, texts)))
    assert len(connection.messages) == 1
    assert connection.protocol.queue.qsize() <= PIECE_BYTES // len(frame("00000")) + 1
    assert not connection.wire.is_read
    connection.busy.set()
    while len(connection.messages) < len(texts):
        await rest()
    assert connection.messages == texts
    assert connection.wire.is_read
    await connection.close()


@pytest.mark.parametrize("length", [10, 600, 1100, 2700, 70_000])
@pytest.mark.parametrize("at_once", [1, 2, 3, 7])
async def test_a_socket_is_read_on_once_all_messages_of_a_read_are_taken(length: int, at_once: int):
    connection = await opened()
    for number in range(1, 6):
        await connection.take(frame("x" * length) * at_once)
        while len(connection.messages) < number * at_once:
            await rest()
        assert connection.wire.is_read
    await connection.close()


async def test_a_message_behind_a_flood_is_read_in_its_turn(clock: Clock):
    connection = await on_the_clock(clock)
    await connection.take(FLOODS["pings"](round(FRAMES_AHEAD) + 300) + frame("hello"))
    while clock.timers:
        clock.fire()
        await rest()
    await connection.take(frame("again"))
    assert connection.messages == ["hello", "again"]
    await connection.close()


async def test_a_flood_after_the_goodbye_is_read_no_faster(clock: Clock):
    connection = await on_the_clock(clock)
    connection.busy.clear()
    await connection.take(frame("x") * round(FRAMES_AHEAD + 1000) + frame(struct.pack("!H", 1008), OP_CLOSE))
    assert not connection.wire.is_read
    await connection.protocol.send({"type": "websocket.close", "code": 1008})
    clock.timers = [timer for timer in clock.timers if timer[1] != connection.wire.close]  # uvicorn's, to give up
    passed = 0.0
    while clock.timers:
        assert not connection.wire.is_read
        passed += clock.fire()
    apiece = PIECE_BYTES // len(frame("x")) + 1  # the first piece came before the goodbye, the last one is unpaid
    assert (1000 - 2 * apiece) / FRAMES_A_SECOND <= passed <= 1.1 * 1000 / FRAMES_A_SECOND
    assert connection.messages == ["x"]
    await connection.close()


async def test_what_is_large_is_read_no_faster_after_the_goodbye_either(clock: Clock):
    connection = await on_the_clock(clock)
    await connection.protocol.send({"type": "websocket.close", "code": 1008})
    clock.timers.clear()  # uvicorn's, to give up
    large = frame(bytes(PIECE_BYTES * 200), OP_BINARY)
    passed = 0.0
    for _ in range(round(FRAMES_AHEAD) // 200 + 10):
        await connection.take(large)
        while clock.timers:
            passed += clock.fire()
    assert passed >= 9 * 200 / FRAMES_A_SECOND
    await connection.close()


async def test_no_message_overtakes_what_is_not_parsed_yet():
    connection = await opened()
    connection.busy.clear()
    texts = ["xx"] * 200  # a piece ends with a frame
    await connection.take(b"".join(map(frame, texts)), frame("last"))
    connection.busy.set()
    while len(connection.messages) <= len(texts):
        await rest()
    assert connection.messages == [*texts, "last"]
    await connection.close()


async def test_others_come_between_the_messages_of_one_read():
    connection = await opened()
    turns = 0
    connection.protocol.data_received(frame("x") * 100)
    while len(connection.messages) < 100:
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 99
    await connection.close()


# ── who is still there ────────────────────────────────────────────────────────────────────────────────────


async def pinged(clock: Clock) -> Connection:
    connection = await on_the_clock(clock)
    connection.protocol.ping_interval = 5.0
    connection.protocol.send_keepalive_ping()
    connection.wire.written = b""
    return connection


async def test_who_is_silent_for_too_long_after_a_ping_is_given_up(clock: Clock):
    connection = await pinged(clock)
    assert clock.fire() == connection.protocol.ping_timeout
    assert connection.wire.is_closed
    await connection.close()


async def test_who_is_heard_before_his_pong_comes_is_there(clock: Clock):
    connection = await pinged(clock)
    await connection.take(frame("audio"))
    clock.fire()
    assert not connection.wire.is_closed
    clock.fire()  # nothing more has come
    assert connection.wire.is_closed
    await connection.close()


async def test_who_is_not_read_is_not_given_up_because_his_pong_is_not_heard(clock: Clock):
    connection = await pinged(clock)
    connection.busy.clear()
    await connection.take(frame("first"), frame("second"), frame("third"))
    assert not connection.wire.is_read
    for _ in range(5):
        clock.fire()
    assert not connection.wire.is_closed
    connection.busy.set()
    await rest()
    clock.fire()
    assert connection.wire.is_closed
    await connection.close()


async def test_who_was_heard_is_pinged_again_and_the_pong_to_that_is_one(clock: Clock):
    connection = await pinged(clock)
    await connection.take(frame("audio"))
    clock.fire()
    payload: Any = connection.protocol.pending_ping_payload
    assert connection.wire.written == frame(payload, OP_PING, mask=False)
    await connection.take(frame(payload, OP_PONG))
    assert (connection.protocol.pong_timer, connection.protocol.pending_ping_payload) == (None, None)
    await connection.close()


# ── waiting ends ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_connection_that_is_lost_is_gone_at_once():
    connection = await opened()
    assert not connection.protocol._line.gone.is_set()
    connection.protocol.connection_lost(None)
    assert connection.protocol._line.gone.is_set()
    await rest()


async def test_a_connection_that_was_told_goodbye_is_gone_at_once():
    connection = await opened(ReadingProtocol)
    await connection.protocol.send({"type": "websocket.close", "code": 1001})
    assert connection.protocol._line.gone.is_set()
    await connection.close()
