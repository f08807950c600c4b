import asyncio

import msgspec
import numpy as np
import pybase64
import pytest

from voiceedge.audio.pcm import from_pcm16, level_dbfs
from voiceedge.bench.microphone import APPEND_S, APPEND_SAMPLES, Microphone, appends, noise_floor
from voiceedge.bench.recording import WIRE_RATE_HZ, Recording


class SteppedPace:
    """Time passes only by waiting, and by `busy` before an append is due."""

    def __init__(self):
        self.at = 100.0
        self.busy = {}

    def now(self):
        return self.at

    async def until(self, moment):
        self.at = max(self.at, moment) + self.busy.pop(round((moment - 100.0) / APPEND_S), 0.0)


class Line:
    """Keeps what is sent and when; hangs up behind `limit` appends."""

    def __init__(self, pace, limit):
        self.sent = []
        self._pace = pace
        self._limit = limit

    async def send(self, message):
        if len(self.sent) == self._limit:
            raise asyncio.CancelledError
        self.sent.append((self._pace.at, decoded(message)))


def decoded(message):
    event = msgspec.json.decode(message)
    assert event["type"] == "input_audio_buffer.append"
    return from_pcm16(pybase64.b64decode(event["audio"]))


def recording(samples):
    return Recording("r", np.full(samples, 0.5, np.float32), samples - 120)


async def run(microphone, line):
    with pytest.raises(asyncio.CancelledError):
        await microphone.run(line.send)


async def test_append_k_is_sent_when_its_last_sample_has_been_spoken():
    pace = SteppedPace()
    line = Line(pace, 5)
    await run(Microphone(pace), line)
    assert [at for at, _ in line.sent] == pytest.approx([100.0 + (k + 1) * 0.02 for k in range(5)])


async def test_a_late_append_is_sent_at_once_and_moves_no_other():
    pace = SteppedPace()
    pace.busy[3] = 0.05
    line, microphone = Line(pace, 6), Microphone(pace)
    microphone.speak(recording(APPEND_SAMPLES * 6))
    await run(microphone, line)
    # the third is 50 ms late, the two behind it leave with it, the sixth is back on its own moment
    assert [at for at, _ in line.sent] == pytest.approx([100.02, 100.04, 100.11, 100.11, 100.11, 100.12])
    assert microphone.take_lags_s()[:6] == pytest.approx([0, 0, 0.05, 0.03, 0.01, 0], abs=1e-6)


async def test_zero_is_the_scheduled_moment_of_the_last_voiced_sample():
    pace = SteppedPace()
    line, microphone = Line(pace, 10), Microphone(pace)
    utterance = microphone.speak(recording(APPEND_SAMPLES * 4 + 1))
    assert utterance.begins == 100.0
    assert utterance.zero == pytest.approx(100.0 + (APPEND_SAMPLES * 4 + 1 - 120) / WIRE_RATE_HZ)
    assert utterance.ends == pytest.approx(100.0 + (APPEND_SAMPLES * 4 + 1) / WIRE_RATE_HZ)
    await run(microphone, line)
    assert microphone.speak(recording(480)).begins == pytest.approx(100.0 + 11 * 0.02)


async def test_the_microphone_never_falls_silent_around_a_recording():
    pace = SteppedPace()
    line, microphone = Line(pace, 300), Microphone(pace)
    microphone.speak(recording(APPEND_SAMPLES * 2 + 100))
    await run(microphone, line)
    levels = [level_dbfs(audio) for _, audio in line.sent]
    assert {len(audio) for _, audio in line.sent} == {APPEND_SAMPLES}
    assert max(levels[:2]) == pytest.approx(-6.02, abs=0.1)
    assert all(-72 < level < -68 for level in levels[3:])


def test_the_last_append_of_a_recording_is_filled_with_the_room():
    whole = np.concatenate(appends(np.full(500, 0.5, np.float32)))
    assert len(whole) == 2 * APPEND_SAMPLES
    assert np.all(whole[:500] == 0.5)
    assert -73 < level_dbfs(whole[500:]) < -67
    assert np.array_equal(noise_floor(50), noise_floor(50))


async def test_switched_off_it_sends_nothing_and_media_time_goes_on_where_it_stood():
    pace = SteppedPace()
    line, microphone = Line(pace, 8), Microphone(pace)
    microphone.switch_off()
    sending = asyncio.create_task(run(microphone, line))
    await asyncio.sleep(0)
    assert line.sent == []
    pace.at += 60.0
    microphone.switch_on()
    begins = microphone.speak(recording(APPEND_SAMPLES * 2)).begins
    await sending
    assert begins == pytest.approx(160.0)
    assert [at for at, _ in line.sent] == pytest.approx([160.0 + (k + 1) * 0.02 for k in range(8)])
    assert microphone.take_lags_s() == [0.0, 0.0]
    assert microphone.take_lags_s() == []
    assert [level_dbfs(audio) > -40 for _, audio in line.sent] == [True, True] + [False] * 6


async def test_whoever_listens_in_gets_every_append_once_and_in_order():
    pace, heard = SteppedPace(), []
    line, microphone = Line(pace, 6), Microphone(pace, heard.append)
    microphone.speak(recording(APPEND_SAMPLES * 2 + 100))
    await run(microphone, line)
    assert np.array_equal(
        np.concatenate([from_pcm16(one) for one in heard[:6]]), np.concatenate([a for _, a in line.sent])
    )


async def test_a_moment_belongs_to_a_sample_and_back():
    pace = SteppedPace()
    line, microphone = Line(pace, 10), Microphone(pace)
    await run(microphone, line)
    utterance = microphone.speak(recording(4800))
    assert utterance.first_sample == 11 * APPEND_SAMPLES
    assert microphone.sample_at(utterance.begins) == utterance.first_sample
    assert microphone.sample_at(utterance.zero) == utterance.first_sample + 4680
