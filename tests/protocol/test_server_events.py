import json

import msgspec
import pytest

from tests.protocol.oracle import server_event_types, validate
from tests.protocol.samples import ITEMS, a_session, event_classes, sample
from voiceedge.errors import EngineFailed, InvalidRequest, Overloaded, Refused
from voiceedge.protocol import server_events
from voiceedge.protocol.items import InputAudio, MessageItem, user_audio
from voiceedge.protocol.server_events import encode, error_event, transcription_failed
from voiceedge.protocol.usage import DurationUsage, TokensUsage


@pytest.mark.parametrize("kind", event_classes(), ids=lambda kind: kind.__name__)
def test_every_event_satisfies_openais_types(kind):
    event = sample(kind)
    assert validate(encode(event)).type == kind.__struct_config__.tag


def test_every_event_of_openais_union_exists_but_those_of_beta_webrtc_telephone_and_mcp():
    elsewhere = ("conversation.created", "conversation.item.created", "output_audio_buffer.", "mcp_", "response.mcp_")
    known = {tag for tag in server_event_types() if not tag.startswith(elsewhere) and "dtmf" not in tag}
    assert {kind.__struct_config__.tag for kind in event_classes()} == known


def test_every_encoding_gets_an_id_of_its_own_and_a_given_id_is_kept():
    event = server_events.AudioCleared()
    first, second = json.loads(encode(event)), json.loads(encode(event))
    assert first["event_id"].startswith("event_")
    assert first["event_id"] != second["event_id"]
    assert json.loads(encode(server_events.AudioCleared(event_id="mine")))["event_id"] == "mine"
    assert event == server_events.AudioCleared()


@pytest.mark.parametrize("item", ITEMS)
def test_every_item_satisfies_openais_types(item):
    validate(encode(server_events.ItemAdded(item=item, previous_item_id=None)))
    assert None not in msgspec.to_builtins(item).values()


def test_the_transcript_of_a_users_speech_is_null_until_known():
    event = json.loads(encode(server_events.ItemAdded(item=user_audio("u"))))
    assert event["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    known = MessageItem("u", "user", (InputAudio("hello"),))
    assert json.loads(encode(server_events.ItemDone(item=known)))["item"]["content"][0]["transcript"] == "hello"


@pytest.mark.parametrize("usage", [DurationUsage(1.5), TokensUsage(total_tokens=3, input_tokens=1, output_tokens=2)])
def test_a_completed_transcription_states_its_usage(usage):
    event = server_events.TranscriptionCompleted(item_id="u", transcript="hello", usage=usage)
    assert validate(encode(event)).usage.type == usage.__struct_config__.tag


@pytest.mark.parametrize("kind", ["realtime", "transcription"])
def test_both_kinds_of_session_are_echoed_in_full(kind):
    session = a_session(kind=kind)
    for event in (server_events.SessionCreated, server_events.SessionUpdated):
        assert validate(encode(event(session=session.echo()))).session.type == kind


@pytest.mark.parametrize(
    ("error", "kind", "code", "param"),
    [
        (InvalidRequest("No.", param="session.tools"), "invalid_request_error", "invalid_value", "session.tools"),
        (
            Refused("No.", code="response_cancel_not_active"),
            "invalid_request_error",
            "response_cancel_not_active",
            None,
        ),
        (EngineFailed("No."), "server_error", "engine_failed", None),
        (Overloaded("No.", retry_after_s=1), "server_error", "overloaded", None),
    ],
)
def test_an_error_names_its_kind_code_field_and_the_message_it_answers(error, kind, code, param):
    text = encode(error_event(error, event_id="mine"))
    validate(text)
    assert json.loads(text)["error"] == {
        "type": kind,
        "code": code,
        "message": "No.",
        "param": param,
        "event_id": "mine",
    }


def test_an_error_that_answers_no_message_has_a_null_event_id():
    assert json.loads(encode(error_event(EngineFailed("No."))))["error"]["event_id"] is None


def test_a_failed_transcription_tells_why():
    event = validate(encode(transcription_failed("u", EngineFailed("No."))))
    assert (event.item_id, event.error.code, event.error.message) == ("u", "engine_failed", "No.")


def test_an_error_is_brief_whatever_it_quotes():
    error = InvalidRequest("x" * 10**6, param="y" * 10**6)
    told = error_event(error).error
    assert (len(told.message), len(told.param)) == (server_events.LONGEST_MESSAGE + 1, server_events.LONGEST_PARAM + 1)
    assert transcription_failed("i", EngineFailed("x" * 10**6)).error.message.endswith("x…")
