import msgspec
import pytest

from voiceedge.bench import wire


def test_fields_and_types_of_others_are_no_obstacle():
    event = wire.read('{"type":"session.created","event_id":"e","session":{"id":"s","tools":[]},"item":null}')
    assert event.type == "session.created"
    assert event.of_response == ""


def test_a_response_is_named_in_either_of_two_places():
    assert wire.read('{"type":"response.created","response":{"id":"r1","output":[]}}').of_response == "r1"
    assert wire.read('{"type":"response.output_audio.delta","response_id":"r2"}').of_response == "r2"


def test_the_trace_of_a_turn_is_read_as_the_node_sends_it():
    event = wire.read(
        '{"type":"voiceedge.turn","event_id":"e","turn":3,"response_id":"r","item_id":"i",'
        '"marks_ms":{"endpoint":210.5,"stt_final":null},"critical_path":[{"segment":"wait","ms":200}],'
        '"total_ms":512.25,"facts":{"prefill_tokens":9,"model":"m"}}'
    )
    assert event.critical_path == (wire.PathSegment("wait", 200.0),)
    assert (event.total_ms, event.marks_ms["endpoint"], event.facts["prefill_tokens"]) == (512.25, 210.5, 9)


@pytest.mark.parametrize("message", ["", "[]", '{"delta":"x"}', '{"type":1}'])
def test_what_is_no_event_is_refused(message):
    with pytest.raises(msgspec.DecodeError):
        wire.read(message)


def test_the_session_asks_for_speech_both_ways_with_captions():
    update = msgspec.json.decode(wire.session_update({"type": "server_vad"}, "Be brief.", 24_000))
    session = update["session"]
    assert session["output_modalities"] == ["audio"]
    assert session["instructions"] == "Be brief."
    assert session["audio"]["input"]["turn_detection"] == {"type": "server_vad"}
    assert session["audio"]["input"]["transcription"]
    silent = msgspec.json.decode(wire.session_update({"type": "server_vad"}, None, 24_000))
    assert "instructions" not in silent["session"]
