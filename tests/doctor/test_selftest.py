"""How fast engines are, counted on planted clocks."""

import subprocess
import sys

import numpy as np
import pytest

from tests import real
from voiceedge.doctor.selftest import (
    FEWEST_RUNS,
    MOST_S,
    SELF_TEST_S,
    LlmSpeed,
    Watches,
    loader,
    seconds_for,
    spoken_phrase,
    try_speed,
)
from voiceedge.engines import STAGES
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.fake_defects import FakeDelays
from voiceedge.engines.loading import thread_plan
from voiceedge.errors import EngineFailed

SPEECH = np.full(32_000, 0.1, np.float32)  # two seconds
CPU_SHARE = 2.0


class Time:
    """Only work makes it pass; two threads work."""

    def __init__(self):
        self.seconds = 0.0

    def pass_by(self, seconds):
        self.seconds += seconds

    def watches(self):
        return Watches(lambda: self.seconds, lambda: self.seconds * CPU_SHARE)


WORDS = " ".join(f"word{n}" for n in range(60))


def tried(stage, seconds=0.0, answer=WORDS, **delays):
    time = Time()
    engines = fake_engines(FakeDelays(**delays), sleep=time.pass_by, answer=answer)
    speed = try_speed(stage, "a-model", getattr(engines, stage), SPEECH, seconds, time.watches())
    assert (speed.stage, speed.model) == (stage, "a-model")
    return speed, time.seconds


def test_voice_activity_takes_what_its_frames_take():
    speed, _ = tried("vad", vad_s=0.001)
    frames = 32_000 // 512
    assert speed.cost.wall_s == pytest.approx(frames * 0.001)
    assert speed.real_time_factor == pytest.approx(frames * 0.001 / 2)
    assert speed.cpu_factor == pytest.approx(CPU_SHARE * speed.real_time_factor)


def test_speech_to_text_is_held_against_the_speech_it_heard():
    speed, _ = tried("stt", stt_s=0.5)
    assert speed.real_time_factor == pytest.approx(0.25)


def test_the_end_of_a_turn_is_one_judgement():
    assert tried("end_of_turn", end_of_turn_s=0.03)[0].cost.wall_s == pytest.approx(0.03)


def test_a_voice_is_held_against_the_speech_it_made():
    speed, _ = tried("tts", tts_s=0.2)
    assert speed.cost.wall_s == pytest.approx(0.2)
    assert speed.real_time_factor == pytest.approx(0.2 / speed.audio_s)
    assert speed.audio_s > 0.5


def test_an_llm_is_counted_a_token_apart_for_what_it_reads_and_writes():
    speed, _ = tried("llm", llm_first_token_s=0.6, llm_token_s=0.02)
    assert isinstance(speed, LlmSpeed)
    assert speed.decode.wall_s == pytest.approx(0.02)
    assert speed.decode.cpu_s == pytest.approx(0.04)
    assert 0.6 / 200 < speed.prefill.wall_s < 0.62 / 10


def test_an_llm_that_ends_after_one_token_fails_and_has_no_speed():
    with pytest.raises(EngineFailed, match="It writes 1 token"):
        tried("llm", answer="word", llm_token_s=0.02)


@pytest.mark.parametrize("stage", STAGES)
def test_it_goes_on_until_its_time_is_up(stage):
    took = {"vad_s": 0.01, "end_of_turn_s": 0.1, "stt_s": 0.1, "llm_first_token_s": 0.1, "tts_s": 0.1}
    _, passed = tried(stage, seconds=5.0, **took)
    assert 5.0 <= passed < 7.5


def test_an_engine_that_takes_too_long_is_measured_all_the_same():
    speed, passed = tried("stt", seconds=0.1, stt_s=100.0)
    assert passed == pytest.approx(100 * (1 + FEWEST_RUNS))
    assert speed.cost.wall_s == pytest.approx(100)


def test_it_needs_nothing_that_only_unix_has():
    code = "import sys; sys.modules['resource'] = None; import voiceedge.doctor.selftest"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_all_models_together_take_ten_seconds_and_a_few_take_less():
    assert seconds_for(8) * 8 == SELF_TEST_S == 10
    assert seconds_for(1) == MOST_S


@pytest.mark.models
def test_real_models_are_faster_than_speech():
    speech = spoken_phrase()
    assert 3 < speech.size / 16_000 < 9
    for stage, model in real.local_models("nano").items():
        speed = try_speed(stage, model.id, loader(stage, thread_plan(2))(model), speech, 0.1, Watches())
        if isinstance(speed, LlmSpeed):
            assert 0 < speed.prefill.wall_s < speed.decode.wall_s < 1
        else:
            assert 0 < speed.real_time_factor < 1
