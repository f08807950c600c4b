import numpy as np
import pytest

from voiceedge.audio.pcm import first_audible
from voiceedge.engines import Message, Prompt, Sampling
from voiceedge.engines.fake import FakeEndOfTurn, FakeStt, FakeTts, FakeVad, fake_engines
from voiceedge.engines.fake_defects import FakeDelays, FakeFailed

SPEECH = np.full(512, 0.1, dtype=np.float32)
QUESTION = Prompt((Message("system", "Be brief."), Message("user", "What is the capital of France?")))


def test_the_vad_hears_what_is_loud_enough():
    stream = FakeVad(level_dbfs=-30.0).open()
    assert stream.probability(SPEECH) == 0.99
    assert stream.probability(SPEECH * 0.1) == 0.01


def test_stt_takes_the_next_text_of_a_list_for_each_utterance_and_keeps_the_last():
    stt = FakeStt(["one", "two"])
    assert [next(stt.transcribe(SPEECH)).text for _ in range(3)] == ["one", "two", "two"]


def test_stt_text_may_be_computed_from_the_audio_and_no_audio_has_no_words():
    stt = FakeStt(lambda audio: f"{audio.size} samples")
    assert next(stt.transcribe(SPEECH)).text == "512 samples"
    assert next(stt.transcribe(SPEECH[:0])).text == ""


def test_the_voice_hums_as_long_as_the_words_take_in_pieces():
    tts = FakeTts(seconds_per_word=0.25)
    pieces = list(tts.speak("Two words.", "heart", 0.5))
    audio = np.concatenate(pieces)
    assert [piece.size for piece in pieces] == [2_400] * 10
    assert audio.dtype == np.float32
    assert first_audible(audio, tts.sample_rate_hz) == 0


@pytest.mark.parametrize("text", ["", " … ", "!?"])
def test_the_voice_has_nothing_to_say_without_words(text):
    assert list(FakeTts().speak(text, "heart", 1.0)) == []


def test_each_stage_takes_the_time_that_was_set():
    slept = []
    delays = FakeDelays(0.001, 0.002, 0.003, 0.004, 0.005, 0.006)
    engines = fake_engines(delays, answer="One two three.", sleep=slept.append)
    engines.vad.open().probability(SPEECH)
    engines.end_of_turn.probability(SPEECH)
    list(engines.stt.transcribe(SPEECH))
    list(engines.llm.open().generate(QUESTION, Sampling()))
    list(engines.tts.speak("Four.", "heart", 1.0))
    assert slept == [0.001, 0.002, 0.003, 0.004, 0.005, 0.005, 0.006]


CALLS = {
    "vad": lambda e: e.vad.open().probability(SPEECH),
    "end_of_turn": lambda e: e.end_of_turn.probability(SPEECH),
    "stt": lambda e: list(e.stt.transcribe(SPEECH)),
    "llm": lambda e: list(e.llm.open().generate(QUESTION, Sampling())),
    "tts": lambda e: list(e.tts.speak("Hi.", "heart", 1.0)),
}


@pytest.mark.parametrize("stage", CALLS)
def test_a_stage_can_be_broken_and_mended_while_the_others_go_on(stage):
    broken = set()
    engines = fake_engines(fail_at=broken)
    CALLS[stage](engines)
    broken.add(stage)
    with pytest.raises(FakeFailed, match=stage):
        CALLS[stage](engines)
    for other in CALLS.keys() - {stage}:
        CALLS[other](engines)


def test_the_end_of_turn_is_as_likely_as_was_set():
    assert FakeEndOfTurn(0.3).probability(SPEECH) == 0.3
    assert fake_engines(end_of_turn=0.1).end_of_turn.probability(SPEECH) == 0.1
