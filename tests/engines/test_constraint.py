"""Grammars of calls, on the vocabulary of a tiny model."""

import json
import subprocess
import sys
from contextlib import suppress
from time import process_time

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tests.modelstore.build.tiny import END, WORDS, write_tiny
from voiceedge.engines import Tool, ToolChoice
from voiceedge.engines import constraint as module
from voiceedge.engines.constraint import MOST_TOOLS, Grammars
from voiceedge.errors import InvalidTool
from voiceedge.modelstore.build.source import Source
from voiceedge.modelstore.build.words import write_tokenizer

STRING = {"type": "string"}
ANY = ToolChoice()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("constraint")
    write_tokenizer(Source(write_tiny(folder / "tiny.gguf", "qwen2")), folder / "tokenizer.json")
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.fixture
def grammars(tokenizer):
    return Grammars(tokenizer, len(WORDS) + 3, [END])


def tool(name="look", **properties):
    return Tool(name, "", {"type": "object", "properties": properties, "required": list(properties)})


def write(grammars, tokenizer, tools, choice=ANY, seed=0, most=4000):
    """A call of random tokens, as text."""
    random = np.random.default_rng(seed)
    constraint, tokens = grammars.begin(tools, choice), []
    while not constraint.is_complete and len(tokens) < most:
        tokens += constraint.forced()
        if not constraint.is_complete:
            logits = random.normal(size=len(WORDS) + 3).astype(np.float32)
            logits[WORDS.index('"')] += 2.0  # or random strings would be as long as they may
            tokens.append(constraint.choose(logits))
    return tokenizer.decode(tokens, skip_special_tokens=False)


SCHEMAS = {
    "nothing": {},
    "any string": {"type": "object", "properties": {'größe "x"': STRING}, "required": ['größe "x"']},
    "optional": {"type": "object", "properties": {"a": STRING, "b": {"type": "boolean"}}},
    "enum": {"type": "object", "properties": {"a": {"enum": ["東京", 'm"ü\\n', 3, None]}}, "required": ["a"]},
    "numbers": {
        "type": "object",
        "properties": {"a": {"type": "integer", "minimum": -3, "maximum": 12}, "b": {"type": "number"}},
        "required": ["a", "b"],
    },
    "pattern": {
        "type": "object",
        "properties": {"a": {"type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]$"}},
        "required": ["a"],
    },
    "list": {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 2, "maxItems": 4}},
        "required": ["a"],
    },
    "recursive": {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/node"}},
        "required": ["a"],
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"v": {"const": 1}, "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}},
                "required": ["v", "next"],
            }
        },
    },
    "union": {
        "type": "object",
        "properties": {
            "a": {
                "oneOf": [
                    {
                        "type": "object",
                        "properties": {"kind": {"const": "p"}, "n": {"type": "boolean"}},
                        "required": ["kind", "n"],
                    },
                    {"type": "object", "properties": {"kind": {"const": "q"}}, "required": ["kind"]},
                ]
            }
        },
        "required": ["a"],
    },
    "joined": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]},
            {"type": "object", "properties": {"b": {"type": "null"}}, "required": ["b"]},
        ],
    },
}


@pytest.mark.parametrize("name", SCHEMAS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_whatever_a_model_would_write_the_call_fits_its_schema(grammars_for_all, tokenizer, name, seed):
    text = write(
        grammars_for_all, tokenizer, (tool("other"), Tool("look", "", SCHEMAS[name])), ToolChoice(name="look"), seed
    )
    begin, line, end = text.split("\n")
    assert (begin, end) == ("<tool_call>", "</tool_call>")
    call = json.loads(line)
    assert call["name"] == "look"
    jsonschema.validate(call["arguments"], SCHEMAS[name])


@pytest.fixture(scope="module")
def grammars_for_all(tokenizer):
    return Grammars(tokenizer, len(WORDS) + 3, [END])


def test_json_is_written_in_one_way_and_in_the_schemas_order(grammars, tokenizer):
    text = write(grammars, tokenizer, (tool(b={"const": 1}, a={"const": [1, 2]}),))
    assert '{"name": "look", "arguments": {"b": 1, "a": [1, 2]}}' in text


def test_what_leaves_no_choice_is_forced_a_step_at_a_time(grammars, tokenizer):
    constraint = grammars.begin((tool(a={"const": "x" * 50}),), ToolChoice())
    steps = []
    while not constraint.is_complete:
        steps.append(constraint.forced() or [constraint.choose(np.zeros(len(WORDS) + 3, np.float32))])
    assert max(map(len, steps)) <= 16
    assert tokenizer.decode([token for step in steps for token in step]).count("x") == 50


def test_the_model_chooses_among_the_tools(grammars, tokenizer):
    tools = (tool("look"), tool("listen"))
    assert {json.loads(write(grammars, tokenizer, tools, seed=i).split("\n")[1])["name"] for i in range(20)} == {
        "look",
        "listen",
    }


def test_a_call_goes_on_from_markup_that_was_written_already(grammars, tokenizer):
    constraint = grammars.begin((tool(),), ToolChoice(), lead=" ")
    assert constraint.take(tokenizer.encode(" <to").ids)
    assert tokenizer.decode(constraint.forced()).startswith("ol_call>")


def test_markup_that_does_not_fit_changes_nothing(grammars, tokenizer):
    constraint = grammars.begin((tool(),), ToolChoice())
    assert not constraint.take(tokenizer.encode("<te").ids)
    assert constraint.forced()


@pytest.mark.parametrize("name", ["", "two words", "x" * 65, "größe", 'a"b'])
def test_a_name_that_is_none_is_refused(grammars, name):
    with pytest.raises(InvalidTool) as refused:
        grammars.check((tool(), Tool(name, "", {})))
    assert refused.value.param == "tools[1].name"


def test_two_tools_of_one_name_and_too_many_are_refused(grammars):
    with pytest.raises(InvalidTool, match="look") as refused:
        grammars.check((tool(), tool()))
    assert refused.value.param == "tools[1].name"
    with pytest.raises(InvalidTool):
        grammars.check(tuple(tool(f"t{i}") for i in range(MOST_TOOLS + 1)))


def test_a_choice_of_no_tool_is_refused(grammars):
    with pytest.raises(InvalidTool, match="listen"):
        grammars.begin((tool(),), ToolChoice("required", "listen"))


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "strin"}, "Invalid type: strin"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"not": STRING}, "not"),
        ({"$ref": "#/$defs/none"}, "does not exist"),
        ({"$ref": "https://example.com/schema"}, "example.com"),
        ({"oneOf": [STRING, {"type": "string", "maxLength": 3}]}, "oneOf"),
        ({"type": "string", "pattern": "("}, "regex"),
        ({"type": "string", "pattern": "^(?!x)"}, "look-around"),
        ({"type": "integer", "minimum": 5, "maximum": 2}, "nsatisfiable"),
        (3, "object or boolean"),
        ({"$ref": 3}, "ref"),
        ({"required": [["a"]]}, "required"),
        ({"required": 3}, "required"),
        ({"anyOf": 3}, "anyOf"),
        ({"properties": []}, "properties"),
        ({"$ref": "#"}, "without end"),
    ],
)
def test_a_schema_that_cannot_be_held_to_is_refused_with_the_reason(grammars, schema, reason):
    with pytest.raises(InvalidTool, match=reason) as refused:
        grammars.check((tool(), tool("listen", a=schema)))
    assert refused.value.param == "tools[1].parameters"
    assert "listen" in str(refused.value)
    assert "x-guidance" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^((a{0,1000}){0,1000}){0,1000}$"},
        {"type": "array", "items": STRING, "minItems": 10**9},
        {"enum": [f"value {i}" for i in range(1500)]},
        {"allOf": [{"anyOf": [{"properties": {f"p{i}_{j}": STRING}} for j in range(8)]} for i in range(8)]},
        {"type": "integer", "multipleOf": 999_983},
    ],
)
def test_a_hostile_schema_is_refused_or_harmless_but_hangs_nothing(grammars, schema):
    """The last one would take 6 s and 300 MB."""
    begun = process_time()
    with suppress(InvalidTool):
        write(grammars, grammars._tokenizer, (tool(a=schema),), most=100)
    assert process_time() - begun < 3


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^[a-z]*[a-m][a-z]{40}$"},
        {"allOf": [{"type": "string", "pattern": f"{letter}.{{12}}"} for letter in "helohelo"]},
    ],
    ids=["one pattern", "eight that hold at once"],
)
def test_a_pattern_that_shows_only_within_a_call_that_it_is_too_much_is_its_authors_mistake(
    grammars, schema, monkeypatch
):
    monkeypatch.setattr(module, "LEXER_STATES", 100)  # a vocabulary of bytes needs fewer than a real one
    tools = (tool(a=schema),)
    grammars.check(tools)
    constraint = grammars.begin(tools, ANY)
    logits = np.zeros(len(WORDS) + 3, np.float32)
    with pytest.raises(InvalidTool, match="any further: lexer error: too many states"):  # noqa: PT012 - where, is open
        for number in range(200):
            if not constraint.forced():
                logits[WORDS.index("helo"[number % 4])] += 1.0
                constraint.choose(logits)


def test_nothing_is_imported_before_there_are_tools():
    code = "import sys, voiceedge.engines.writing, voiceedge.engines.chat; assert 'llguidance' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
