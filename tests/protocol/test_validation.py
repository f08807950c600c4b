import msgspec
import pytest

from voiceedge.errors import InvalidRequest
from voiceedge.protocol.validation import (
    LARGEST_INTEGER,
    MAX_DEPTH,
    MAX_KEY_CHARACTERS,
    MAX_VALUES,
    SMALLEST_INTEGER,
    converted,
    invalid,
    require_bounded,
    require_functions,
)


class Inner(msgspec.Struct):
    number: int


class Outer(msgspec.Struct):
    inner: list[Inner]


@pytest.mark.parametrize(
    ("value", "code", "param"),
    [
        ({"inner": [{"number": "x"}]}, "invalid_value", "root.inner[0].number"),
        ({"inner": [{"number": 1}, {}]}, "missing_required_parameter", "root.inner[1].number"),
        ({}, "missing_required_parameter", "root.inner"),
        (3, "invalid_value", "root"),
    ],
)
def test_a_refusal_names_the_place_below_the_root(value, code, param):
    with pytest.raises(InvalidRequest) as caught:
        converted(value, Outer, "root")
    assert (caught.value.wire_code, caught.value.param) == (code, param)
    assert param in str(caught.value)


def test_what_fits_is_converted():
    assert converted({"inner": [{"number": 1, "more": 2}]}, Outer, "root") == Outer([Inner(1)])


def test_a_complaint_of_another_shape_is_passed_on_whole():
    error = invalid(msgspec.ValidationError("Something\nelse"))
    assert (str(error), error.param) == ("Something\nelse.", None)


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}])
def test_json_may_be_nested_only_so_deep(wrap):
    value = 1
    for _ in range(MAX_DEPTH - 1):
        value = wrap(value)
    require_bounded(value, "root")
    with pytest.raises(InvalidRequest, match="deep"):
        require_bounded(wrap(value), "root")
    for _ in range(50_000):
        value = wrap(value)
    with pytest.raises(InvalidRequest):
        require_bounded(value, "root")


@pytest.mark.parametrize(
    ("most", "more", "problem"),
    [
        ([0] * (MAX_VALUES - 1), [0] * MAX_VALUES, "values"),
        ({"a" * MAX_KEY_CHARACTERS: 0}, [{"a" * (MAX_KEY_CHARACTERS + 1): 0}], "key"),
        (LARGEST_INTEGER, [LARGEST_INTEGER + 1], "64 bits"),
        ({"a": SMALLEST_INTEGER}, SMALLEST_INTEGER - 1, "64 bits"),
    ],
)
def test_what_could_not_be_walked_or_written_again_is_refused(most, more, problem):
    require_bounded(most, "root")
    msgspec.json.encode(most)
    with pytest.raises(InvalidRequest, match=problem) as caught:
        require_bounded(more, "root")
    assert caught.value.param == "root"


@pytest.mark.parametrize("tools", [None, [], "all", [{"name": "f"}], [{"type": "function"}, {"type": None}, 1]])
def test_what_is_no_tool_of_another_type_is_left_to_the_type_check(tools):
    require_functions(tools, "session")


def test_a_tool_that_the_client_cannot_run_is_refused_by_its_place():
    with pytest.raises(InvalidRequest, match="function") as refused:
        require_functions([{"type": "function", "name": "f"}, {"type": "mcp"}], "session")
    assert refused.value.param == "session.tools[1].type"
