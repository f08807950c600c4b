from types import SimpleNamespace

import numpy as np
import pybase64
import pytest

from voiceedge.protocol.lifecycle import ResponseLifecycle
from voiceedge.protocol.response_config import response_config
from voiceedge.protocol.session_config import LocalNames, default_session
from voiceedge.session import voice as voice_module
from voiceedge.session.outbox import Outbox
from voiceedge.session.playout import Playout
from voiceedge.session.turn import Turn
from voiceedge.session.voice import DELTA_S, LEAD_S, Voice
from voiceedge.trace import TurnTrace

TTS_HZ = 24_000


class Clock:
    """Stands until somebody sleeps."""

    def __init__(self):
        self.at = 10.0

    def __call__(self):
        return self.at

    async def sleep(self, seconds):
        self.at += seconds


class Listener:
    """One answer's voice, and what comes out of the socket."""

    def __init__(self, clock, wire_format=None):
        session = default_session(
            session_id="s", names=LocalNames(model="llm", transcription="stt", voices=("heart",)), expires_at=0
        )
        config = response_config(
            session, {"audio": {"output": {"format": {"type": wire_format}}}} if wire_format else None
        )
        lifecycle = ResponseLifecycle("r", config, conversation_id=None)
        self.turn = Turn(config, TurnTrace(1, clock(), clock), None, lifecycle, Playout(clock))
        lifecycle.begin()
        lifecycle.open_message(self.turn.begin_message([]).id, None)
        self.outbox, self.order, self.sent = Outbox(), [], []
        self.voice = Voice(self.turn, self.outbox, TTS_HZ, lambda: self.order.append("audio started"))

    async def hear(self, *pieces):
        """Send pieces of audio, each followed by the socket taking what is there."""
        for audio in pieces:
            await self.voice.send(audio)
            await self._take()
        await self.voice.finish()
        await self._take()
        return [pybase64.b64decode(event.delta) for event in self.sent]

    async def _take(self):
        async def send(event):
            self.order.append("sent")
            self.sent.append(event)

        self.outbox.close()
        await self.outbox.drain(send)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(voice_module, "asyncio", SimpleNamespace(sleep=clock.sleep))
    return clock


def tone(seconds):
    return (np.sin(np.arange(round(seconds * TTS_HZ)) / 8) * 0.4).astype(np.float32)


def silence(seconds):
    return np.zeros(round(seconds * TTS_HZ), dtype=np.float32)


async def test_audio_is_cut_into_deltas_and_nothing_is_lost(clock):
    audio = tone(0.5)
    deltas = await Listener(clock).hear(audio)
    assert [len(delta) for delta in deltas] == [9600, 9600, 4800]
    heard = np.frombuffer(b"".join(deltas), "<i2") / 32768
    np.testing.assert_allclose(heard, audio, atol=1e-4)


@pytest.mark.parametrize("wire_format", ["audio/pcmu", "audio/pcma"])
async def test_a_telephone_gets_8000_bytes_a_second_up_to_the_last_sample(clock, wire_format):
    deltas = await Listener(clock, wire_format).hear(tone(0.3), tone(0.25))
    assert sum(map(len, deltas)) == round(0.55 * 8000)
    assert max(map(len, deltas)) <= DELTA_S * 8000


async def test_the_answer_is_audible_before_its_first_delta_is_sent_and_says_so_once(clock):
    listener = Listener(clock)
    await listener.hear(tone(0.5), tone(0.5))
    assert listener.order[:2] == ["audio started", "sent"]
    assert listener.order.count("audio started") == 1


async def test_an_answer_without_audio_never_becomes_audible(clock):
    listener = Listener(clock)
    assert await listener.hear() == []
    assert listener.order == []


async def test_the_first_audio_is_the_first_that_can_be_heard(clock):
    listener = Listener(clock)
    await listener.hear(silence(0.4))
    assert "first_audio_out" not in listener.turn.trace.marks
    clock.at += 5.0
    await listener.voice.send(tone(0.2))
    assert "first_audio_out" not in listener.turn.trace.marks  # the socket does not have it yet
    clock.at += 1.0
    await listener.hear(tone(0.2))
    assert listener.turn.trace.since_zero_ms("first_audio_out") == 6000


async def test_the_playout_clock_counts_what_the_socket_was_given(clock):
    listener = Listener(clock)
    await listener.voice.send(tone(0.7))
    assert listener.turn.playout.runs_out == 0.0
    await listener.hear()
    assert listener.turn.playout.remaining_s == pytest.approx(0.7)


async def test_audio_never_runs_further_ahead_of_its_playing_than_the_lead(clock):
    listener = Listener(clock)
    for _ in range(40):
        await listener.hear(tone(0.5))
        assert listener.turn.playout.remaining_s <= LEAD_S + 0.5 + 1e-6
    assert clock.at == pytest.approx(10.0 + 20.0 - LEAD_S, abs=0.6)
    assert sum(len(pybase64.b64decode(event.delta)) for event in listener.sent) == 20 * TTS_HZ * 2


async def test_within_the_lead_nothing_waits(clock):
    await Listener(clock).hear(*[tone(0.5)] * 15)
    assert clock.at == 10.0
