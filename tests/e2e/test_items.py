"""Conversations that clients make, replay and edit item by item, and settings that they change piece by piece."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.e2e.caller import Caller, calling
from tests.e2e.nodes import RunningNode
from tests.e2e.script import PARIS, WEATHER, Script, is_refused, respond, write
from tests.protocol.order import check
from voiceedge.engines import Call


@pytest.fixture(scope="module")
def script() -> Script:
    return Script()


@pytest.fixture(scope="module")
def node(script: Script):
    with script.node() as node:
        yield node


async def create(caller: Caller, item: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Make an item and take its two events."""
    await caller.send("conversation.item.create", item=item, **fields)
    added = await caller.next()
    done = await caller.next()
    assert (added["type"], done["type"]) == ("conversation.item.added", "conversation.item.done")
    assert (added["item"], added["previous_item_id"]) == (done["item"], done["previous_item_id"])
    return added


def said(role: str, text: str, item_id: str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"id": item_id, "type": "message", "role": role, "content": [{"type": kind, "text": text}]}


# ── a conversation is replayed ────────────────────────────────────────────────────────────────────────


async def test_livekits_replay_of_a_conversation_is_what_the_model_is_shown(node: RunningNode, script: Script):
    """As LiveKit does it when it has connected anew: its own ids, root first, each item behind the one before."""
    script.begin("It is still sunny.")
    call = {"type": "function_call", "id": "item_3", "call_id": "call_abc", "name": PARIS.name}
    output = {"type": "function_call_output", "id": "item_4", "call_id": "call_abc", "output": "sunny"}
    items = [
        said("system", "You are in Paris.", "item_0"),
        said("user", "What is the weather?", "item_1"),
        said("assistant", "Let me look.", "item_2"),
        {**call, "arguments": PARIS.arguments},
        output,
        said("assistant", "It is sunny.", "item_5"),
        said("user", "And now?", "item_6"),
    ]
    async with calling(node.url) as caller:
        await caller.update(output_modalities=["text"], tools=[WEATHER])
        before: str | None = None
        for item in items:
            added = await create(caller, item, previous_item_id=before or "root", event_id=f"sync_{item['id']}")
            assert (added["item"]["id"], added["previous_item_id"]) == (item["id"], before)
            before = item["id"]
        done = await respond(caller)
        assert caller.of("conversation.item.added")[-1]["previous_item_id"] == "item_6"
        assert done["output"][0]["content"][0]["text"] == "It is still sunny."
        await caller.send("conversation.item.retrieve", item_id="item_3")
        kept = (await caller.until("conversation.item.retrieved"))["item"]
        assert (kept["call_id"], kept["name"], kept["arguments"]) == ("call_abc", PARIS.name, PARIS.arguments)
        await caller.send("conversation.item.retrieve", item_id="item_4")
        assert (await caller.until("conversation.item.retrieved"))["item"]["output"] == "sunny"
    shown = script.shown()
    assert [(line.role, line.text, line.calls) for line in shown] == [
        ("system", "You are in Paris.", ()),
        ("user", "What is the weather?", ()),
        ("assistant", "Let me look.", (Call(PARIS.name, PARIS.arguments),)),
        ("tool", "sunny", ()),
        ("assistant", "It is sunny.", ()),
        ("user", "And now?", ()),
    ]
    check(caller.seen)


async def test_an_item_goes_where_its_client_puts_it(node: RunningNode, script: Script):
    script.begin("Yes.")
    async with calling(node.url) as caller:
        await caller.update(output_modalities=["text"])
        assert (await create(caller, said("user", "b", "b")))["previous_item_id"] is None
        assert (await create(caller, said("user", "d", "d")))["previous_item_id"] == "b"
        assert (await create(caller, said("user", "a", "a"), previous_item_id="root"))["previous_item_id"] is None
        assert (await create(caller, said("user", "c", "c"), previous_item_id="b"))["previous_item_id"] == "b"
        assert (await create(caller, said("user", "e", "e"), previous_item_id=None))["previous_item_id"] == "d"
        await caller.send("conversation.item.create", item=said("user", "x", "x"), previous_item_id="nobody")
        error = await is_refused(caller, "item_create_invalid_previous_item_id")
        assert error["param"] == "previous_item_id"
        await caller.send("conversation.item.retrieve", item_id="x")
        await is_refused(caller, "item_retrieve_invalid_item_id")
        await respond(caller)
    assert [line.text for line in script.shown()] == list("abcde")


async def test_an_id_is_taken_once(node: RunningNode):
    async with calling(node.url) as caller:
        await create(caller, said("user", "a", "mine"))
        await caller.send("conversation.item.create", item=said("user", "b", "mine"), event_id="again")
        error = await is_refused(caller, "item_create_duplicate_item_id")
        assert error["event_id"] == "again"
        made = await create(caller, {"type": "message", "role": "user", "content": []})
        assert made["item"]["id"]


async def test_what_is_deleted_is_gone_for_client_and_model(node: RunningNode, script: Script):
    script.begin("Yes.")
    async with calling(node.url) as caller:
        await caller.update(output_modalities=["text"])
        for name in "abc":
            await create(caller, said("user", name, name))
        await caller.send("conversation.item.delete", item_id="b")
        assert (await caller.until("conversation.item.deleted"))["item_id"] == "b"
        await caller.send("conversation.item.delete", item_id="b", event_id="again")
        assert (await is_refused(caller, "item_delete_invalid_item_id"))["event_id"] == "again"
        await caller.send("conversation.item.retrieve", item_id="b", event_id="lost")
        assert (await is_refused(caller, "item_retrieve_invalid_item_id"))["event_id"] == "lost"
        assert (await create(caller, said("user", "d", "d")))["previous_item_id"] == "c"
        await respond(caller)
    assert [line.text for line in script.shown()] == ["a", "c", "d"]


@pytest.mark.parametrize(
    ("item", "role", "text"),
    [
        ({"type": "message", "role": "assistant", "content": [{"type": "input_text", "text": "a"}]}, "assistant", "a"),
        ({"type": "message", "role": "assistant", "content": [{"type": "text", "text": "a"}]}, "assistant", "a"),
        ({"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "a"}]}, "system", "a"),
        ({"role": "user", "content": [{"type": "input_text", "text": "a"}], "status": None, "id": None}, "user", "a"),
        ({"type": "message", "role": "user", "content": "a"}, "user", "a"),
        ({"type": "message", "role": "user", "content": [{"type": "input_audio", "transcript": "a"}]}, "user", "a"),
    ],
)
async def test_what_clients_get_wrong_about_items_is_put_right(
    node: RunningNode, script: Script, item: dict[str, Any], role: str, text: str
):
    script.begin("Yes.")
    async with calling(node.url) as caller:
        await caller.update(output_modalities=["text"])
        await create(caller, item)
        await respond(caller)
    assert [(line.role, line.text) for line in script.shown()] == [(role, text)]


async def test_speech_that_is_no_base64_leaves_no_item_behind(node: RunningNode):
    async with calling(node.url) as caller:
        item = {"id": "mine", "type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "§"}]}
        await caller.send("conversation.item.create", item=item)
        await is_refused(caller, "invalid_value")
        await caller.send("conversation.item.retrieve", item_id="mine")
        await is_refused(caller, "item_retrieve_invalid_item_id")


async def test_a_cut_off_answer_is_replayed_as_it_was_heard(node: RunningNode, script: Script):
    script.begin("Yes.")
    async with calling(node.url) as caller:
        await caller.update(output_modalities=["text"])
        item = {**said("assistant", "This is what was", "a"), "status": "incomplete"}
        assert (await create(caller, item))["item"]["status"] == "incomplete"
        await respond(caller)
    assert [(line.role, line.text) for line in script.shown()] == [("assistant", "This is what was")]


# ── settings ──────────────────────────────────────────────────────────────────────────────────────────


async def test_an_update_merges_deeply_and_the_echo_is_full(node: RunningNode):
    async with calling(node.url) as caller:
        transcription = {"model": "gpt-4o-mini-transcribe", "prompt": "Paris"}
        detection = {"type": "server_vad", "threshold": 0.7, "create_response": False}
        await caller.update(
            instructions="Be kind.",
            tools=[WEATHER],
            audio={
                "input": {"transcription": transcription, "turn_detection": detection},
                "output": {"voice": "marin", "speed": 1.2},
            },
        )
        await caller.update(audio={"input": {"transcription": {"language": "en"}}})
        echo = (await caller.update(audio={"input": {"turn_detection": {"prefix_padding_ms": 100}}}))["session"]
        heard, spoken = echo["audio"]["input"], echo["audio"]["output"]
        assert heard["transcription"] == {**transcription, "language": "en"}
        assert heard["turn_detection"] == {
            **detection,
            "prefix_padding_ms": 100,
            "silence_duration_ms": 500,
            "idle_timeout_ms": None,
            "interrupt_response": True,
        }
        assert (spoken["voice"], spoken["speed"]) == ("marin", 1.2)
        assert (echo["instructions"], [tool["name"] for tool in echo["tools"]]) == ("Be kind.", ["get_weather"])
        cleared = (await caller.update(instructions="", tools=[], audio={"input": {"transcription": None}}))["session"]
        assert (cleared["instructions"], cleared["tools"]) == ("", [])
        assert cleared["audio"]["input"]["transcription"] is None
        assert cleared["audio"]["input"]["turn_detection"] == heard["turn_detection"]


async def test_a_new_type_of_turn_detection_begins_with_its_defaults(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.update(audio={"input": {"turn_detection": {"type": "server_vad", "create_response": False}}})
        echo = (await caller.update(audio={"input": {"turn_detection": {"type": "semantic_vad"}}}))["session"]
        assert echo["audio"]["input"]["turn_detection"] == {
            "type": "semantic_vad",
            "eagerness": "auto",
            "create_response": True,
            "interrupt_response": True,
        }


async def test_names_that_are_not_ours_are_echoed_as_they_were_asked_for(node: RunningNode):
    async with calling(node.url) as caller:
        echo = (
            await caller.update(
                model="gpt-realtime-2.1",
                tracing="auto",
                max_output_tokens="inf",
                audio={
                    "input": {"transcription": {"model": "gpt-realtime-whisper"}, "noise_reduction": None},
                    "output": {"voice": {"id": "voice_123"}},
                },
                unheard_of=1,
            )
        )["session"]
        assert echo["audio"]["input"]["transcription"]["model"] == "gpt-realtime-whisper"
        assert echo["audio"]["output"]["voice"] == {"id": "voice_123"}
        assert echo["tracing"] == "auto"
        assert "unheard_of" not in echo


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        (
            {"tools": [{"type": "mcp", "server_label": "s", "server_url": "u"}]},
            "invalid_value",
            "session.tools[0].type",
        ),
        ({"tool_choice": {"type": "function", "name": "nobody"}}, "invalid_value", "session.tool_choice"),
        ({"output_modalities": ["smell"]}, "invalid_value", "session.output_modalities[0]"),
        ({"type": "transcription"}, "invalid_value", "session.type"),
    ],
)
async def test_an_update_that_cannot_be_honoured_changes_nothing(
    node: RunningNode, session: dict[str, Any], code: str, param: str
):
    async with calling(node.url) as caller:
        before = (await caller.update(instructions="Be kind."))["session"]
        await caller.send(
            "session.update", session={"type": "realtime", "instructions": "Be cruel.", **session}, event_id="e"
        )
        error = await is_refused(caller, code)
        assert (error["param"], error["event_id"]) == (param, "e")
        assert (await caller.update())["session"] == before


# ── the beta's names ──────────────────────────────────────────────────────────────────────────────────


async def test_the_beta_names_are_spoken_to_who_asks_for_them_and_to_nobody_else(node: RunningNode, script: Script):
    script.begin("Yes.")
    ga: list[str] = []
    async with calling(node.url) as caller:
        await caller.update(modalities=["text"])  # understood on every connection
        await write(caller, "So?")
        await respond(caller)
        ga = [event["type"] for event in caller.seen]
    assert "response.output_text.delta" in ga
    assert not {"response.text.delta", "conversation.item.created"} & set(ga)
    beta: list[dict[str, Any]] = []
    headers = {"OpenAI-Beta": "realtime=v1"}
    async with connect(f"{node.url}?model=x", additional_headers=headers) as socket:
        for message in (
            {"type": "session.update", "session": {"modalities": ["text"]}},
            {"type": "conversation.item.create", "item": said("user", "So?", "a")},
            {"type": "response.create"},
        ):
            await socket.send(json.dumps(message))
        while not beta or beta[-1]["type"] != "response.done":
            beta.append(json.loads(await socket.recv()))
    kinds = [event["type"] for event in beta]
    assert {"response.text.delta", "conversation.item.created"} <= set(kinds)
    assert not {"response.output_text.delta", "conversation.item.added", "conversation.item.done"} & set(kinds)
    assert beta[kinds.index("session.updated")]["session"]["modalities"] == ["text"]
    assert beta[-1]["response"]["output"][0]["content"] == [{"type": "text", "text": "Yes."}]
