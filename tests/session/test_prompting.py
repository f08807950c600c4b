"""What the LLM is shown, and what it forgets (the way of an answer itself is tested over sockets)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.conversation.history import FunctionCall, History, Item, Line
from voiceedge.engines import Call, Message, Prompt, Tool, ToolChoice
from voiceedge.errors import ContextFull
from voiceedge.protocol.response_config import response_config
from voiceedge.protocol.session_config import LocalNames, default_session
from voiceedge.session.prompting import (
    LONGEST_TOKENS,
    cost_of,
    cost_of_opening,
    forget_what_does_not_fit,
    prompt_of,
    require_plausible,
)

NAMES = LocalNames(model="llm", transcription="stt", voices=("heart",))


def settings(**asked):
    return response_config(default_session(session_id="s", names=NAMES, expires_at=0), asked)


def chat(turns: int, words: int = 20) -> History:
    history = History()
    for turn in range(turns):
        history.insert(Item(f"u{turn}", "message", "user", "word " * words))
        history.insert(Item(f"a{turn}", "message", "assistant", "word " * words))
    history.insert(Item("last", "message", "user", "word " * words))
    return history


def test_instructions_come_first_and_those_for_one_answer_last():
    prompt = prompt_of(
        "Be kind.", (), [Line("user", "hi"), Line("assistant", "hello", (1, 2))], settings(instructions="Be brief.")
    )
    assert [(message.role, message.text) for message in prompt.messages] == [
        ("system", "Be kind."),
        ("user", "hi"),
        ("assistant", "hello"),
        ("system", "Be brief."),
    ]
    assert prompt.messages[2].tokens == (1, 2)


def test_without_instructions_there_is_no_system_message():
    assert prompt_of("", (), [Line("user", "hi")]).messages[0].role == "user"


def test_what_fits_is_not_forgotten():
    history = chat(3)
    assert forget_what_does_not_fit(history, 0, 2048, 300) == 0
    assert len(history.lines()) == 7


def test_what_does_not_fit_is_forgotten_down_to_half_of_the_room():
    history = chat(60)
    assert forget_what_does_not_fit(history, cost_of_opening("Be kind.", ()), 2048, 300) > 0
    left = sum(cost_of(line) for line in history.lines())
    assert left <= (2048 - 300) / 2
    assert history.lines()[-1].role == "user"
    assert history.lines()[0].role == "user"


@given(st.integers(0, 80), st.integers(1, 60))
def test_forgetting_leaves_nothing_more_to_forget(turns: int, words: int):
    history = chat(turns, words)
    forget_what_does_not_fit(history, 0, 1024, 200)
    assert forget_what_does_not_fit(history, 0, 1024, 200) == 0


def test_generated_text_costs_its_tokens_and_other_text_a_careful_guess():
    assert cost_of(Line("assistant", "x" * 300, tuple(range(10)))) < cost_of(Line("assistant", "x" * 300))


def test_the_client_decides_whether_tools_may_must_or_must_not_be_called():
    look = {"type": "function", "name": "look", "description": "Look.", "parameters": {"type": "object"}}
    config = settings(tools=[look], tool_choice={"type": "function", "name": "look"})
    prompt = prompt_of("", config.tools, (), config)
    assert prompt.tools == (Tool("look", "Look.", {"type": "object"}),)
    assert prompt.tool_choice == ToolChoice("required", "look", parallel=False)
    assert prompt_of("", config.tools, (), settings(tool_choice="none")).tool_choice == ToolChoice("none")
    assert prompt_of("", config.tools).tool_choice == ToolChoice("auto")


def test_calls_and_what_they_returned_are_part_of_the_chat():
    call = FunctionCall("c1", "look", '{"at": "sea"}')
    history = History()
    history.insert(Item("u", "message", "user", "Look!"))
    history.insert(Item("a", "message", "assistant", "Wait.", pieces=((5, "Wait."),)))
    history.insert(Item("f", "function_call", call=call, pieces=((6, ""), (7, ""))))
    history.insert(Item("o", "function_call_output", text="blue"))
    messages = prompt_of("", (), history.lines()).messages
    assert messages[1] == Message("assistant", "Wait.", (5, 6, 7), (Call("look", '{"at": "sea"}'),))
    assert messages[2] == Message("tool", "blue")


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt((Message("user", "x" * 1601),)),
        Prompt((Message("user", "x" * 801), Message("assistant", "x" * 801))),
        Prompt((Message("assistant", "", calls=(Call("f", "x" * 1601),)),)),
        Prompt((), (Tool("f", "x" * 1601, {}),)),
        Prompt((), (Tool("f", "", {"enum": ["x" * 1601]}),)),
    ],
)
def test_what_cannot_fit_is_refused_before_it_is_tokenised(prompt):
    require_plausible(prompt, 10_000)
    with pytest.raises(ContextFull, match="100 tokens"):
        require_plausible(prompt, 1600 // LONGEST_TOKENS)
