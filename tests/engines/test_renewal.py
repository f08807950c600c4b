"""Engines that are loaded anew: real threads, no sleeping."""

import gc
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest

from tests.real import local_models
from tests.speech import RATE_HZ, say
from voiceedge.audio.resample import resample
from voiceedge.engines import LISTENING_RATE_HZ, STAGES, Message, Piece, Prompt, Sampling
from voiceedge.engines import renewal as module
from voiceedge.engines.fake import FakeLlm, FakeVad, fake_engines
from voiceedge.engines.loading import load_engines, load_stage, thread_plan
from voiceedge.engines.renewal import FAILURES, LONGEST_LOAD_S, MOST_LOADS, Renewal, parts_of
from voiceedge.errors import EngineFailed, Overloaded

LONG_S = 10.0
"""Only a failing test waits for it."""
PROMPT = Prompt((Message("user", "What is the capital of France?"),))
FRAME = np.zeros(FakeVad.frame_samples, np.float32)


class Hands:
    """A clock that a test turns."""

    def __init__(self):
        self.at = 1000.0

    def __call__(self):
        return self.at


class Loader:
    """Loads fakes, and fails as often as it is told to."""

    def __init__(self, **fakes):
        self.fakes = fakes
        self.failures = []
        self.stages = []
        self.made = []

    def __call__(self, stage):
        self.stages.append((stage, threading.current_thread().name))
        if self.failures:
            raise self.failures.pop()
        parts = parts_of(fake_engines(**self.fakes), stage)
        self.made.append(parts)
        return parts


class Renewed:
    """A renewal, and what came of it."""

    def __init__(self, engines=None, load=None):
        self.clock, self.load = Hands(), load or Loader()
        self.renewal = Renewal(engines or fake_engines(), self.load, clock=self.clock)
        self.changed = threading.Semaphore(0)
        self.renewal.on_change = self.changed.release

    def hang(self, stage):
        """Let a stage hang, and wait for another one in its place."""
        self.clock.at += 1
        self.renewal.hung(stage, self.clock.at)
        self.wait()

    def fail(self, stage, times=FAILURES):
        self.clock.at += 1
        for _ in range(times):
            self.renewal.failed(stage, self.clock.at)

    def wait(self):
        assert self.changed.acquire(timeout=LONG_S)


@pytest.fixture
def renewed(monkeypatch):
    monkeypatch.setattr(module, "BACK_OFF_S", 0.001)
    one = Renewed()
    yield one
    one.renewal.close()


def words(stream):
    return "".join(step.text for step in stream.generate(PROMPT, Sampling()) if isinstance(step, Piece))


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


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_hangs_is_loaded_anew_in_a_thread_and_no_other(renewed, stage):
    renewed.hang(stage)
    assert renewed.load.stages == [(stage, f"load {stage}")]
    assert renewed.renewal.rebuilds == dict.fromkeys(STAGES, 0) | {stage: 1}
    assert renewed.renewal.out == frozenset()


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


def test_three_failures_in_a_row_are_needed(renewed):
    renewed.fail("stt", FAILURES - 1)
    renewed.renewal.worked("stt")
    renewed.fail("stt", FAILURES - 1)
    assert renewed.load.stages == []
    renewed.fail("stt", 1)
    renewed.wait()
    assert renewed.renewal.rebuilds["stt"] == 1


def test_frames_that_no_scheduler_sees_count_as_well():
    broken = {"vad"}
    one = Renewed(fake_engines(fail_at=broken))
    frames = one.renewal.engines.vad.open()
    for _ in range(FAILURES):
        with pytest.raises(Exception, match=r"told to fail|loaded anew"):
            frames.probability(FRAME)
    one.wait()
    assert frames.probability(FRAME) < 0.5


def test_what_began_with_the_engine_before_is_not_the_fault_of_this_one(renewed):
    begun = renewed.clock.at
    renewed.hang("llm")
    renewed.clock.at += 5
    renewed.renewal.hung("llm", begun)
    for _ in range(FAILURES):
        renewed.renewal.failed("llm", begun)
    assert renewed.renewal.out == frozenset()
    assert len(renewed.load.stages) == 1


def test_two_steps_that_hang_in_one_engine_are_one_rebuild(renewed):
    gate = threading.Event()
    load, renewed.renewal._load = renewed.renewal._load, lambda stage: gate.wait(LONG_S) and load(stage)
    for _ in range(3):
        renewed.renewal.hung("tts", renewed.clock.at)
    gate.set()
    renewed.wait()
    assert len(renewed.load.stages) == 1


def test_what_fails_sheds_what_it_only_keeps_to_be_quicker():
    class Keeping(FakeLlm):
        shed_by = ()

        def shed(self):
            self.shed_by += (threading.current_thread(),)

    llm = Keeping()
    one = Renewed(replace(fake_engines(), llm=llm))
    one.fail("llm", 1)
    one.fail("tts", 1)
    assert llm.shed_by == (threading.main_thread(),)
    assert one.renewal.out == frozenset()


def test_a_load_that_fails_is_tried_again_and_longer_apart(renewed, monkeypatch):
    waits = []
    monkeypatch.setattr(renewed.renewal._closed, "wait", waits.append)
    renewed.load.failures = [MemoryError(), RuntimeError()]
    renewed.hang("stt")
    assert waits == [0.0, module.BACK_OFF_S, 2 * module.BACK_OFF_S]
    renewed.hang("stt")  # again, and nothing has come of it meanwhile
    assert waits[3:] == [4 * module.BACK_OFF_S]
    renewed.renewal.worked("stt")
    renewed.hang("stt")
    assert waits[4:] == [0.0]


def test_a_stage_that_cannot_be_loaded_is_lost(renewed):
    renewed.load.failures = [RuntimeError("no such file")] * MOST_LOADS
    renewed.renewal.hung("llm", renewed.clock.at)
    for thread in threading.enumerate():
        if thread.name == "load llm":
            thread.join(LONG_S)
    assert renewed.renewal.lost(renewed.clock.at) == "llm"
    assert renewed.renewal.out == {"llm"}
    assert len(renewed.load.stages) == MOST_LOADS


def test_a_load_that_does_not_come_to_an_end_is_lost_too(renewed):
    gate, asked = threading.Event(), threading.Event()
    renewed.renewal._load = lambda stage: asked.set() or (gate.wait(LONG_S) and parts_of(fake_engines(), stage))
    renewed.renewal.hung("tts", renewed.clock.at)
    assert asked.wait(LONG_S)
    assert renewed.renewal.lost(renewed.clock.at + LONGEST_LOAD_S) is None
    assert renewed.renewal.lost(renewed.clock.at + LONGEST_LOAD_S + 1) == "tts"
    gate.set()
    renewed.wait()


def test_a_node_that_stops_loads_nothing_any_more(renewed):
    renewed.renewal.close()
    renewed.renewal.hung("llm", renewed.clock.at)
    for thread in threading.enumerate():
        if thread.name == "load llm":
            thread.join(LONG_S)
    assert renewed.load.stages == []


def test_sessions_may_come_and_go_while_engines_do(renewed):
    """Streams are opened in the event loop, engines taken away by other threads."""
    stop = threading.Event()

    def come_and_go():  # pytest fails the test for what it raises
        while not stop.is_set():
            renewed.renewal.engines.llm.open().close()
            renewed.renewal.engines.vad.open()

    threads = [threading.Thread(target=come_and_go) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        renewed.renewal.worked("llm")
        renewed.hang("llm")
    stop.set()
    for thread in threads:
        thread.join()
    stream = renewed.renewal.engines.llm.open()
    assert words(stream)
    assert renewed.load.made[-1]["llm"].free_slots == 3


@pytest.mark.models
@pytest.mark.parametrize("stage", STAGES)
def test_real_engines_that_were_loaded_anew_give_what_they_gave_before(stage):
    models, options = local_models("nano"), {"slots": 2, "context_tokens": 512, "threads": thread_plan(2)}
    one = Renewed(load_engines(models, **options), lambda stage: load_stage(stage, models, **options))
    engines = one.renewal.engines
    speech = resample(say("What is the capital of France?"), RATE_HZ, LISTENING_RATE_HZ)
    stream, frames = engines.llm.open(), engines.vad.open()

    def all_of_it():
        return (
            frames.probability(np.zeros(engines.vad.frame_samples, np.float32)) < 0.5,
            engines.end_of_turn.probability(speech),
            [segment.text for segment in engines.stt.transcribe(speech)],
            words(stream),
            engines.sentence_end.probability("What is the capital of"),
            np.concatenate(list(engines.tts.speak("Paris.", engines.tts.voices[0], 1.0))).tolist(),
        )

    before = all_of_it()
    one.hang(stage)
    assert all_of_it() == before
