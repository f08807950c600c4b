"""The model without weights calls functions by simple rules."""

import json

import jsonschema
import pytest

from voiceedge.engines import (
    Call,
    CallClosed,
    CallOpened,
    CallPiece,
    Finished,
    Message,
    Piece,
    Prompt,
    Sampling,
    Tool,
    ToolChoice,
)
from voiceedge.engines.fake_calls import smallest_call
from voiceedge.engines.fake_llm import FakeLlm

WEATHER = Tool("get_weather", "", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
LIGHT = Tool("turnOn", "", {})
FREE = ToolChoice()


def ask(text="What now?", *after, choice=FREE, tools=(WEATHER, LIGHT)):
    return Prompt((Message("user", text), *after), tools, choice)


def steps_of(prompt, answer="Well.", **sampling):
    return list(FakeLlm(answer).open().generate(prompt, Sampling(**sampling)))


def calls(steps):
    return [step.name for step in steps if isinstance(step, CallOpened)]


def said(steps):
    return "".join(step.text for step in steps if isinstance(step, Piece))


@pytest.mark.parametrize(
    ("text", "choice", "called"),
    [
        ("Get the weather please", ToolChoice(), ["get_weather"]),
        ("Turn it on", ToolChoice(), ["turnOn"]),
        ("Get weather, turn on", ToolChoice(), ["get_weather", "turnOn"]),
        ("Get weather, turn on", ToolChoice(parallel=False), ["get_weather"]),
        ("The weather", ToolChoice(), []),
        ("Get the weather", ToolChoice("none"), []),
        ("Hello", ToolChoice("required"), ["get_weather"]),
        ("Hello", ToolChoice("required", "turnOn"), ["turnOn"]),
    ],
)
def test_what_is_called_depends_on_the_choice_and_on_the_words(text, choice, called):
    steps = steps_of(ask(text, choice=choice))
    assert calls(steps) == called
    assert said(steps) == ("" if called else "Well.")


def test_a_call_is_streamed_in_pieces_that_add_up_and_is_closed():
    steps = steps_of(ask(choice=ToolChoice("required")))
    pieces = [step for step in steps if isinstance(step, CallPiece)]
    assert len(pieces) >= 2
    assert json.loads("".join(piece.text for piece in pieces)) == {"city": "a"}
    assert CallClosed() in steps
    assert steps[-1].completion_tokens == sum(isinstance(step, Piece | CallPiece) for step in steps)


def test_what_a_function_returned_is_said_and_nothing_is_called_again():
    called = Message("assistant", "", (1, 2), (Call("get_weather", "{}"),))
    steps = steps_of(ask("Get the weather", called, Message("tool", "12 degrees")))
    assert (calls(steps), said(steps)) == ([], "The result is 12 degrees")


def test_an_answer_may_be_words_and_a_call():
    steps = steps_of(ask(), lambda prompt: ("One moment.", Call("turnOn", "{}")))
    assert (said(steps), calls(steps)) == ("One moment.", ["turnOn"])


def test_a_call_that_is_cut_off_is_not_closed():
    steps = steps_of(ask(choice=ToolChoice("required")), max_tokens=2)
    assert CallClosed() not in steps
    assert steps[-1] == Finished("length", steps[-1].prompt_tokens, 0, 2)


def test_a_call_and_what_it_returned_leave_the_cache_usable():
    stream = FakeLlm().open()
    first = list(stream.generate(ask("Get the weather"), Sampling()))
    tokens = tuple(step.token for step in first if isinstance(step, Piece | CallPiece))
    called = Message("assistant", "", tokens, (Call("get_weather", '{"city": "a"}'),))
    second = list(stream.generate(ask("Get the weather", called, Message("tool", "12")), Sampling()))
    assert second[-1].cached_tokens == first[-1].prompt_tokens + len(tokens)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "minLength": 3},
        {"type": "string", "format": "date"},
        {"type": "string", "pattern": "^[0-9]{2}:[0-9]{2}$"},
        {"type": "string", "pattern": "^[A-Z]{3}$"},
        {"type": "integer", "exclusiveMinimum": 4, "multipleOf": 4},
        {"type": "integer", "maximum": -3},
        {"type": "number", "minimum": 0.5},
        {"enum": ["x", "y"]},
        {"const": 7},
        {"anyOf": [{"type": "integer", "minimum": 2}, {"type": "null"}]},
        {"type": ["string", "null"]},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 2},
        {"$ref": "#/$defs/point"},
        {"allOf": [{"$ref": "#/$defs/point"}, {"properties": {"z": {"type": "null"}}, "required": ["z"]}]},
    ],
)
def test_the_smallest_call_fits_its_schema(schema):
    point = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}
    parameters = {"properties": {"a": schema}, "required": ["a"], "$defs": {"point": point}}
    call = smallest_call(Tool("f", "", parameters))
    jsonschema.validate(json.loads(call.arguments), parameters)
