"""The checker itself must be able to fail."""

import json

import pytest

from tests.protocol.order import check
from tests.protocol.samples import a_response
from voiceedge.protocol.lifecycle import COMPLETED, ResponseLifecycle
from voiceedge.protocol.server_events import encode


def a_connection() -> list[dict]:
    life = ResponseLifecycle("resp_1", a_response(), conversation_id="conv_1")
    events = [
        *life.begin(),
        *life.open_message("item_a", None),
        *life.transcript("Hi"),
        *life.audio("AAAA"),
        *life.close_message(),
        *life.open_call("item_c", "call_1", "f", "item_a"),
        *life.close_call(),
        *life.finish(COMPLETED),
    ]
    return [json.loads(encode(event)) for event in events]


DELTAS = {"response.output_audio.delta", "response.output_audio_transcript.delta"}


def test_a_right_order_passes():
    check([{"type": "session.created"}, *a_connection()])


@pytest.mark.parametrize("missing", [n for n, event in enumerate(a_connection()) if event["type"] not in DELTAS])
def test_any_event_that_is_missing_is_noticed(missing):
    events = a_connection()
    del events[missing]
    with pytest.raises((AssertionError, KeyError)):
        check(events)


@pytest.mark.parametrize("twice", [n for n, event in enumerate(a_connection()) if event["type"] not in DELTAS])
def test_any_event_that_comes_twice_is_noticed(twice):
    events = a_connection()
    events.insert(twice, events[twice])
    with pytest.raises(AssertionError):
        check(events)
