"""However the bytes come, the same messages are read from them."""

from __future__ import annotations

import asyncio
import struct
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import OP_BINARY, OP_CLOSE, OP_CONT, OP_PING, Opcode

from tests.server.wire import frame, opened, rest
from voiceedge.server.frames import FrameProtocol
from voiceedge.server.reading import ReadingProtocol

LONGEST = 200_000
"""Its length takes 8 bytes."""


def pieces_of(frames: list[bytes], cuts: list[tuple[int, int]], *, apart: bool) -> list[bytes]:
    """Their bytes, cut where `cuts` say (the number of a frame, and a place in it) and, if `apart`, between frames."""
    data = b"".join(frames)
    begins = [0, *accumulate(map(len, frames))]
    at = {min(begins[which % len(begins)] + place, len(data)) for which, place in cuts}
    return [data[begin:end] for begin, end in pairwise(sorted(at | {0, len(data)} | set(begins if apart else ())))]


@pytest.mark.parametrize("length", [1, 125, 126, 65_535, 65_536, LONGEST])
async def test_a_text_of_any_length_is_read(length: int):
    connection = await opened()
    text = "ä" + "x" * (length - 2) if length > 1 else "x"
    await connection.take(frame(text), frame("next"))
    assert connection.messages == [text, "next"]
    await connection.close()


def around(inner: bytes, opcode: Opcode = OP_BINARY) -> bytes:
    """A frame whose payload is, on the wire, just `inner`: its mask is zeros."""
    wide = len(inner) > 125
    length = struct.pack("!BH", 0x80 | 126, len(inner)) if wide else bytes([0x80 | len(inner)])
    return bytes([0x80 | opcode]) + length + bytes(4) + inner


MESSAGES = st.one_of(
    st.text(min_size=1, max_size=200).map(frame),
    st.text(min_size=1, max_size=200).map(lambda text: frame(text, fin=False) + frame(text, OP_CONT)),
    st.binary(min_size=1, max_size=200).map(lambda data: frame(data, OP_BINARY)),
    st.just(frame("never ended", fin=False)),
    st.just(frame(b"ping", OP_PING)),
    st.just(frame("unmasked", mask=False)),
    st.just(frame("ab", mask=False) + frame(b"xy", OP_PING, mask=False)),  # as long as if it were masked
    st.just(frame(b"\xff\xfe")),
    st.just(frame(struct.pack("!H", 1000), OP_CLOSE)),
)
FRAMES = st.one_of(MESSAGES, MESSAGES.map(around), MESSAGES.map(lambda inner: around(around(inner))))


CUTS = st.tuples(st.integers(0, 5), st.sampled_from([6, 8]) | st.integers(0, 400))
"""Among others where a frame's payload begins."""


@given(st.lists(FRAMES, max_size=6), st.lists(CUTS, max_size=5), st.booleans())
@settings(max_examples=100)
def test_it_reads_what_the_long_way_reads(frames: list[bytes], cuts: list[tuple[int, int]], apart: bool):
    pieces = pieces_of(frames, cuts, apart=apart)

    async def read(kind: type[FrameProtocol]) -> tuple[Any, ...]:
        connection = await opened(kind)
        await connection.take(*pieces)
        found = (connection.messages, connection.wire.written, connection.wire.is_closed)
        await connection.close()
        return found

    assert asyncio.run(read(ReadingProtocol)) == asyncio.run(read(FrameProtocol))


@pytest.mark.parametrize("before", [b"", b"data"])
@pytest.mark.parametrize("length", [1, 130])
async def test_what_looks_like_a_message_inside_of_another_one_is_none_wherever_that_is_cut(before: bytes, length: int):
    payload = before + frame("x" * length)
    outer = around(payload)
    connection = await opened()
    for cut in range(1, len(outer)):
        await connection.take(outer[:cut], outer[cut:], frame("next"))
        assert connection.messages[-2:] == [payload, "next"], cut
    assert len(connection.messages) == 2 * (len(outer) - 1)
    await connection.close()


async def test_a_socket_whose_session_waits_is_read_on_without_a_stop():
    connection = await opened()
    for _ in range(5):
        await connection.take(frame("audio"))
    assert len(connection.messages) == 5
    assert connection.wire.pauses == 0
    await connection.close()


async def test_a_socket_whose_session_is_busy_is_read_no_further():
    connection = await opened()
    connection.busy.clear()
    await connection.take(frame("first"))
    assert connection.wire.is_read
    await connection.take(frame("second"))
    assert not connection.wire.is_read
    connection.busy.set()
    await rest()
    assert connection.messages == ["first", "second"]
    assert connection.wire.is_read
    await connection.close()
