"""Calls through the whole engine: a tiny model of random weights, and the real ones."""

import json
from functools import cache

import jsonschema
import pytest

from tests import real
from tests.modelstore.build.tiny import TEMPLATE, write_tiny
from voiceedge.engines import (
    Call,
    CallClosed,
    CallOpened,
    CallPiece,
    Finished,
    Message,
    Piece,
    Prefilled,
    Prompt,
    Sampling,
    Tool,
    ToolChoice,
)
from voiceedge.engines.onnx_llm import OnnxLlm
from voiceedge.errors import InvalidTool
from voiceedge.modelstore.build import build_llm

LOOK = Tool("look", "", {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"]})
TIMER = Tool(
    "set_timer",
    "Start a countdown timer.",
    {"type": "object", "properties": {"minutes": {"type": "integer", "minimum": 1}}, "required": ["minutes"]},
)
WEATHER = Tool(
    "get_weather",
    "Get the weather of a city.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
KIND = Message("system", "You are the voice of a smart home. Answer in one or two short sentences.")
SHORT = "{% if tools %}{{ tools[0] | tojson }}{% endif %}{# <tool_call> #}" + TEMPLATE
"""A letter is a token of the tiny models, and their context is short."""
REQUIRED = ToolChoice("required", parallel=False)


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def tiny(request, tmp_path_factory):
    built = tmp_path_factory.mktemp(f"calls-{request.param}")
    gguf = write_tiny(built / "tiny.gguf", request.param, tied=False, template=SHORT)
    build_llm(gguf, built, quantise=False)
    return OnnxLlm(built, slots=9, context_tokens=512, threads=1)


@cache
def real_llm(profile):
    return OnnxLlm(real.local_models(profile)["llm"].build, slots=9, context_tokens=2048, threads=1)


def answer(stream, prompt, **sampling):
    return list(stream.generate(prompt, Sampling(**{"max_tokens": 120, **sampling})))


def tokens_of(steps):
    return tuple(step.token for step in steps if isinstance(step, Piece | CallPiece))


def call_of(steps):
    """The only call of an answer."""
    (name,) = [step.name for step in steps if isinstance(step, CallOpened)]
    assert steps.count(CallClosed()) == 1
    return Call(name, "".join(step.text for step in steps if isinstance(step, CallPiece)))


def said(steps):
    return "".join(step.text for step in steps if isinstance(step, Piece))


def goes_on(llm, stream, prompt, steps):
    """The answer of the model to what its call returned; its prompt begins with all that is in the cache."""
    tokens = tokens_of(steps)
    called = Message("assistant", said(steps), tokens, (call_of(steps),))
    after = Prompt((*prompt.messages, called, Message("tool", '{"ok": true}')), prompt.tools)
    shown = llm.chat.tokens(after)
    before = llm.chat.tokens(prompt)
    assert shown[: len(before) + len(tokens)] == [*before, *tokens]
    held = len(stream._slot.tokens)
    assert held >= len(before) + len(tokens) - 8  # the closing markup need not be run before it is asked for
    again = answer(stream, after)
    assert again[-1].cached_tokens == held
    return again


def test_a_call_of_random_weights_is_valid_and_the_cache_goes_on_behind_it(tiny):
    stream = tiny.open()
    prompt = Prompt((KIND, Message("user", "hello")), (LOOK,), REQUIRED)
    steps = answer(stream, prompt)
    jsonschema.validate(json.loads(call_of(steps).arguments), LOOK.parameters)
    assert steps[-1] == Finished("stop", steps[-1].prompt_tokens, 0, len(tokens_of(steps)))
    goes_on(tiny, stream, prompt, steps)
    stream.close()


def test_tokens_that_run_at_once_leave_the_cache_that_single_ones_would(tiny):
    prompt = Prompt((KIND, Message("user", "hello")), (LOOK,), REQUIRED)
    stream = tiny.open()
    steps = answer(stream, prompt)
    called = Message("assistant", "", tokens_of(steps), (call_of(steps),))
    after = Prompt((*prompt.messages, called, Message("user", "hello")))
    behind = answer(stream, after)
    stream.close()
    fresh = tiny.open()
    assert tokens_of(answer(fresh, after)) == tokens_of(behind)
    fresh.close()


def test_warming_with_tools_is_of_use_to_every_conversation(tiny):
    first, other = tiny.open(), tiny.open()
    warmed = sum(step.tokens for step in first.warm(Prompt((KIND,), (LOOK,))))
    steps = answer(other, Prompt((KIND, Message("user", "hello")), (LOOK,)), max_tokens=1)
    assert next(step for step in steps if isinstance(step, Prefilled)).cached == warmed
    first.close()
    other.close()


def test_tools_are_looked_at_before_they_are_used(tiny):
    tiny.check_tools((LOOK,))
    with pytest.raises(InvalidTool, match="uniqueItems"):
        tiny.check_tools((LOOK, Tool("list", "", {"properties": {"a": {"type": "array", "uniqueItems": True}}})))


@pytest.mark.models
def test_a_pattern_that_is_too_much_for_a_grammar_ends_its_own_answer_and_nothing_else():
    much = {"type": "string", "pattern": r"[\s\S]*[a-m][\s\S]{15}"}
    tool = Tool("note", "", {"type": "object", "properties": {"x": much}, "required": ["x"]})
    llm = real_llm("nano")
    llm.check_tools((tool,))
    stream = llm.open()
    asked = (KIND, Message("user", "call note"))
    with pytest.raises(InvalidTool, match="lexer error: too many expressions"):
        answer(stream, Prompt(asked, (tool,), REQUIRED))
    assert isinstance(answer(stream, Prompt(asked))[-1], Finished)
    stream.close()


@pytest.mark.models
@pytest.mark.parametrize("profile", ["nano", "standard"])
def test_a_real_model_calls_what_it_must_and_goes_on_behind_it(profile):
    llm = real_llm(profile)
    stream = llm.open()
    prompt = Prompt((KIND, Message("user", "Set a timer for ten minutes.")), (WEATHER, TIMER), REQUIRED)
    steps = answer(stream, prompt)
    call = call_of(steps)
    tool = {"set_timer": TIMER, "get_weather": WEATHER}[call.name]
    jsonschema.validate(json.loads(call.arguments), tool.parameters)
    assert said(goes_on(llm, stream, prompt, steps)).strip()
    stream.close()


@pytest.mark.models
def test_qwen_chooses_whether_and_what_to_call():
    stream = real_llm("standard").open()

    def ask(text):
        return answer(stream, Prompt((KIND, Message("user", text)), (WEATHER, TIMER)))

    assert call_of(ask("What's the weather in Zürich?")) == Call("get_weather", '{"city": "Zürich"}')
    assert call_of(ask("Set a timer for ten minutes.")) == Call("set_timer", '{"minutes": 10}')
    assert not any(isinstance(step, CallOpened) for step in ask("Good morning! How are you today?"))
    stream.close()


@pytest.mark.models
def test_qwen_says_what_a_function_returned():
    llm = real_llm("standard")
    stream = llm.open()
    question = Message("user", "What's the weather in Zürich?")
    called = Message("assistant", "", (), (Call("get_weather", '{"city": "Zürich"}'),))
    returned = Message("tool", '{"temperature_celsius": 17, "sky": "cloudy"}')
    steps = answer(stream, Prompt((KIND, question, called, returned), (WEATHER, TIMER)), max_tokens=60)
    assert "17" in said(steps)
    assert not any(isinstance(step, CallOpened) for step in steps)
    stream.close()
