"""What a session may send: by a clock that only the waiting moves."""

import asyncio
from contextlib import suppress

import pytest

from voiceedge.config import Config
from voiceedge.errors import Flood, LimitReached
from voiceedge.server import throttle as throttle_module
from voiceedge.server.quotas import OwnCounts, Quota
from voiceedge.server.throttle import BYTES_AHEAD, LONGEST_WAIT_S, MESSAGES_AHEAD_S, Rates, Throttle, Throttling

DEFAULT = Config()
RATES = Rates(DEFAULT.audio_speed, DEFAULT.audio_ahead_s, DEFAULT.message_rate, DEFAULT.byte_rate)
LONGEST_APPEND_S = 15 * 1024 * 1024 / 48_000
"""pcm16 at 24 kHz: 327 s."""


class Time:
    """Stands still but while somebody waits."""

    def __init__(self):
        self.moment = 1000.0
        self.begun = self.moment

    def clock(self):
        return self.moment

    async def rest(self, seconds):
        self.moment += seconds

    @property
    def passed(self):
        return self.moment - self.begun


class Counted:
    """A quota that takes down what it is asked for."""

    def __init__(self):
        self.asked = []
        self.refuses = set()

    async def spend(self, what, amount):
        self.asked.append((what, amount))
        if what in self.refuses:
            raise LimitReached("No more of it.", code="quota_exceeded", retry_after_s=100)


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def waits():
    return []


@pytest.fixture
def throttle(time, waits):
    return Throttle(RATES, rest=time.rest, on_wait=lambda *wait: waits.append(wait), clock=time.clock)


@pytest.mark.parametrize("piece_s", [0.01, 0.02, 0.1])
async def test_a_microphone_never_waits(throttle, time, waits, piece_s):
    for _ in range(round(600 / piece_s)):
        await throttle.message(round(piece_s * 64_000) + 60)
        await throttle.audio(piece_s)
        time.moment += piece_s
    assert waits == []


async def test_a_recording_comes_at_once_up_to_what_a_session_may_be_ahead_and_then_at_its_speed(throttle, time, waits):
    for _ in range(int(DEFAULT.audio_ahead_s)):
        await throttle.audio(1.0)
    assert time.passed == 0
    for _ in range(100):
        await throttle.audio(1.0)
    assert time.passed == pytest.approx(100 / DEFAULT.audio_speed, abs=1)
    assert {kind for kind, _ in waits} == {"audio"}
    assert sum(seconds for _, seconds in waits) == pytest.approx(time.passed)


async def test_messages_come_at_once_for_half_a_minute_and_then_at_their_rate(throttle, time, waits):
    for _ in range(int(MESSAGES_AHEAD_S * DEFAULT.message_rate)):
        await throttle.message(10)
    assert time.passed == 0
    for _ in range(1000):
        await throttle.message(10)
    assert time.passed == pytest.approx(1000 / DEFAULT.message_rate, abs=0.01)
    assert {kind for kind, _ in waits} == {"messages"}


async def test_bytes_come_at_once_as_far_as_the_bucket_goes_and_then_at_their_rate(throttle, time, waits):
    mebibyte = 1024 * 1024
    for _ in range(BYTES_AHEAD // mebibyte):
        await throttle.message(mebibyte)
    assert time.passed == 0
    for _ in range(10):
        await throttle.message(mebibyte)
    assert time.passed == pytest.approx(10 * mebibyte / DEFAULT.byte_rate, rel=0.11)
    assert {kind for kind, _ in waits} == {"bytes"}


async def test_the_longest_append_passes_at_once_and_so_does_what_asks_for_its_answer(throttle, time):
    await throttle.message(20 * 1024 * 1024)
    await throttle.audio(LONGEST_APPEND_S)
    await throttle.message(50)
    await throttle.message(50)
    assert time.passed == 0
    await throttle.audio(0.02)
    assert time.passed == pytest.approx((LONGEST_APPEND_S - DEFAULT.audio_ahead_s) / DEFAULT.audio_speed)


async def test_who_would_have_to_wait_longer_than_clients_do_is_told_so(throttle, time):
    await throttle.audio(DEFAULT.audio_ahead_s)
    await throttle.audio(DEFAULT.audio_speed * LONGEST_WAIT_S + 1)
    with pytest.raises(Flood) as flood:
        await throttle.audio(0.02)
    assert (flood.value.wire_type, flood.value.wire_code) == ("rate_limit_error", "rate_limit_exceeded")
    assert flood.value.retry_after_s == 61
    assert time.passed == 0


async def test_a_recording_in_pieces_of_half_a_minute_is_slowed_down_and_never_for_longer_than_clients_wait(
    throttle, time, waits
):
    for _ in range(60):
        await throttle.audio(30.0)
    assert time.passed == pytest.approx((60 * 30.0 - DEFAULT.audio_ahead_s) / DEFAULT.audio_speed, abs=15.0)
    assert 0 < max(seconds for _, seconds in waits) < 20.0


async def test_who_is_told_of_a_flood_is_told_what_to_do_instead(throttle):
    for _ in range(2):
        await throttle.audio(LONGEST_APPEND_S)
    with pytest.raises(Flood, match="smaller pieces are only slowed down"):
        await throttle.audio(LONGEST_APPEND_S)


async def test_what_is_waited_is_told_also_when_the_wait_is_cut_short(time, waits):
    async def rest(seconds):
        time.moment += seconds / 2
        raise asyncio.CancelledError

    throttle = Throttle(RATES, rest=rest, on_wait=lambda *wait: waits.append(wait), clock=time.clock)
    await throttle.audio(DEFAULT.audio_ahead_s + 10)
    with pytest.raises(asyncio.CancelledError):
        await throttle.audio(1)
    assert waits == [("audio", pytest.approx(10 / DEFAULT.audio_speed / 2))]


# ── quotas ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_quota_is_told_of_many_messages_at_a_time(time):
    quota = Counted()
    throttle = Throttle(RATES, quota, rest=time.rest, clock=time.clock)
    for _ in range(50):
        await throttle.message(2700)
        await throttle.audio(0.02)
    assert quota.asked == []
    await throttle.settle()
    assert quota.asked == [("audio_seconds", pytest.approx(1.0)), ("messages", 50), ("bytes", 135_000)]
    await throttle.settle()
    assert len(quota.asked) == 3


async def test_a_quota_is_told_at_once_of_a_recording(time):
    quota = Counted()
    throttle = Throttle(RATES, quota, rest=time.rest, clock=time.clock)
    for _ in range(25):
        await throttle.audio(1.0)
    assert quota.asked == [("audio_seconds", 11.0)] * 2


async def test_audio_beyond_the_quota_is_refused_until_there_is_some_again_and_messages_are_not(time):
    quota = Counted()
    throttle = Throttle(RATES, quota, rest=time.rest, clock=time.clock)
    quota.refuses = {"audio_seconds"}
    await throttle.audio(1)
    await throttle.settle()
    for _ in range(2):
        with pytest.raises(LimitReached) as refused:
            await throttle.audio(1)
        assert (refused.value.wire_code, isinstance(refused.value, Flood)) == ("quota_exceeded", False)
        await throttle.message(100)
    time.moment += 101
    await throttle.audio(1)


@pytest.mark.parametrize("what", ["messages", "bytes"])
async def test_no_message_is_taken_beyond_the_quota(time, what):
    quota = Counted()
    throttle = Throttle(RATES, quota, rest=time.rest, clock=time.clock)
    quota.refuses = {what}
    await throttle.message(100)
    await throttle.settle()
    with pytest.raises(LimitReached):
        await throttle.message(100)


async def test_a_tenants_quota_is_shared_by_the_throttles_of_its_sessions(time):
    counts = OwnCounts(time.clock)
    one, other = (
        Throttle(RATES, Quota(counts, "shop", {"messages": 10}), rest=time.rest, clock=time.clock) for _ in range(2)
    )
    for session in (one, other):
        for _ in range(8):
            await session.message(10)
        await session.settle()
    await one.message(10)
    with pytest.raises(LimitReached):
        await other.message(10)


async def test_a_quota_is_told_every_second_and_one_that_is_none_never(time, monkeypatch):
    quota, slept = Counted(), []

    async def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(throttle_module.asyncio, "sleep", sleep)
    throttle = Throttle(RATES, quota, rest=time.rest, clock=time.clock)
    await throttle.message(10)
    with suppress(asyncio.CancelledError):
        await throttle.settling()
    assert (slept, quota.asked) == ([1.0] * 3, [("messages", 1), ("bytes", 10)])
    await Throttle(RATES).settling()
    assert len(slept) == 3


# ── a node's ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_settings_say_what_every_session_of_a_node_may_send(time):
    waits = []
    config = Config(audio_speed=4, audio_ahead_s=10, message_rate=10, byte_rate=20_000)
    throttle = Throttling(config, lambda *wait: waits.append(wait)).throttle(None, time.rest)
    await throttle.audio(10)
    await throttle.audio(8)
    assert time.passed == 0
    await throttle.audio(0)
    assert time.passed == pytest.approx(2, abs=0.1)
    for _ in range(302):
        await throttle.message(10)
    assert time.passed == pytest.approx(2.1, abs=0.1)
    assert [kind for kind, _ in waits] == ["audio", "messages"]


async def test_it_knows_all_that_a_session_has_sent_and_was_sent(throttle):
    for _ in range(1200):
        await throttle.message(2700)
        await throttle.audio(0.02)
    throttle.tokens(20)
    throttle.tokens(3)
    assert str(throttle) == "1,200 messages (3.2 MB), 24.0 s of audio, 23 tokens written"
    await throttle.audio(350)
    await throttle.audio(1)
    assert str(throttle).endswith("375.0 s of audio, 23 tokens written, waited 37.0 s")
