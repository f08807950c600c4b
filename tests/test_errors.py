import inspect

import pytest

from voiceedge import errors
from voiceedge.errors import CallerError, InvalidRequest, NodeError, OperatorError, Overloaded, Refused, VoiceEdgeError

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_every_error_is_one_persons_fault_and_drawn_in_the_tree(kind):
    assert sum(issubclass(kind, fault) for fault in (CallerError, OperatorError, NodeError)) == (
        0 if kind is VoiceEdgeError else 1
    )
    assert kind.__name__ in (errors.__doc__ or "")
    assert len(kind.mro()) <= len(VoiceEdgeError.mro()) + 3


def test_the_callers_fault_and_the_nodes_look_different_on_the_wire():
    assert InvalidRequest("x").wire_type == Refused("x").wire_type == "invalid_request_error"
    assert errors.EngineFailed("x").wire_type == "server_error"


def test_a_caller_error_carries_its_code_and_the_field():
    error = Refused("Not now.", code="busy", param="response")
    assert (str(error), error.wire_code, error.param) == ("Not now.", "busy", "response")


def test_an_error_without_a_code_has_that_of_its_kind():
    assert InvalidRequest("x").wire_code == "invalid_value"
    assert Refused("x").wire_code is None
    assert InvalidRequest("x", code="missing").wire_code == "missing"
    assert InvalidRequest.wire_code == "invalid_value"


def test_the_operator_is_told_by_exit_code_2():
    assert {kind.exit_code for kind in TREE if issubclass(kind, OperatorError)} == {2}


def test_an_overloaded_node_says_when_to_try_again():
    assert Overloaded("Full.", retry_after_s=7).retry_after_s == 7
