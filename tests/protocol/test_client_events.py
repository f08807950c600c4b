import base64
import json
from time import process_time

import msgspec
import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.oracle import client_event
from voiceedge.errors import InvalidRequest
from voiceedge.protocol import client_events as events
from voiceedge.protocol.client_events import audio_of, decode_client_event, event_id_of

MESSAGES = [
    ({"type": "session.update", "session": {"type": "realtime"}}, events.SessionUpdate),
    ({"type": "input_audio_buffer.append", "audio": "AAAA"}, events.AppendAudio),
    ({"type": "input_audio_buffer.commit"}, events.CommitAudio),
    ({"type": "input_audio_buffer.clear"}, events.ClearAudio),
    ({"type": "output_audio_buffer.clear"}, events.ClearOutputAudio),
    (
        {
            "type": "conversation.item.create",
            "previous_item_id": "root",
            "item": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        },
        events.CreateItem,
    ),
    ({"type": "conversation.item.retrieve", "item_id": "a"}, events.RetrieveItem),
    (
        {"type": "conversation.item.truncate", "item_id": "a", "content_index": 0, "audio_end_ms": 1500},
        events.TruncateItem,
    ),
    ({"type": "conversation.item.delete", "item_id": "a"}, events.DeleteItem),
    ({"type": "response.create", "response": {"metadata": {"a": "b"}}}, events.CreateResponse),
    ({"type": "response.create"}, events.CreateResponse),
    ({"type": "response.cancel", "response_id": "r"}, events.CancelResponse),
    ({"type": "response.cancel"}, events.CancelResponse),
]


def refusal(text):
    with pytest.raises(InvalidRequest) as caught:
        decode_client_event(text)
    return caught.value


@pytest.mark.parametrize(("message", "kind"), MESSAGES, ids=lambda value: getattr(value, "__name__", ""))
def test_what_openais_client_sends_is_understood(message, kind):
    text = client_event({**message, "event_id": "mine"}).model_dump_json(exclude_unset=True)
    event = decode_client_event(text)
    assert type(event) is kind
    assert json.loads(text).items() <= msgspec.to_builtins(event).items()


@pytest.mark.parametrize(("message", "kind"), MESSAGES, ids=lambda value: getattr(value, "__name__", ""))
def test_unknown_keys_and_nulls_in_place_of_options_are_ignored(message, kind):
    event = decode_client_event(json.dumps({**message, "event_id": None, "novelty": [1]}))
    assert type(event) is kind
    assert event.event_id is None


def test_every_client_event_is_tried_above():
    assert {kind for _, kind in MESSAGES} == set(events.ClientEvent.__args__)


def test_a_beta_transcription_update_arrives_as_a_session_update():
    text = '{"type":"transcription_session.update","event_id":"e","session":{"turn_detection":null}}'
    session = {"type": "transcription", "audio": {"input": {"turn_detection": None}}}
    assert decode_client_event(text) == events.SessionUpdate(event_id="e", session=session)


@pytest.mark.parametrize(
    ("text", "code", "param", "answered"),
    [
        ("", "invalid_json", None, None),
        ("{", "invalid_json", None, None),
        (b"\xff", "invalid_json", None, None),
        ('{"type":"session.update","session":{"a":' + "[" * 60_000, "invalid_json", None, None),
        ("[" * 60_000, "invalid_value", None, None),
        ("[]", "invalid_value", None, None),
        ('{"event_id":"e"}', "missing_required_parameter", "type", "e"),
        ('{"type":"foo","event_id":"e"}', "invalid_value", "type", "e"),
        ('{"type":7,"event_id":"e"}', "invalid_value", "type", "e"),
        ('{"type":[],"event_id":7}', "invalid_value", "type", None),
        ('{"type":"session.update","event_id":"e"}', "missing_required_parameter", "session", "e"),
        ('{"type":"session.update","session":3}', "invalid_value", "session", None),
        ('{"type":"conversation.item.delete","item_id":""}', "invalid_value", "item_id", None),
        ('{"type":"response.cancel","response_id":3}', "invalid_value", "response_id", None),
    ],
)
def test_what_cannot_be_understood_is_refused_with_its_place_and_its_event_id(text, code, param, answered):
    error = refusal(text)
    assert (error.wire_code, error.param, event_id_of(text)) == (code, param, answered)
    assert str(error).endswith(".")


def test_an_unknown_type_is_called_by_its_name():
    assert str(refusal('{"type":"foo"}')) == "Unknown event type 'foo'."
    assert len(str(refusal(json.dumps({"type": "x" * 10_000})))) < 200


@pytest.mark.parametrize(("sent", "understood"), [(-3, 0), (1500.9, 1500), (0, 0), (1e300, int(1e300))])
def test_the_end_of_a_truncation_is_a_whole_number_not_below_zero(sent, understood):
    text = json.dumps({"type": "conversation.item.truncate", "item_id": "a", "audio_end_ms": sent})
    assert decode_client_event(text).audio_end_ms == understood


@given(st.binary(max_size=200))
def test_audio_of_any_length_arrives_as_it_was_sent(audio):
    assert audio_of(events.AppendAudio(audio=base64.b64encode(audio).decode())) == audio


@pytest.mark.parametrize("audio", ["A", "AAA", "AA=A", "AAAA\n", "AA A", "ÄÄÄÄ", "____"])
def test_what_is_not_base64_is_refused(audio):
    with pytest.raises(InvalidRequest) as caught:
        audio_of(events.AppendAudio(audio=audio))
    assert caught.value.param == "audio"


def test_fifteen_mebibytes_are_taken_and_more_is_refused():
    most = pybase64.b64encode(bytes(events.MAX_AUDIO_BYTES)).decode()
    assert len(audio_of(events.AppendAudio(audio=most))) == events.MAX_AUDIO_BYTES
    with pytest.raises(InvalidRequest, match="15 MiB"):
        audio_of(events.AppendAudio(audio=most + "AAAA"))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(st.sampled_from(["type", "event_id", "item_id", "session", "audio"]) | st.text(), x)
        ),
    )
)
def test_no_json_makes_anything_but_an_event_or_a_refusal(value):
    text = json.dumps(value)
    try:
        decode_client_event(text)
    except InvalidRequest:
        event_id_of(text)


# ── bounds ────────────────────────────────────────────────────────────────────────────────────────────────

LONG_ID = "i" * (events.MAX_ID_CHARACTERS + 1)
HUGE = "9" * 5_000


def of_session(json_text):
    return f'{{"type":"session.update","event_id":"e","session":{{"a":{json_text}}}}}'


@pytest.mark.parametrize("depth", [1_000, 10_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("place", ['"session":{"a":%s}', '"session":{},"novelty":%s', '"session":%s', '"event_id":%s'])
def test_nesting_without_end_is_refused_wherever_it_stands(place, opening, closing, depth):
    nested = opening * depth + "1" + closing * depth
    error = refusal('{"type":"session.update",' + place % nested + "}")
    assert error.wire_code in {"invalid_json", "invalid_value", "message_too_large"}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", HUGE, f"-{HUGE}", f"1e{HUGE}"])
def test_numbers_that_nobody_can_hold_are_refused_or_held_whole(number):
    try:
        event = decode_client_event(of_session(number))
    except InvalidRequest:
        return
    value = event.session["a"]
    assert value == value
    assert abs(value) != float("inf")


@pytest.mark.parametrize(
    "field",
    ['"event_id":"%s"', '"previous_item_id":"%s"', '"content_index":%s', '"response_id":"%s"', '"item_id":"%s"'],
)
def test_what_is_echoed_has_bounds(field):
    types = {
        "previous_item_id": '"type":"conversation.item.create","item":{},',
        "content_index": '"type":"conversation.item.truncate","item_id":"a","audio_end_ms":0,',
        "response_id": '"type":"response.cancel",',
        "item_id": '"type":"conversation.item.delete",',
    }
    name = field.split('"')[1]
    text = "{" + types.get(name, '"type":"response.create",') + field % (HUGE if name == "content_index" else LONG_ID)
    error = refusal(text + "}")
    assert error.wire_code in {"invalid_value", "invalid_json"}
    assert event_id_of(text + "}") is None


def test_of_a_key_that_is_there_twice_one_counts():
    event = decode_client_event('{"type":"response.create","event_id":"a","event_id":"b","response":{"x":1,"x":2}}')
    assert (event.event_id, event.response) == ("b", {"x": 2})
    assert isinstance(decode_client_event('{"type":"response.cancel","response_id":"a","response_id":null}'), object)


@pytest.mark.parametrize("text", [r'"\ud800"', r'"\udc00\ud800"', r'"\u0000\u0007"', '"\u202e"'])
def test_characters_that_are_none_are_refused_or_can_be_written_again(text):
    try:
        event = decode_client_event(of_session(text))
    except InvalidRequest:
        return
    assert msgspec.json.decode(msgspec.json.encode(event.session)) == event.session


def test_only_what_holds_base64_may_be_larger_than_a_mebibyte():
    filling = "x" * events.MAX_MESSAGE_CHARACTERS
    error = refusal(of_session(f'"{filling}"'))
    assert (error.wire_code, event_id_of(of_session(f'"{filling}"'))) == ("message_too_large", "e")
    item = json.dumps({"type": "conversation.item.create", "item": {"a": filling}})
    assert decode_client_event(item).item == {"a": filling}
    assert decode_client_event(item.encode()).item == {"a": filling}


def test_a_large_message_is_ascii_for_otherwise_it_would_take_four_times_its_size():
    text = '{"type":"conversation.item.create","item":{"a":"' + "x" * events.MAX_MESSAGE_CHARACTERS + '😀"}}'
    assert refusal(text).wire_code == refusal(text.encode()).wire_code == "message_too_large"


@pytest.mark.parametrize("value", ["1", "[]", "{}", '""'])
@pytest.mark.parametrize("encoded", [str, str.encode])
def test_a_message_of_a_million_values_is_refused_before_they_are_made(value, encoded):
    text = '{"type":"conversation.item.create","item":{"a":[' + ",".join([value] * 1_000_000) + "]}}"
    begun = process_time()
    assert refusal(encoded(text)).wire_code == "message_too_large"
    assert process_time() - begun < 0.1


@pytest.mark.parametrize(
    "audio", ["=" * 1000, "A" + "=" * 1000, "AAAA" * 100 + "\n" * 10, " " * 1000, "AAAA" * 100 + "A"]
)
def test_padding_and_white_space_are_no_audio(audio):
    with pytest.raises(InvalidRequest):
        audio_of(events.AppendAudio(audio=audio))
