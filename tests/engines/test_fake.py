import numpy as np
import pytest

from voiceedge.audio.pcm import first_audible
from voiceedge.engines import Finished, Message, Piece, Prefilled, Prompt, Sampling
from voiceedge.engines.fake import (
    FakeDelays,
    FakeEndOfTurn,
    FakeFailed,
    FakeLlm,
    FakeStt,
    FakeTts,
    FakeVad,
    fake_engines,
    planted,
)
from voiceedge.errors import ConfigError, ContextFull, Overloaded

SPEECH = np.full(512, 0.1, dtype=np.float32)
QUESTION = Prompt((Message("system", "Be brief."), Message("user", "What is the capital of France?")))


def said(steps):
    return "".join(step.text for step in steps if isinstance(step, Piece))


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


def test_the_llm_says_its_answer_a_word_a_token_and_finishes():
    stream = FakeLlm("Paris it is.").open()
    steps = list(stream.generate(QUESTION, Sampling()))
    assert said(steps) == "Paris it is."
    count = stream.count(QUESTION)
    assert steps[-1] == Finished("stop", prompt_tokens=count, cached_tokens=0, completion_tokens=3)


def test_a_second_turn_prefills_only_what_is_new():
    llm = FakeLlm("Paris it is.")
    stream = llm.open()
    first = list(stream.generate(QUESTION, Sampling()))
    answer = Message("assistant", said(first), tuple(s.token for s in first if isinstance(s, Piece)))
    followed = Prompt((*QUESTION.messages, answer, Message("user", "And Spain?")))
    steps = list(stream.generate(followed, Sampling()))
    finished = steps[-1]
    assert finished.cached_tokens == stream.count(QUESTION) + 3
    new = sum(step.tokens for step in steps if isinstance(step, Prefilled))
    assert new == finished.prompt_tokens - finished.cached_tokens


def test_a_warm_prefix_is_used_again_and_a_changed_one_is_not():
    stream = FakeLlm().open()
    instructions = Prompt(QUESTION.messages[:1])
    warmed = sum(step.tokens for step in stream.warm(instructions))
    assert list(stream.generate(QUESTION, Sampling()))[-1].cached_tokens == warmed
    other = Prompt((Message("system", "Be long."), *QUESTION.messages[1:]))
    assert list(stream.generate(other, Sampling()))[-1].cached_tokens == 2  # <system> Be


def test_words_that_are_still_coming_are_warmed_all_but_the_last():
    stream = FakeLlm().open()
    growing = Prompt((Message("user", "What is the cap"),))
    assert sum(step.tokens for step in stream.warm(growing, unfinished=True)) == 4  # <user> What is the
    whole = Prompt((Message("user", "What is the capital of France?"),))
    assert list(stream.generate(whole, Sampling()))[-1].cached_tokens == 4


def test_prefill_comes_in_steps():
    prompt = Prompt((Message("user", "word " * 40),))
    steps = [step for step in FakeLlm().open().generate(prompt, Sampling()) if isinstance(step, Prefilled)]
    assert [step.tokens for step in steps] == [16, 16, 11]


def test_max_tokens_and_stop_strings_end_an_answer():
    stream = FakeLlm("Paris. Or Lyon.").open()
    capped = list(stream.generate(QUESTION, Sampling(max_tokens=1)))
    assert (said(capped), capped[-1].reason) == ("Paris.", "length")
    stopped = list(stream.generate(QUESTION, Sampling(stop=("r Ly",))))
    assert said(stopped) == "Paris. Or"
    assert stopped[-1].reason == "stop"


def test_an_answer_that_was_left_leaves_a_usable_cache():
    stream = FakeLlm().open()
    answer = stream.generate(QUESTION, Sampling())
    while not isinstance(next(answer), Piece):
        pass
    answer.close()
    again = list(stream.generate(QUESTION, Sampling()))
    assert again[-1].cached_tokens == stream.count(QUESTION) - 1


def test_slots_run_out_and_come_back_once():
    llm = FakeLlm(slots=1)
    stream = llm.open()
    with pytest.raises(Overloaded):
        llm.open()
    stream.close()
    stream.close()
    llm.open()
    with pytest.raises(Overloaded):
        llm.open()


def test_a_prompt_without_room_for_an_answer_is_refused():
    stream = FakeLlm(context_tokens=5).open()
    with pytest.raises(ContextFull):
        next(stream.generate(QUESTION, Sampling()))


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


def test_a_defect_is_planted_by_the_name_of_the_engines():
    assert planted("fake") == FakeDelays()
    assert planted("fake:llm+200") == FakeDelays(llm_first_token_s=0.2)
    assert planted("fake:stt+50,tts+1,end_of_turn+7") == FakeDelays(end_of_turn_s=0.007, stt_s=0.05, tts_s=0.001)


@pytest.mark.parametrize("engines", ["fake:llm", "fake:ears+200", "fake:llm+-5", "fake:llm+0.2", "fake:vad+1"])
def test_what_is_no_defect_is_refused(engines):
    with pytest.raises(ConfigError, match="is no delay"):
        planted(engines)


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
