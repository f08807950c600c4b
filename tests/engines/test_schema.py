"""What fits the narrowed schema fits the client's, and cannot go on without end."""

import json

import pytest

from voiceedge.engines.schema import (
    LARGEST_INTEGER,
    LARGEST_SCHEMA,
    LONGEST_ARRAY,
    LONGEST_STRING,
    Unfit,
    narrowed,
    require_end,
    written,
)


def narrow(parameters):
    return narrowed(written(parameters))


def narrow_property(schema):
    return narrow({"properties": {"a": schema}})["properties"]["a"]


def test_a_function_without_parameters_takes_an_empty_object():
    assert narrow({}) == {"type": "object", "properties": {}, "additionalProperties": False}


@pytest.mark.parametrize(
    ("given", "bounds"),
    [
        ({"type": "string"}, {"maxLength": LONGEST_STRING}),
        ({"type": "string", "maxLength": 9000}, {"maxLength": 9000}),
        ({"type": "string", "minLength": 600}, {"maxLength": 600}),
        ({"type": ["string", "null"]}, {"maxLength": LONGEST_STRING}),
        ({"type": "array"}, {"maxItems": LONGEST_ARRAY}),
        ({"type": "integer"}, {"minimum": -LARGEST_INTEGER, "maximum": LARGEST_INTEGER}),
        ({"type": "integer", "exclusiveMinimum": 3}, {"exclusiveMinimum": 3, "maximum": LARGEST_INTEGER}),
        ({"type": "number"}, {"multipleOf": 1e-6, "minimum": -LARGEST_INTEGER}),
        ({"type": "number", "multipleOf": 0.25}, {"multipleOf": 0.25}),
    ],
)
def test_what_has_no_bound_gets_one_and_the_clients_own_stays(given, bounds):
    assert bounds.items() <= narrow_property(given).items()


@pytest.mark.parametrize("given", [{"enum": ["x", 1]}, {"const": {"type": "string"}}, {"$ref": "#"}, True, {}])
def test_what_is_bounded_already_stays_as_it_is(given):
    assert narrow_property(given) == given


@pytest.mark.parametrize(
    ("given", "kind"), [({"properties": {}}, "object"), ({"items": {}}, "array"), ({"pattern": "a"}, "string")]
)
def test_a_type_that_goes_without_saying_is_said(given, kind):
    assert narrow_property(given)["type"] == kind


def test_unknown_formats_are_annotations_and_known_ones_stay():
    assert "format" not in narrow_property({"type": "string", "format": "phone"})
    assert narrow_property({"type": "string", "format": "date"})["format"] == "date"


def test_nothing_is_added_to_an_object_that_does_not_ask_for_it():
    schema = narrow({"properties": {"a": {"type": "object", "properties": {"b": {}}}, "c": {"type": "object"}}})
    assert schema["additionalProperties"] is schema["properties"]["a"]["additionalProperties"] is False
    assert "additionalProperties" not in schema["properties"]["c"]


def test_objects_that_are_put_together_stay_open_to_each_others_properties():
    schema = narrow({"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]})
    assert "additionalProperties" not in json.dumps(schema)


def test_names_of_properties_are_not_taken_for_keywords():
    schema = {"properties": {"type": {"enum": ["string"]}, "items": {"type": "boolean"}, "enum": {"type": "null"}}}
    assert narrow(schema)["properties"] == schema["properties"]


def test_the_grammar_library_takes_no_orders_from_clients():
    assert "x-guidance" not in narrow({"x-guidance": {"lenient": True}})


def test_the_clients_schema_is_left_as_it_is():
    parameters = {"properties": {"a": {"type": "string"}}}
    narrow(parameters)
    assert parameters == {"properties": {"a": {"type": "string"}}}


def nested(levels):
    schema = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"type": "array"}, "must be an object"),
        ({"type": ["object", "null"]}, "must be an object"),
        ({"description": "x" * LARGEST_SCHEMA}, "characters"),
        (nested(60), "levels deep"),
        (nested(3000), "not JSON"),
        ({"properties": {"a": {"type": "integer", "multipleOf": 1_000_003}}}, "multipleOf 1000003"),
        ({"default": float("nan")}, "not JSON"),
    ],
)
def test_what_cannot_be_held_to_is_refused_with_the_reason(parameters, reason):
    with pytest.raises(Unfit, match=reason):
        narrow(parameters)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "without end"),
        ({"properties": {"a": {"$ref": "#/properties/a"}}, "required": ["a"]}, "without end"),
        ({"properties": {"a": {"items": {"$ref": "#"}, "minItems": 1}}, "required": ["a"]}, "without end"),
        ({"anyOf": [{"$ref": "#"}]}, "without end"),
        ({"properties": {f"p{i}": {"$ref": f"#/$defs/{i}"} for i in range(101)}}, "references"),
    ],
)
def test_a_schema_that_requires_itself_is_refused(parameters, reason):
    with pytest.raises(Unfit, match=reason):
        require_end(narrow(parameters))


@pytest.mark.parametrize(
    "parameters",
    [
        {"properties": {"a": {"$ref": "#"}}},
        {"properties": {"a": {"items": {"$ref": "#"}}}, "required": ["a"]},
        {"properties": {"a": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["a"]},
        {"properties": {"a": {"$ref": "#/$defs/x"}}, "required": ["a"], "$defs": {"x": {"type": "null"}}},
    ],
)
def test_a_schema_may_hold_itself_where_it_can_end(parameters):
    require_end(narrow(parameters))


@pytest.mark.parametrize(
    "parameters",
    [
        {"properties": 3},
        {"required": "a"},
        {"anyOf": 3},
        {"allOf": {"a": 1}},
        {"properties": {"a": {"$ref": 3}}},
        {"properties": {"a": {"type": 3, "minItems": "x", "enum": 3}}},
    ],
)
def test_what_is_malformed_is_left_to_the_grammar_library_to_name(parameters):
    narrow(parameters)
