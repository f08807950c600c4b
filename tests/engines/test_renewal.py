"""Engines that are loaded anew: real threads, no sleeping."""

import errno
import os
import threading
from dataclasses import replace

import numpy as np
import pytest

from tests.engines.renewed import LONG_S, Renewed, words
from tests.real import local_models
from tests.speech import RATE_HZ, say
from voiceedge.audio.resample import resample
from voiceedge.engines import LISTENING_RATE_HZ, STAGES
from voiceedge.engines import renewal as module
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.fake_llm import FakeLlm
from voiceedge.engines.loading import load_engines, load_stage, thread_plan
from voiceedge.engines.renewal import FAILURES, LONGEST_BACK_OFF_S, LONGEST_LOAD_S, MOST_LOADS, PROVEN_S, parts_of
from voiceedge.errors import ModelCorrupt


@pytest.fixture
def renewed(monkeypatch):
    monkeypatch.setattr(module, "BACK_OFF_S", 0.001)
    one = Renewed()
    yield one
    one.renewal.close()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_hangs_is_loaded_anew_in_a_thread_and_no_other(renewed, stage):
    renewed.hang(stage)
    assert renewed.load.stages == [(stage, f"load {stage}")]
    assert renewed.renewal.rebuilds == dict.fromkeys(STAGES, 0) | {stage: 1}
    assert renewed.renewal.out == frozenset()


def test_three_failures_in_a_row_are_needed(renewed):
    renewed.fail("stt", FAILURES - 1)
    renewed.renewal.worked("stt")
    renewed.fail("stt", FAILURES - 1)
    assert renewed.load.stages == []
    renewed.fail("stt", 1)
    renewed.wait()
    assert renewed.renewal.rebuilds["stt"] == 1


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
    renewed.fall_sick("stt")
    assert waits == [0.0, module.BACK_OFF_S, 2 * module.BACK_OFF_S]
    renewed.fall_sick("stt")  # again, and nothing has come of it meanwhile
    assert waits[3:] == [4 * module.BACK_OFF_S]


def test_an_engine_that_hangs_again_and_again_is_back_at_once_for_the_others(renewed, monkeypatch):
    """Each of its steps has waited for its time limit; with pauses one session could silence all others."""
    waits = []
    monkeypatch.setattr(renewed.renewal._closed, "wait", waits.append)
    renewed.fall_sick("tts")
    for _ in range(4):
        renewed.hang("tts")
    assert waits == [0.0] * 5


def test_a_good_step_does_not_prove_an_engine_and_a_minute_does(renewed, monkeypatch):
    """What works for a while and fails again must not be loaded again and again without a pause."""
    waits = []
    monkeypatch.setattr(renewed.renewal._closed, "wait", waits.append)
    renewed.fall_sick("llm")
    renewed.clock.at += PROVEN_S - 2
    renewed.renewal.worked("llm")
    renewed.fall_sick("llm")
    assert waits == [0.0, module.BACK_OFF_S]
    renewed.clock.at += PROVEN_S
    renewed.renewal.worked("llm")
    renewed.fall_sick("llm")
    assert waits[2:] == [0.0]


def ended(stage):
    """Wait for the thread that loads a stage to end."""
    for thread in threading.enumerate():
        if thread.name == f"load {stage}":
            thread.join(LONG_S)


def of_files(number):
    """As a model's loader reports that a file could not be opened."""
    error = ModelCorrupt("llm.json cannot be read")
    error.__cause__ = OSError(number, os.strerror(number))
    return error


@pytest.mark.parametrize(
    "error", [OSError(errno.EMFILE, "Too many"), OSError(errno.ENFILE, "Too many"), of_files(errno.EMFILE)]
)
def test_a_load_that_finds_no_file_to_be_opened_does_not_count_and_is_tried_again(renewed, monkeypatch, error):
    waits = []
    monkeypatch.setattr(renewed.renewal._closed, "wait", waits.append)
    renewed.load.failures = [error] * (3 * MOST_LOADS)
    renewed.hang("llm")
    assert renewed.renewal.lost(renewed.clock.at) is None
    assert waits == [0.0, *(module.BACK_OFF_S * 2**load for load in range(3 * MOST_LOADS))]


def test_loads_are_a_minute_apart_at_most_however_many_there_were():
    assert module._back_off_s(100_000) == LONGEST_BACK_OFF_S


def test_a_load_that_fails_while_no_file_can_be_opened_does_not_count_whatever_it_says(renewed, monkeypatch):
    """Onnxruntime and ctranslate2 do not say why they cannot read a model."""

    def full(path, flags):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(module.os, "open", full)
    renewed.load.failures = [RuntimeError("Unable to open file 'model.bin'")] * (MOST_LOADS + 3)
    renewed.hang("stt")
    assert renewed.renewal.lost(renewed.clock.at) is None


@pytest.mark.parametrize("error", [RuntimeError("no such file"), of_files(errno.ENOENT)])
def test_a_stage_that_cannot_be_loaded_is_lost(renewed, error):
    renewed.load.failures = [error] * MOST_LOADS
    renewed.renewal.hung("llm", renewed.clock.at)
    ended("llm")
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


def test_a_stage_that_no_thread_can_load_is_lost(renewed, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    renewed.renewal.hung("llm", renewed.clock.at)
    assert renewed.renewal.lost(renewed.clock.at) == "llm"
    assert renewed.renewal.out == {"llm"}


def test_a_node_that_stops_loads_nothing_any_more(renewed):
    renewed.renewal.close()
    renewed.renewal.hung("llm", renewed.clock.at)
    ended("llm")
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
        renewed.clock.at += PROVEN_S
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
