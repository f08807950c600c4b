"""Schemas that are made to hold a thread: each is compiled or refused in bounded time and memory."""

from __future__ import annotations

import json
from contextlib import suppress
from statistics import median
from time import process_time

import pytest
from tokenizers import Tokenizer

from tests.modelstore.build.tiny import END, WORDS, write_tiny
from voiceedge.engines import Tool, ToolChoice
from voiceedge.engines.constraint import Grammars
from voiceedge.engines.schema import LARGEST_SCHEMA
from voiceedge.errors import InvalidTool
from voiceedge.modelstore.build.source import Source
from voiceedge.modelstore.build.words import write_tokenizer

MOST_TIMES = 100
"""What a schema may take, as a multiple of what an honest one of a quarter of the largest size takes on this machine:
below a second, and it is one step. The worst of these takes a third of that."""


def object_of(**properties):
    return {"type": "object", "properties": properties, "required": list(properties)}


HONEST = object_of(
    **{f"p{each}": object_of(**{f"q{number}": {"type": "string"} for number in range(12)}) for each in range(16)}
)


def doubling(keyword, levels=20):
    """Each level refers to the next one twice."""
    definitions = {f"d{level}": {keyword: [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)} | {
        f"d{levels}": {"type": "string"}
    }
    return {"type": "object", "properties": {"a": {"$ref": "#/$defs/d0"}}, "$defs": definitions}


def doubling_objects(levels=25):
    definitions = {
        f"d{level}": object_of(**{key: {"$ref": f"#/$defs/d{level + 1}"} for key in "ab"}) for level in range(levels)
    } | {f"d{levels}": {"type": "string"}}
    return object_of(a={"$ref": "#/$defs/d0"}) | {"$defs": definitions}


def chained_patterns(levels=35):
    """One pattern a level, and a reference to the next."""
    definitions = {
        f"d{level}": {"type": "string", "pattern": f"a.{{{level + 1}}}b.*", "$ref": f"#/$defs/d{level + 1}"}
        for level in range(levels)
    } | {f"d{levels}": {"type": "string"}}
    return object_of(a={"$ref": "#/$defs/d0"}) | {"$defs": definitions}


BOMBS = {
    "enum of thousands": object_of(a={"enum": [f"v{number}" for number in range(3000)]}),
    "enum of numbers": object_of(a={"enum": list(range(5000))}),
    "enum of long strings": object_of(a={"enum": ["x" * 1000 + str(number) for number in range(30)]}),
    "thousands of properties": object_of(**{f"p{number}": {} for number in range(1500)}),
    "optional properties": {"type": "object", "properties": {f"p{number}": {} for number in range(1500)}},
    "repeated repetition": object_of(a={"type": "string", "pattern": "^((a{1,100}){1,100}){1,100}$"}),
    "a million characters": object_of(a={"type": "string", "pattern": "^.{1000000}$"}),
    "exponential states": object_of(a={"type": "string", "pattern": "^(a|b)*a(a|b){60}$"}),
    "intersection": object_of(
        a={"allOf": [{"type": "string", "pattern": f"a.{{{number}}}b.*"} for number in range(1, 40)]}
    ),
    "intersection of properties": {
        "type": "object",
        "allOf": [{"properties": {"a": {"type": "string", "pattern": f"a.{{{each}}}b.*"}}} for each in range(1, 40)],
    },
    "intersection by references": chained_patterns(),
    "eight heavy patterns": object_of(
        a={"allOf": [{"type": "string", "pattern": f"(a|b)*a(a|b){{{20 + each}}}"} for each in range(8)]}
    ),
    "pattern properties that overlap": {
        "type": "object",
        "properties": {"a" * each: {"type": "string"} for each in range(1, 60)},
        "patternProperties": {f"a.{{{each}}}b.*": {"type": "string"} for each in range(1, 60)},
    },
    "nested alternatives": object_of(a={"type": "string", "pattern": "^" + "(a|" * 200 + "b" + ")" * 200 + "$"}),
    "classes": object_of(a={"type": "string", "pattern": "^" + r"[\p{L}\p{N}]{1,200}" * 20 + "$"}),
    "long strings": object_of(a={"type": "string", "maxLength": 2**31}),
    "least long string": object_of(a={"type": "string", "minLength": 10**6}),
    "long lists": object_of(a={"type": "array", "items": {"type": "string"}, "minItems": 10**6}),
    "lists of lists": object_of(
        a={"type": "array", "minItems": 500, "items": {"type": "array", "minItems": 500, "items": {"type": "string"}}}
    ),
    "many items": object_of(a={"type": "array", "prefixItems": [{"type": "string"}] * 1500}),
    "fine multiples": object_of(a={"type": "integer", "multipleOf": 999, "minimum": 0, "maximum": 10**15}),
    "large numbers": object_of(a={"type": "integer", "minimum": -(10**300), "maximum": 10**300}),
    "requires itself": object_of(a={"$ref": "#"}),
    "refers to itself": object_of(a={"$ref": "#/properties/a"}),
    "may refer to itself": {"type": "object", "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}},
    "pattern properties": {
        "type": "object",
        "patternProperties": {f"^{'a' * number}.*b{number}$": {"type": "string"} for number in range(1, 60)},
    },
    "any of many": object_of(a={"anyOf": [object_of(**{f"p{number}": {}}) for number in range(200)]}),
    "one of many": object_of(a={"oneOf": [object_of(a={"const": number}) for number in range(200)]}),
    "all of many": object_of(a={"allOf": [{"anyOf": [{"minLength": a}, {"maxLength": a}]} for a in range(30)]}),
    "anyOf doubles": doubling("anyOf"),
    "allOf doubles": doubling("allOf"),
    "oneOf doubles": doubling("oneOf"),
    "objects double": doubling_objects(),
    "types": object_of(a={"type": ["string", "number", "integer", "boolean", "null", "array", "object"] * 200}),
}


@pytest.fixture(scope="module")
def grammars(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bombs")
    write_tokenizer(Source(write_tiny(folder / "tiny.gguf", "qwen2")), folder / "tokenizer.json")
    made = Grammars(Tokenizer.from_file(str(folder / "tokenizer.json")), len(WORDS) + 3, [END])
    made.check((Tool("first", "", {}),))  # the first one of all indexes the vocabulary
    return made


def begin(grammars, schema):
    """Compile a schema, and begin a call that has to fit it."""
    tools = (Tool("f", "", schema),)
    grammars.check(tools)
    constraint = grammars.begin(tools, ToolChoice("required"))
    for _ in range(20):
        if not constraint.forced():
            break


def seconds_of(grammars, schema):
    """CPU time until a schema is compiled or refused."""
    begun = process_time()
    with suppress(InvalidTool):
        begin(grammars, schema)
    return process_time() - begun


@pytest.fixture(scope="module")
def honest_s(grammars):
    begin(grammars, HONEST)
    return median(seconds_of(grammars, HONEST | {"title": str(each)}) for each in range(5))  # each is a new one


@pytest.mark.parametrize("bomb", BOMBS)
def test_no_schema_holds_a_thread(grammars, honest_s, bomb):
    assert len(json.dumps(BOMBS[bomb])) <= LARGEST_SCHEMA, "or it would be refused for its size"
    assert seconds_of(grammars, BOMBS[bomb]) < MOST_TIMES * honest_s
