"""What the LLM is shown, and what it forgets (the way of an answer itself is tested over sockets)."""

from hypothesis import given
from hypothesis import strategies as st

from voiceedge.conversation.history import History, Item, Line
from voiceedge.session.answer import cost_of, forget_what_does_not_fit, prompt_of


def chat(turns: int, words: int = 20) -> History:
    history = History()
    for turn in range(turns):
        history.insert(Item(f"u{turn}", "message", "user", "word " * words))
        history.insert(Item(f"a{turn}", "message", "assistant", "word " * words))
    history.insert(Item("last", "message", "user", "word " * words))
    return history


def test_instructions_come_first_and_those_for_one_answer_last():
    prompt = prompt_of("Be kind.", [Line("user", "hi"), Line("assistant", "hello", (1, 2))], "Be brief.")
    assert [(message.role, message.text) for message in prompt.messages] == [
        ("system", "Be kind."),
        ("user", "hi"),
        ("assistant", "hello"),
        ("system", "Be brief."),
    ]
    assert prompt.messages[2].tokens == (1, 2)


def test_without_instructions_there_is_no_system_message():
    assert prompt_of("", [Line("user", "hi")]).messages[0].role == "user"


def test_what_fits_is_not_forgotten():
    history = chat(3)
    assert forget_what_does_not_fit(history, "", 2048, 300) == 0
    assert len(history.lines()) == 7


def test_what_does_not_fit_is_forgotten_down_to_half_of_the_room():
    history = chat(60)
    assert forget_what_does_not_fit(history, "Be kind.", 2048, 300) > 0
    left = sum(cost_of(line) for line in history.lines())
    assert left <= (2048 - 300) / 2
    assert history.lines()[-1].role == "user"
    assert history.lines()[0].role == "user"


@given(st.integers(0, 80), st.integers(1, 60))
def test_forgetting_leaves_nothing_more_to_forget(turns: int, words: int):
    history = chat(turns, words)
    forget_what_does_not_fit(history, "", 1024, 200)
    assert forget_what_does_not_fit(history, "", 1024, 200) == 0


def test_generated_text_costs_its_tokens_and_other_text_a_careful_guess():
    assert cost_of(Line("assistant", "x" * 300, tuple(range(10)))) < cost_of(Line("assistant", "x" * 300))
