import pytest

from voiceedge.engines import Finished, Message, Piece, Prefilled, Prompt, Sampling
from voiceedge.engines.fake_llm import FakeLlm
from voiceedge.errors import ContextFull, Overloaded

QUESTION = Prompt((Message("system", "Be brief."), Message("user", "What is the capital of France?")))


def said(steps):
    return "".join(step.text for step in steps if isinstance(step, Piece))


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
