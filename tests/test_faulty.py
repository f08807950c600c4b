"""The engines that fail as planned: they have to, or what is tested with them is not."""

import threading

import numpy as np
import pytest

from tests.faulty import KINDS, Broken, Fault, Panic, Plan, faulty, faulty_load, read_faults
from voiceedge.engines import STAGES, Message, Prompt, Sampling
from voiceedge.engines.fake import FakeVad, fake_engines
from voiceedge.engines.renewal import parts_of

PROMPT = Prompt((Message("user", "Hello."),))
SPARED = Prompt((Message("user", "Hello, neighbour."),))
LONG_S = 10.0


def test_a_plan_is_read_as_it_is_written():
    assert read_faults("llm:raise:0.01, stt:hang=30:0.002,tts:slow=0.5:0.02,llm:hang:#40") == [
        Fault("llm", "raise", 0.01),
        Fault("stt", "hang", 0.002, seconds=30.0),
        Fault("tts", "slow", 0.02, seconds=0.5),
        Fault("llm", "hang", at=40),
    ]
    assert read_faults("") == []


@pytest.mark.parametrize("text", ["ears:raise:1", "llm:sing:1", "llm:raise", "llm:raise:often"])
def test_a_plan_that_cannot_be_is_refused(text):
    with pytest.raises(ValueError):
        read_faults(text)


def use(engines, stage, prompt=PROMPT):
    """A step or more of a stage."""
    audio = np.ones(1600, np.float32)
    match stage:
        case "vad":
            return engines.vad.open().probability(np.zeros(FakeVad.frame_samples, np.float32))
        case "end_of_turn":
            return engines.end_of_turn.probability(audio)
        case "stt":
            return list(engines.stt.steps(audio))
        case "llm":
            return list(engines.llm.open().generate(prompt, Sampling()))
        case "tts":
            return list(engines.tts.speak(prompt.messages[0].text, "heart", 1.0))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(("kind", "error"), [("raise", Broken), ("memory", MemoryError), ("panic", Panic)])
def test_every_stage_fails_as_planned_and_works_when_it_is_mended(stage, kind, error):
    plan = Plan(f"{stage}:{kind}:1")
    engines = faulty(fake_engines(), plan)
    for _ in range(2):
        with pytest.raises(error):
            use(engines, stage)
    assert plan.happened == {(stage, kind): 2}
    plan.mend()
    use(engines, stage)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_is_not_broken_does_what_it_did_before(stage):
    plan = Plan([Fault(other, "raise", 1.0) for other in STAGES if other != stage])
    assert repr(use(faulty(fake_engines(), plan), stage)) == repr(use(fake_engines(), stage))


def test_what_hangs_goes_on_when_it_is_mended():
    plan = Plan("llm:hang:#3")
    engines = faulty(fake_engines(), plan)
    got = []
    thread = threading.Thread(target=lambda: got.append(use(engines, "llm")))
    thread.start()
    assert plan.broken.wait(LONG_S)
    assert plan.hanging == 1
    assert got == []
    plan.mend()
    thread.join()
    assert got == [use(fake_engines(), "llm")]
    assert plan.hanging == 0


@pytest.mark.parametrize("kind", ["hang", "slow"])
def test_what_hangs_or_is_slow_for_so_long_goes_on_by_itself(kind):
    plan = Plan(f"tts:{kind}=0.001:#1")
    assert use(faulty(fake_engines(), plan), "tts")
    assert plan.happened == {("tts", kind): 1}


def test_chance_can_be_repeated():
    def fates(seed):
        plan = Plan("end_of_turn:raise:0.3", seed=seed)
        engines = faulty(fake_engines(), plan)
        said = []
        for _ in range(50):
            try:
                said.append(use(engines, "end_of_turn"))
            except Broken:
                said.append(None)
        return said

    assert fates(1) == fates(1) != fates(2)
    assert 5 < fates(1).count(None) < 25


def test_the_step_that_is_armed_fails_once():
    plan = Plan()
    engines = faulty(fake_engines(), plan)
    plan.arm("stt", "raise", 2)
    with pytest.raises(Broken):
        use(engines, "stt")
    use(engines, "stt")
    assert plan.happened == {("stt", "raise"): 1}


def test_the_neighbour_is_spared():
    plan = Plan("llm:raise:1,tts:raise:1")
    engines = faulty(fake_engines(), plan)
    assert use(engines, "llm", SPARED)
    assert use(engines, "tts", SPARED)


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_loaded_anew_is_faulty_as_well(stage):
    plan = Plan(f"{stage}:raise:1")
    load = faulty_load(lambda stage: parts_of(fake_engines(), stage), plan)
    sound = fake_engines()
    made = type(sound)(**{name: load(name)[name] for name in STAGES})
    with pytest.raises(Broken):
        use(made, stage)


def test_all_kinds_are_tried_here():
    assert set(KINDS) == {"raise", "memory", "panic", "hang", "slow"}
