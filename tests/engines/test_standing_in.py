"""What stands in for an engine passes on to the one that is there."""

import gc
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest

from tests.engines.renewed import LONG_S, PROMPT, Loader, Renewed, words
from voiceedge.engines import LISTENING_RATE_HZ, STAGES, Piece, Sampling
from voiceedge.engines.fake import FakeVad, fake_engines
from voiceedge.engines.renewal import FAILURES
from voiceedge.errors import EngineFailed, Overloaded

FRAME = np.zeros(FakeVad.frame_samples, np.float32)


@pytest.fixture
def renewed():
    one = Renewed()
    yield one
    one.renewal.close()


def test_engines_that_are_well_do_what_they_did_before(renewed):
    plain, engines = fake_engines(), renewed.renewal.engines
    audio = np.ones(LISTENING_RATE_HZ, np.float32)
    assert engines.vad.frame_samples == plain.vad.frame_samples
    assert engines.vad.open().probability(FRAME) == plain.vad.open().probability(FRAME)
    assert engines.end_of_turn.probability(audio) == plain.end_of_turn.probability(audio)
    assert list(engines.stt.steps(audio)) == list(plain.stt.steps(audio))
    assert list(engines.stt.transcribe(audio)) == list(plain.stt.transcribe(audio))
    assert engines.llm.context_tokens == plain.llm.context_tokens
    assert engines.llm.check_tools(()) is None
    stream = engines.llm.open()
    assert stream.count(PROMPT) == plain.llm.open().count(PROMPT)
    assert list(stream.warm(PROMPT))
    assert words(stream) == words(plain.llm.open())
    assert (engines.tts.sample_rate_hz, engines.tts.voices) == (plain.tts.sample_rate_hz, plain.tts.voices)
    spoken, expected = engines.tts.speak("a word", "heart", 1.0), plain.tts.speak("a word", "heart", 1.0)
    assert [part.tolist() for part in spoken] == [part.tolist() for part in expected]
    assert engines.names == plain.names
    assert engines.sentence_end is None


def test_generators_are_the_engines_own_so_that_a_token_costs_nothing(renewed):
    generator = renewed.renewal.engines.llm.open().generate(PROMPT, Sampling())
    assert generator.__qualname__ == "_FakeLlmStream.generate"


def test_a_stream_is_opened_anew_when_it_is_used_next(renewed):
    engines = renewed.renewal.engines
    stream, frames = engines.llm.open(), engines.vad.open()
    before = words(stream)
    renewed.load.fakes = {"answer": "I am the next one."}
    renewed.hang("llm")
    renewed.hang("vad")
    assert before != words(stream) == "I am the next one."
    assert frames.probability(FRAME) < 0.5
    (llm,) = [made["llm"] for made in renewed.load.made if "llm" in made]
    assert llm.free_slots == 3
    stream.close()
    assert llm.free_slots == 4


def test_what_is_in_the_middle_of_an_answer_ends_it(renewed):
    stream = renewed.renewal.engines.llm.open()
    steps = stream.generate(PROMPT, Sampling())
    text = next(step.text for step in steps if isinstance(step, Piece))
    renewed.hang("llm")
    text += "".join(step.text for step in steps if isinstance(step, Piece))
    assert text == "Paris is the capital of France. It lies on the Seine."


def test_nothing_can_be_begun_with_an_engine_that_is_out_of_service(renewed):
    gate = threading.Event()
    load, renewed.renewal._load = renewed.renewal._load, lambda stage: gate.wait(LONG_S) and load(stage)
    engines = renewed.renewal.engines
    stream, frames = engines.llm.open(), engines.vad.open()
    for stage in STAGES:
        renewed.renewal.hung(stage, renewed.clock.at)
    assert renewed.renewal.out == frozenset(STAGES)
    audio = np.ones(10, np.float32)
    later = engines.llm.open()  # a session that begins now
    for call in (
        lambda: frames.probability(FRAME),
        lambda: engines.end_of_turn.probability(audio),
        lambda: engines.stt.steps(audio),
        lambda: stream.generate(PROMPT, Sampling()),
        lambda: later.warm(PROMPT),
        lambda: engines.llm.check_tools(()),
        lambda: engines.tts.speak("a", "heart", 1.0),
    ):
        with pytest.raises(EngineFailed, match="loaded anew"):
            call()
    gate.set()
    for _ in STAGES:
        renewed.wait()
    assert words(stream) == words(later)


def test_a_slot_is_refused_as_before_when_all_are_taken():
    engines = Renewed(fake_engines(slots=1)).renewal.engines
    engines.llm.open()
    with pytest.raises(Overloaded):
        engines.llm.open()


def test_a_stream_that_was_closed_takes_no_slot_of_the_next_engine(renewed):
    stream = renewed.renewal.engines.llm.open()
    stream.close()
    stream.close()
    renewed.hang("llm")
    with pytest.raises(EngineFailed, match="closed"):
        stream.generate(PROMPT, Sampling())
    assert renewed.load.made[0]["llm"].free_slots == 4


def test_the_sentence_end_is_a_view_of_the_llm_and_goes_with_it():
    class Judge:
        def __init__(self, probability):
            self.probability = lambda _: probability

    class WithJudge(Loader):
        def __call__(self, stage):
            return super().__call__(stage) | ({"sentence_end": Judge(0.9)} if stage == "llm" else {})

    one = Renewed(replace(fake_engines(), sentence_end=Judge(0.1)), WithJudge())
    judge = one.renewal.engines.sentence_end
    assert judge.probability("x") == 0.1
    one.hang("llm")
    assert judge.probability("x") == 0.9


def test_the_engine_that_was_replaced_leaves_the_memory_though_streams_of_it_are_kept():
    def engines():
        made = fake_engines()
        return made, weakref.ref(made.llm)

    made, old = engines()
    one = Renewed(made)
    stream = one.renewal.engines.llm.open()
    del made
    one.hang("llm")
    gc.collect()
    assert old() is None
    assert words(stream)


def test_frames_that_no_scheduler_sees_count_as_well():
    broken = {"vad"}
    one = Renewed(fake_engines(fail_at=broken))
    frames = one.renewal.engines.vad.open()
    for _ in range(FAILURES):
        with pytest.raises(Exception, match=r"told to fail|loaded anew"):
            frames.probability(FRAME)
    one.wait()
    assert frames.probability(FRAME) < 0.5
