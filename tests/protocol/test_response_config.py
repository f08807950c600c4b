import msgspec
import pytest

from tests.protocol.samples import a_session
from voiceedge.errors import InvalidRequest
from voiceedge.protocol.items import MAX_ITEM_BYTES, InputText, ItemReference, MessageItem
from voiceedge.protocol.response_config import response_config
from voiceedge.protocol.session_config import MAX_SESSION_BYTES, merge
from voiceedge.protocol.session_object import FunctionTool, NamedTool, PcmaFormat, PcmuFormat

SESSION = merge(
    a_session(),
    {
        "instructions": "Be kind.",
        "tools": [{"type": "function", "name": "f"}],
        "tool_choice": "required",
        "max_output_tokens": 100,
        "temperature": 0.7,
        "audio": {"output": {"voice": "second", "speed": 1.2, "format": {"type": "audio/pcmu"}}},
    },
)


@pytest.mark.parametrize("params", [None, {}, {"instructions": None, "tools": None, "audio": None, "metadata": None}])
def test_what_is_not_said_is_the_sessions(params):
    config = response_config(SESSION, params)
    assert config.instructions is None
    assert config.output_modality == "audio"
    assert (config.voice, config.voice_requested, config.speed) == ("second", "second", 1.2)
    assert config.output_format == PcmuFormat()
    assert config.tools == (FunctionTool(name="f"),)
    assert config.tool_choice == "required"
    assert (config.max_output_tokens, config.temperature) == (100, 0.7)
    assert config.in_conversation
    assert (config.input, config.metadata) == (None, None)


def test_what_is_said_holds_for_this_response():
    config = response_config(
        SESSION,
        {
            "instructions": "Greet.",
            "output_modalities": ["text"],
            "audio": {"output": {"voice": {"id": "marin"}, "speed": 7, "format": {"type": "audio/pcma"}}},
            "tools": [{"type": "function", "name": "g"}],
            "tool_choice": {"type": "function", "name": "g"},
            "max_output_tokens": "inf",
            "temperature": 0,
            "conversation": "none",
            "metadata": {"client_event_id": "e"},
            "novelty": 1,
        },
    )
    assert (config.instructions, config.output_modality) == ("Greet.", "text")
    assert (config.voice, config.voice_requested, config.speed) == ("hibari", "marin", 1.5)
    assert (config.output_format, config.tools) == (PcmaFormat(), (FunctionTool(name="g"),))
    assert config.tool_choice == NamedTool("g")
    assert (config.max_output_tokens, config.temperature) == (None, 0.0)
    assert not config.in_conversation
    assert config.metadata == {"client_event_id": "e"}


@pytest.mark.parametrize(
    ("params", "field", "value"),
    [
        ({"modalities": ["text"]}, "output_modality", "text"),
        ({"modalities": ["audio", "text"]}, "output_modality", "audio"),
        ({"voice": "hibari"}, "voice", "hibari"),
        ({"output_audio_format": "g711_alaw"}, "output_format", PcmaFormat()),
        ({"max_response_output_tokens": 9}, "max_output_tokens", 9),
        ({"max_output_tokens": 10**6}, "max_output_tokens", 4096),
        ({"conversation": "auto"}, "in_conversation", True),
        ({"input": []}, "input", ()),
    ],
)
def test_beta_names_and_sizes_out_of_range_are_taken(params, field, value):
    assert getattr(response_config(SESSION, params), field) == value


def test_own_input_holds_items_and_references():
    params = {
        "input": [
            {"type": "item_reference", "id": "item_1"},
            {"type": "message", "id": "a", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        ]
    }
    before = msgspec.json.encode(params)
    message = MessageItem("a", "user", (InputText("hi"),))
    assert response_config(SESSION, params).input == (ItemReference("item_1"), message)
    assert msgspec.json.encode(params) == before


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"metadata": {str(n): "" for n in range(17)}}, "response.metadata"),
        ({"metadata": {"k" * 65: ""}}, "response.metadata"),
        ({"metadata": {"k": "v" * 513}}, "response.metadata"),
        ({"metadata": {"k": 3}}, "response.metadata[...]"),
        ({"metadata": []}, "response.metadata"),
        ({"max_output_tokens": "many"}, "response.max_output_tokens"),
        ({"input": "hi"}, "response.input"),
        ({"input": [3]}, "response.input[0]"),
        ({"input": [{"type": "mcp_call"}]}, "response.input[0].type"),
        ({"input": [{"type": "item_reference"}]}, "response.input[0].id"),
        ({"output_modalities": []}, "response.output_modalities"),
        ({"tools": [{"type": "mcp"}]}, "response.tools[0].type"),
        ({"audio": {"output": {"format": {"type": "audio/opus"}}}}, "response.audio.output.format.type"),
        ({"instructions": 3}, "response.instructions"),
    ],
)
def test_what_cannot_be_honoured_is_refused_with_its_place(params, param):
    with pytest.raises(InvalidRequest) as caught:
        response_config(SESSION, params)
    assert caught.value.param == param


def test_the_largest_metadata_comes_back_verbatim():
    metadata = {f"{n:064}": "v" * 512 for n in range(16)}
    assert response_config(SESSION, {"metadata": metadata}).metadata == metadata


@pytest.mark.parametrize(
    ("params", "choice"),
    [
        ({"tools": []}, "auto"),
        ({"tools": [{"type": "function", "name": "g"}]}, "required"),
        ({"tools": [{"type": "function", "name": "g"}], "tool_choice": "none"}, "none"),
    ],
)
def test_the_sessions_choice_of_a_tool_holds_where_there_is_one(params, choice):
    assert response_config(SESSION, params).tool_choice == choice


def test_the_sessions_choice_of_one_tool_holds_only_with_that_tool():
    session = merge(SESSION, {"tool_choice": {"type": "function", "name": "f"}})
    assert response_config(session).tool_choice == NamedTool("f")
    assert response_config(session, {"tools": [{"type": "function", "name": "g"}]}).tool_choice == "auto"


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"tool_choice": {"type": "function", "name": "g"}}, "response.tool_choice"),
        ({"tools": [], "tool_choice": "required"}, "response.tool_choice"),
        ({"tools": [{"type": "mcp", "server_label": "s"}]}, "response.tools[0].type"),
    ],
)
def test_a_tool_that_is_not_there_or_is_not_served_is_refused(params, param):
    with pytest.raises(InvalidRequest) as refused:
        response_config(SESSION, params)
    assert refused.value.param == param


@pytest.mark.parametrize(
    "params",
    [
        {"instructions": "x" * MAX_SESSION_BYTES},
        {"audio": {"output": {"voice": "x" * MAX_SESSION_BYTES}}},
        {"tools": [{"name": "f", "description": "x" * MAX_SESSION_BYTES}]},
        {"novelty": "x" * MAX_SESSION_BYTES},
    ],
)
def test_a_response_has_no_larger_settings_than_a_session(params):
    with pytest.raises(InvalidRequest, match=str(MAX_SESSION_BYTES)) as caught:
        response_config(SESSION, params)
    assert caught.value.wire_code == "session_too_long"


def test_what_a_response_answers_takes_no_more_than_one_item():
    half = {"type": "message", "role": "user", "content": "x" * (MAX_ITEM_BYTES // 2)}
    assert len(response_config(SESSION, {"input": [half]}).input) == 1
    with pytest.raises(InvalidRequest, match=str(MAX_ITEM_BYTES)) as caught:
        response_config(SESSION, {"input": [half, half]})
    assert (caught.value.wire_code, caught.value.param) == ("item_too_large", "response.input")
