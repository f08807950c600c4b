import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.oracle import validate
from tests.protocol.samples import NAMES, a_session
from voiceedge.errors import InvalidRequest
from voiceedge.protocol.server_events import SessionUpdated, encode
from voiceedge.protocol.session_config import MAX_SESSION_BYTES, SessionConfig, Transcription, merge
from voiceedge.protocol.session_object import FunctionTool, NamedTool

SERVER_VAD = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}
SEMANTIC_VAD = {"type": "semantic_vad", "eagerness": "auto", "create_response": True, "interrupt_response": True}
PCM = {"type": "audio/pcm", "rate": 24000}


def heard(**settings):
    return {"audio": {"input": settings}}


def spoken(**settings):
    return {"audio": {"output": settings}}


def merged(*updates: dict, kind="realtime") -> SessionConfig:
    session = a_session(kind=kind)
    for update in updates:
        session = merge(session, update)
    return session


def echoed(session: SessionConfig) -> dict:
    """The echo as a client reads it, checked by OpenAI's types."""
    text = encode(SessionUpdated(session=session.echo()))
    validate(text)
    return json.loads(text)["session"]


def test_a_new_session_echoes_every_setting_with_its_default():
    assert echoed(a_session(model="gpt-realtime", instructions="Be kind.")) == {
        "id": "sess_1",
        "object": "realtime.session",
        "type": "realtime",
        "model": "gpt-realtime",
        "expires_at": 1_800_000_000,
        "output_modalities": ["audio"],
        "instructions": "Be kind.",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "truncation": "auto",
        "tracing": None,
        "prompt": None,
        "include": None,
        "audio": {
            "input": {
                "format": PCM,
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": SERVER_VAD,
            },
            "output": {"format": PCM, "voice": "hibari", "speed": 1.0},
        },
    }


def test_a_transcription_session_shows_only_its_input():
    session = echoed(a_session(kind="transcription"))
    assert session["object"] == "realtime.transcription_session"
    assert session.keys() == {"id", "object", "type", "expires_at", "include", "audio"}
    assert session["audio"].keys() == {"input"}
    assert session["audio"]["input"]["transcription"] == {"model": "whisper"}


def test_what_stock_clients_send_by_default_is_taken_and_echoed_as_they_wrote_it():
    session = merged(
        {
            "type": "realtime",
            "model": "gpt-realtime-2.1",
            "tracing": "auto",
            "max_output_tokens": "inf",
            "tool_choice": "auto",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "noise_reduction": None,
                    "transcription": {"model": "gpt-4o-mini-transcribe"},
                    "turn_detection": {"type": "semantic_vad"},
                },
                "output": {"voice": "marin", "format": {"type": "audio/pcm"}},
            },
        }
    )
    echo = echoed(session)
    assert echo["model"] == "voiceedge"
    assert echo["tracing"] == "auto"
    assert echo["audio"]["output"]["voice"] == session.voice_requested == "marin"
    assert echo["audio"]["input"]["transcription"] == {"model": "gpt-4o-mini-transcribe"}
    assert echo["audio"]["input"]["turn_detection"] == SEMANTIC_VAD
    assert session.voice == "hibari"
    assert session.transcription == Transcription(model="whisper", language="en", prompt="")


@pytest.mark.parametrize(
    ("updates", "path", "value"),
    [
        ([{"instructions": "a"}, {}], "instructions", "a"),
        ([{"instructions": "a"}, {"instructions": ""}], "instructions", ""),
        ([{"instructions": "a"}, {"instructions": None}], "instructions", "a"),
        ([{"tools": [{"type": "function", "name": "f"}]}, {"tools": []}], "tools", []),
        ([heard(turn_detection=None)], "audio.input.turn_detection", None),
        ([heard(turn_detection=None), {}], "audio.input.turn_detection", None),
        ([heard(turn_detection=None), heard(turn_detection={})], "audio.input.turn_detection", SERVER_VAD),
        ([heard(turn_detection={"type": "none"})], "audio.input.turn_detection", None),
        (
            [heard(turn_detection={"threshold": 0.7}), heard(turn_detection={"prefix_padding_ms": 9})],
            "audio.input.turn_detection",
            {**SERVER_VAD, "threshold": 0.7, "prefix_padding_ms": 9},
        ),
        (
            [heard(turn_detection={"threshold": 0.7}), heard(turn_detection={"threshold": None})],
            "audio.input.turn_detection",
            SERVER_VAD,
        ),
        (
            [heard(turn_detection={"create_response": False}), heard(turn_detection={"type": "semantic_vad"})],
            "audio.input.turn_detection",
            SEMANTIC_VAD,
        ),
        (
            [heard(turn_detection={"create_response": False}), heard(turn_detection={"type": "server_vad"})],
            "audio.input.turn_detection",
            {**SERVER_VAD, "create_response": False},
        ),
        (
            [heard(transcription={"model": "m", "prompt": "p"}), heard(transcription={"language": "de"})],
            "audio.input.transcription",
            {"model": "m", "prompt": "p", "language": "de"},
        ),
        ([heard(transcription={"model": "m"}), heard(transcription=None)], "audio.input.transcription", None),
        ([heard(transcription={})], "audio.input.transcription", {"model": "whisper"}),
        ([heard(noise_reduction={"type": "far_field"})], "audio.input.noise_reduction", {"type": "far_field"}),
        (
            [heard(noise_reduction={"type": "far_field"}), heard(noise_reduction=None)],
            "audio.input.noise_reduction",
            None,
        ),
        ([heard(noise_reduction={})], "audio.input.noise_reduction", None),
        ([heard(format={"type": "audio/pcmu"})], "audio.input.format", {"type": "audio/pcmu"}),
        ([heard(format={"type": "audio/pcmu"}), heard(format={"type": "audio/pcm"})], "audio.input.format", PCM),
        ([spoken(speed=9)], "audio.output.speed", 1.5),
        ([spoken(speed=0)], "audio.output.speed", 0.25),
        ([spoken(voice={"id": "voice_1"})], "audio.output.voice", {"id": "voice_1"}),
        ([spoken(voice=None)], "audio.output.voice", "hibari"),
        ([{"output_modalities": ["text"]}], "output_modalities", ["text"]),
        ([{"output_modalities": ["text", "audio"]}], "output_modalities", ["audio"]),
        ([{"max_output_tokens": 0}], "max_output_tokens", 1),
        ([{"max_output_tokens": 100.0}], "max_output_tokens", 100),
        ([{"max_output_tokens": 10**9}], "max_output_tokens", 4096),
        ([{"tracing": "auto"}, {"tracing": None}], "tracing", None),
        ([{"include": ["novelty"]}], "include", []),
        ([{"include": [[]]}], "include", []),
        ([{"prompt": {"id": "p", "version": None}}], "prompt", {"id": "p"}),
        ([{"truncation": {"type": "retention_ratio", "retention_ratio": 2}}], "truncation.retention_ratio", 1.0),
        (
            [{"tools": [{"type": "function", "name": "f"}], "tool_choice": {"type": "function", "name": "f"}}],
            "tool_choice.name",
            "f",
        ),
        ([{"id": "mine", "object": "x", "expires_at": 0, "model": "m"}], "id", "sess_1"),
        ([{"modalities": ["text"]}], "output_modalities", ["text"]),
        ([{"modalities": ["text"], "output_modalities": ["audio"]}], "output_modalities", ["audio"]),
        ([{"turn_detection": None}], "audio.input.turn_detection", None),
        ([{"input_audio_format": "g711_alaw"}], "audio.input.format", {"type": "audio/pcma"}),
        ([{"audio": None}], "audio.input.turn_detection", SERVER_VAD),
        ([{"audio": {"input": None}}], "audio.input.turn_detection", SERVER_VAD),
    ],
)
def test_present_keys_replace_and_absent_keys_stay(updates, path, value):
    found = echoed(merged(*updates))
    for key in path.split("."):
        found = found[key]
    assert found == value


@pytest.mark.parametrize(
    ("update", "param"),
    [
        ({"audio": 3}, "session.audio"),
        ({"audio": {"input": 3}}, "session.audio.input"),
        ({"audio": {"output": []}}, "session.audio.output"),
        (heard(format={"type": "audio/opus"}), "session.audio.input.format.type"),
        (heard(format="pcm16"), "session.audio.input.format"),
        (heard(format={"type": "audio/pcm", "rate": 16000}), "session.audio.input.format.rate"),
        (heard(turn_detection={"type": "guess"}), "session.audio.input.turn_detection.type"),
        (heard(turn_detection={"threshold": "high"}), "session.audio.input.turn_detection.threshold"),
        (heard(turn_detection={"create_response": 1}), "session.audio.input.turn_detection.create_response"),
        (
            heard(turn_detection={"voiceedge_backchannels": "yes"}),
            "session.audio.input.turn_detection.voiceedge_backchannels",
        ),
        (heard(transcription="whisper"), "session.audio.input.transcription"),
        (spoken(speed="fast"), "session.audio.output.speed"),
        (spoken(voice=7), "session.audio.output.voice"),
        ({"instructions": 4}, "session.instructions"),
        ({"output_modalities": []}, "session.output_modalities"),
        ({"output_modalities": ["smell"]}, "session.output_modalities[0]"),
        ({"tools": [{"type": "mcp"}]}, "session.tools[0].type"),
        ({"tools": [{"type": "function"}]}, "session.tools[0].name"),
        ({"tools": ["f"]}, "session.tools[0]"),
        ({"tool_choice": "perhaps"}, "session.tool_choice"),
        ({"tool_choice": {"type": "function", "name": "g"}}, "session.tool_choice"),
        ({"tools": [{"type": "mcp", "server_label": "s", "server_url": "u"}]}, "session.tools[0].type"),
        ({"max_output_tokens": "many"}, "session.max_output_tokens"),
        ({"max_output_tokens": True}, "session.max_output_tokens"),
        ({"type": "transcription"}, "session.type"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_its_place(update, param):
    with pytest.raises(InvalidRequest) as caught:
        merge(a_session(), {"instructions": "changed", **update})
    assert caught.value.param == param


def test_settings_too_deep_to_check_are_refused():
    deep = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(InvalidRequest):
        merge(a_session(), {"tools": [{"name": "f", "parameters": deep}]})


def test_a_transcription_session_refuses_to_become_a_conversation():
    with pytest.raises(InvalidRequest):
        merge(a_session(kind="transcription"), {"type": "realtime"})
    session = merge(a_session(kind="transcription"), {"type": "transcription", **heard(turn_detection=None)})
    assert session.turn_detection is None


def test_the_voice_stays_once_the_session_has_spoken_and_the_rest_changes():
    session = merge(a_session(), {"instructions": "new", **spoken(voice="second", speed=1.2)}, voice_fixed=True)
    assert (session.voice, session.speed, session.instructions) == ("hibari", 1.2, "new")
    assert merge(a_session(), spoken(voice="second")).voice == "second"


@pytest.mark.parametrize(
    ("updates", "wait", "echo"),
    [
        ([], None, 500),
        ([heard(turn_detection={"type": "server_vad"})], None, 500),
        ([heard(turn_detection={"silence_duration_ms": 500})], 500, 500),
        ([heard(turn_detection={"silence_duration_ms": 250.0})], 250, 250),
        ([heard(turn_detection={"silence_duration_ms": 200}), heard(turn_detection={"threshold": 0.4})], 200, 200),
        ([heard(turn_detection={"silence_duration_ms": 200}), {"instructions": "a"}], 200, 200),
        (
            [heard(turn_detection={"silence_duration_ms": 200}), heard(turn_detection=None), heard(turn_detection={})],
            None,
            500,
        ),
        (
            [
                heard(turn_detection={"silence_duration_ms": 200}),
                heard(turn_detection={"type": "semantic_vad"}),
                heard(turn_detection={"type": "server_vad"}),
            ],
            None,
            500,
        ),
        (
            [heard(turn_detection={"silence_duration_ms": 200}), heard(turn_detection={"silence_duration_ms": None})],
            None,
            500,
        ),
        ([{"turn_detection": {"type": "server_vad", "silence_duration_ms": 300}}], 300, 300),
    ],
)
def test_only_a_silence_that_the_client_stated_is_honoured(updates, wait, echo):
    session = merged(*updates)
    assert session.turn_detection.silence_duration_ms == wait
    assert echoed(session)["audio"]["input"]["turn_detection"]["silence_duration_ms"] == echo


@pytest.mark.parametrize(("eagerness", "longest"), [("low", 8000), ("medium", 4000), ("auto", 4000), ("high", 2000)])
def test_eagerness_bounds_the_wait(eagerness, longest):
    detection = merged(heard(turn_detection={"type": "semantic_vad", "eagerness": eagerness})).turn_detection
    assert (detection.type, detection.max_wait_ms, detection.silence_duration_ms) == ("semantic_vad", longest, None)


@pytest.mark.parametrize("kind", ["server_vad", "semantic_vad"])
def test_backchannels_are_echoed_only_to_clients_that_know_of_them(kind):
    said = echoed(merged(heard(turn_detection={"type": kind})))["audio"]["input"]["turn_detection"]
    assert "voiceedge_backchannels" not in said
    for asked in (True, False):
        session = merged(heard(turn_detection={"type": kind, "voiceedge_backchannels": asked}), {"instructions": "a"})
        assert session.turn_detection.backchannels is asked
        assert echoed(session)["audio"]["input"]["turn_detection"]["voiceedge_backchannels"] is asked


@pytest.mark.parametrize(
    "later", [{"type": "server_vad"}, {"voiceedge_backchannels": None}, {"voiceedge_backchannels": False}]
)
def test_backchannels_end_with_another_type_or_when_they_are_taken_back(later):
    session = merged(
        heard(turn_detection={"type": "semantic_vad", "voiceedge_backchannels": True}), heard(turn_detection=later)
    )
    assert session.turn_detection.backchannels is False


def test_typed_settings_say_what_the_echo_says():
    session = merged(
        {
            "output_modalities": ["text"],
            "max_output_tokens": 50,
            "temperature": 0.8,
            "tool_choice": {"type": "function", "name": "f"},
            "tools": [{"name": "f", "description": None, "parameters": {"type": "object"}}],
        },
        heard(format={"type": "audio/pcmu"}, transcription={"model": "x", "language": "de", "prompt": "Names"}),
        spoken(format={"type": "audio/pcma"}),
    )
    assert session.output_modality == "text"
    assert session.max_output_tokens == 50
    assert session.temperature == 0.8
    assert session.tool_choice == NamedTool("f")
    assert session.tools == (FunctionTool(name="f", parameters={"type": "object"}),)
    assert (session.input_format.type, session.input_format.rate_hz) == ("audio/pcmu", 8000)
    assert (session.output_format.type, session.output_format.rate_hz) == ("audio/pcma", 8000)
    assert session.transcription == Transcription(model="whisper", language="de", prompt="Names")
    assert (session.id, session.kind, session.wire.model) == ("sess_1", "realtime", "voiceedge")
    fresh = a_session()
    assert (fresh.max_output_tokens, fresh.temperature, fresh.transcription) == (None, None, None)
    assert (fresh.input_format.type, fresh.input_format.rate_hz) == ("audio/pcm", 24000)


DETECTIONS = st.none() | st.fixed_dictionaries(
    {"type": st.sampled_from(["server_vad", "semantic_vad"])},
    optional={
        "threshold": st.floats(-1, 2),
        "silence_duration_ms": st.integers(-5, 10**6) | st.none(),
        "idle_timeout_ms": st.integers(0, 10**6) | st.none(),
        "eagerness": st.sampled_from(["low", "high"]),
        "create_response": st.booleans(),
    },
)
FORMATS = st.fixed_dictionaries({"type": st.sampled_from(["audio/pcm", "audio/pcmu", "audio/pcma"])})
UPDATES = st.fixed_dictionaries(
    {},
    optional={
        "instructions": st.text(max_size=5) | st.none(),
        "output_modalities": st.sampled_from([["audio"], ["text"], ["audio", "text"]]),
        "modalities": st.sampled_from([["text"], ["audio", "text"]]),
        "tools": st.lists(st.fixed_dictionaries({"name": st.text(min_size=1, max_size=5)}), max_size=2),
        "max_output_tokens": st.integers(-(2**63), 2**64 - 1) | st.just("inf"),
        "tracing": st.none() | st.just("auto"),
        "turn_detection": DETECTIONS,
        "audio": st.fixed_dictionaries(
            {},
            optional={
                "input": st.fixed_dictionaries(
                    {},
                    optional={
                        "turn_detection": DETECTIONS,
                        "format": FORMATS,
                        "transcription": st.none()
                        | st.fixed_dictionaries({}, optional={"model": st.text(), "language": st.text() | st.none()}),
                        "noise_reduction": st.none() | st.just({"type": "near_field"}),
                    },
                ),
                "output": st.fixed_dictionaries(
                    {}, optional={"voice": st.text(), "speed": st.floats(-9, 9), "format": FORMATS}
                ),
            },
        ),
    },
)


@given(UPDATES, UPDATES)
def test_the_same_update_twice_is_as_good_as_once(first, second):
    once = merge(merge(a_session(), first), second)
    assert merge(once, second) == once


@given(UPDATES)
def test_an_update_changes_neither_its_arguments_nor_what_it_does_not_name(update):
    before, text = a_session(), msgspec.json.encode(update)
    echo_before = before.echo()
    after = echoed(merge(before, update))
    assert msgspec.json.encode(update) == text
    assert before.echo() == echo_before
    named = set(update) | {"output_modalities" if "modalities" in update else "", "audio"}
    unnamed = set(echo_before) - named
    assert {key: after[key] for key in unnamed} == {
        key: value for key, value in json.loads(msgspec.json.encode(echo_before)).items() if key in unnamed
    }
    for side in ("input", "output"):
        said = update.get("audio", {}).get(side, {})
        for key, value in json.loads(msgspec.json.encode(echo_before))["audio"][side].items():
            if key not in said and not (key == "turn_detection" and key in update):
                assert after["audio"][side][key] == value


def test_local_names_fall_back_to_the_first_voice():
    assert (NAMES.voice("second"), NAMES.voice("marin")) == ("second", "hibari")


TOO_LONG = "x" * MAX_SESSION_BYTES


@pytest.mark.parametrize(
    "update",
    [
        {"instructions": TOO_LONG},
        {"tools": [{"name": "f", "description": TOO_LONG}]},
        {"tools": [{"name": "f", "parameters": {"enum": ["x" * 1000] * 300}}]},
        {"tracing": {"metadata": TOO_LONG}},
        {"prompt": {"id": "p", "variables": {"a": TOO_LONG}}},
        spoken(voice=TOO_LONG),
        heard(transcription={"model": "m", "prompt": TOO_LONG}),
    ],
)
def test_settings_that_are_larger_than_any_context_are_refused_and_change_nothing(update):
    with pytest.raises(InvalidRequest, match=str(MAX_SESSION_BYTES)) as caught:
        merged(update)
    assert caught.value.wire_code == "session_too_long"


def test_settings_do_not_add_up_over_updates():
    session = merged({"instructions": "x" * (MAX_SESSION_BYTES // 2)})
    with pytest.raises(InvalidRequest):
        merge(session, {"tracing": {"a": "x" * (MAX_SESSION_BYTES // 2)}})


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1])
def test_a_number_that_could_not_be_echoed_is_refused(number):
    with pytest.raises(InvalidRequest):
        merged({"tools": [{"name": "f", "parameters": {"maximum": number}}]})
