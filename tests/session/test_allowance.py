"""How a session asks for what its client may send."""

import pytest

from voiceedge.errors import Flood, LimitReached
from voiceedge.session.allowance import UNLIMITED, AudioGate

SECOND = bytes(48_000)


class Granted:
    """An allowance that grants, or raises what a test says."""

    def __init__(self):
        self.asked = []
        self.raises = None

    async def message(self, size_bytes):
        raise NotImplementedError

    async def audio(self, seconds):
        self.asked.append(seconds)
        if self.raises is not None:
            raise self.raises

    def tokens(self, count):
        raise NotImplementedError


@pytest.fixture
def granted():
    return Granted()


@pytest.fixture
def told():
    return []


@pytest.fixture
def gate(granted, told):
    return AudioGate(granted, told.append)


@pytest.mark.parametrize(("wire_format", "seconds"), [("audio/pcm", 1.0), ("audio/pcmu", 6.0), ("audio/pcma", 6.0)])
async def test_audio_is_asked_for_in_seconds_whatever_its_format(gate, granted, wire_format, seconds):
    assert await gate.admits(SECOND, wire_format)
    assert granted.asked == [seconds]


async def test_that_there_is_no_more_is_told_once_until_there_is_some_again(gate, granted, told):
    used_up = LimitReached("No more.", code="quota_exceeded", retry_after_s=100)
    granted.raises = used_up
    assert [await gate.admits(SECOND, "audio/pcm") for _ in range(3)] == [False] * 3
    assert told == [used_up]
    granted.raises = None
    assert await gate.admits(SECOND, "audio/pcm")
    granted.raises = used_up
    assert not await gate.admits(SECOND, "audio/pcm")
    assert told == [used_up] * 2


async def test_audio_in_a_message_of_its_own_is_refused_each_time(gate, granted, told):
    await gate.take(2.5)
    assert granted.asked == [2.5]
    granted.raises = LimitReached("No more.", code="quota_exceeded", retry_after_s=100)
    for _ in range(2):
        with pytest.raises(LimitReached):
            await gate.take(2.5)
    assert told == []


async def test_a_flood_is_for_whoever_ends_the_session(gate, granted, told):
    granted.raises = Flood("Too much.", retry_after_s=61)
    with pytest.raises(Flood):
        await gate.admits(SECOND, "audio/pcm")
    assert told == []


async def test_what_is_unlimited_is_granted_at_once():
    await UNLIMITED.message(10**12)
    await UNLIMITED.audio(10**12)
    UNLIMITED.tokens(10**12)
