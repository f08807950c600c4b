import msgspec
import pytest

from voiceedge.errors import InvalidRequest
from voiceedge.protocol.items import (
    MAX_ITEM_BYTES,
    FunctionCallItem,
    FunctionCallOutputItem,
    InputAudio,
    InputImage,
    InputText,
    MessageItem,
    OutputAudio,
    OutputText,
    parse_item,
    size_bytes,
    text_of,
    user_audio,
    without_audio,
)


def message(role, *content, **more):
    return {"type": "message", "id": "a", "role": role, "content": list(content), **more}


@pytest.mark.parametrize("item_id", ["item_livekit", "0123456789abcdef0123456789abcdef", "a b/ä"])
def test_the_clients_id_is_kept_verbatim(item_id):
    assert parse_item({"id": item_id, "role": "user", "content": []}).id == item_id


@pytest.mark.parametrize("item_id", [None, ""])
def test_an_item_without_id_gets_one(item_id):
    assert parse_item({"id": item_id, "role": "user", "content": []}).id.startswith("item_")


@pytest.mark.parametrize(
    ("raw", "parsed"),
    [
        (
            message("user", {"type": "input_text", "text": "hi"}),
            MessageItem("a", "user", (InputText("hi"),)),
        ),
        (
            message("assistant", {"type": "input_text", "text": "pipecat"}, {"type": "text", "text": "beta"}),
            MessageItem("a", "assistant", (OutputText("pipecat"), OutputText("beta"))),
        ),
        (
            message("assistant", {"type": "audio", "transcript": "said"}, status="incomplete"),
            MessageItem("a", "assistant", (OutputAudio("said"),), "incomplete"),
        ),
        (
            message("user", {"type": "input_image", "image_url": "data:", "text": None}, status=None),
            MessageItem("a", "user", (InputImage("data:"),)),
        ),
        (
            message("developer", {"type": "input_text", "text": "rule"}),
            MessageItem("a", "system", (InputText("rule"),)),
        ),
        (
            {"id": "a", "role": "user", "content": "plain", "status": "in_progress"},
            MessageItem("a", "user", (InputText("plain"),)),
        ),
        (
            {"type": "message", "id": "a", "role": "assistant", "status": "completed", "content": None},
            MessageItem("a", "assistant", ()),
        ),
        (
            {"type": "function_call", "id": "a", "call_id": "c", "name": "f", "arguments": {"x": 1}},
            FunctionCallItem("a", "c", "f", '{"x":1}'),
        ),
        (
            {"type": "function_call_output", "id": "a", "call_id": "c", "output": "done", "role": None},
            FunctionCallOutputItem("a", "c", "done"),
        ),
    ],
)
def test_what_clients_send_becomes_a_clean_item(raw, parsed):
    before = msgspec.json.encode(raw)
    assert parse_item(raw) == parsed
    assert msgspec.json.encode(raw) == before


def test_a_call_without_call_id_gets_one():
    item = parse_item({"type": "function_call", "name": "f", "arguments": "{}", "call_id": None})
    assert item.call_id.startswith("call_")
    assert len(item.call_id) <= 32


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        ("hello", "item"),
        ({"type": "mcp_call"}, "item.type"),
        ({"type": 3}, "item.type"),
        ({"type": "message", "content": []}, "item.role"),
        (message("robot"), "item.role"),
        (message("user", "word"), "item.content[0]"),
        (message("user", {"type": "video"}), "item.content[0].type"),
        (message("user", {"type": "input_text"}), "item.content[0].text"),
        (message("user") | {"content": 3}, "item.content"),
        ({"type": "function_call_output", "output": ""}, "item.call_id"),
        ({"type": "function_call", "arguments": "{}"}, "item.name"),
        (message("user") | {"id": "x" * 513}, "item.id"),
    ],
)
def test_what_cannot_be_an_item_is_refused_with_its_place(raw, param):
    with pytest.raises(InvalidRequest) as caught:
        parse_item(raw)
    assert caught.value.param == param


def test_raw_audio_is_never_echoed():
    item = parse_item(message("user", {"type": "input_audio", "audio": "AAAA"}))
    assert item.content[0].audio == "AAAA"
    assert without_audio(item) == user_audio("a")
    call = FunctionCallItem("a", "c", "f", "{}")
    assert without_audio(call) is call


def test_the_words_of_an_item_are_what_was_written_and_said():
    assert text_of(MessageItem("a", "user", (InputText("look"), InputImage("x"), InputAudio("here")))) == "look here"
    assert text_of(user_audio("a")) == ""
    assert text_of(FunctionCallItem("a", "c", "f", "{}")) == ""


TOO_LONG = "x" * MAX_ITEM_BYTES


@pytest.mark.parametrize(
    "raw",
    [
        message("user", {"type": "input_text", "text": TOO_LONG}),
        message("assistant", {"type": "output_text", "text": TOO_LONG}),
        message("user", {"type": "input_audio", "transcript": TOO_LONG}),
        message("user", {"type": "input_image", "image_url": TOO_LONG}),
        message("user", *[{"type": "input_text", "text": "x" * (MAX_ITEM_BYTES // 10)}] * 11),
        message("user", {"type": "input_text", "text": "x" * (MAX_ITEM_BYTES // 4) + "😀"}),
        {"type": "function_call", "id": "a", "name": TOO_LONG, "arguments": "{}"},
        {"type": "function_call", "id": "a", "name": "f", "arguments": TOO_LONG},
        {"type": "function_call_output", "id": "a", "call_id": "c", "output": TOO_LONG},
        {"type": "function_call_output", "id": "a", "call_id": "c", "output": [TOO_LONG]},
    ],
)
def test_an_item_that_takes_too_much_memory_is_refused_and_it_is_said_how_much_fits(raw):
    with pytest.raises(InvalidRequest, match=str(MAX_ITEM_BYTES)) as caught:
        parse_item(raw)
    assert (caught.value.wire_code, caught.value.param) == ("item_too_large", "item")


def test_speech_does_not_count_because_it_is_not_kept():
    item = parse_item(message("user", {"type": "input_audio", "audio": TOO_LONG}))
    assert size_bytes(item) < 1000
