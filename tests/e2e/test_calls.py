"""Function calls over a real socket (realtime-protocol.md, section 6.5)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.e2e.caller import Caller, calling
from tests.e2e.nodes import RunningNode
from tests.e2e.script import LONG_CALL, PARIS, ROME, STORY, WEATHER, Script, respond, returns, write
from tests.protocol.order import check
from tests.speech import utterance
from voiceedge.engines import Call
from voiceedge.engines.fake_defects import FakeDelays

WRITTEN = {"output_modalities": ["text"], "tools": [WEATHER]}
CALLED = [
    "response.output_item.added",
    "conversation.item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "conversation.item.done",
    "response.output_item.done",
]
SAID = [
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
]


@pytest.fixture(scope="module")
def script() -> Script:
    return Script()


@pytest.fixture(scope="module")
def node(script: Script):
    with script.node(FakeDelays(llm_token_s=0.005)) as node:
        yield node


def of_responses(caller: Caller) -> list[str]:
    return [kind for kind in caller.types() if kind.startswith(("response.", "conversation.item."))]


def places(caller: Caller, kind: str) -> list[tuple[int, str]]:
    """(output index, item's type) of every event of this type."""
    return [(event["output_index"], event["item"]["type"]) for event in caller.of(kind)]


async def asked(caller: Caller, text: str = "What is the weather?", **session: Any) -> dict[str, Any]:
    """Set the session up and put a question into it; reading begins behind it."""
    await caller.update(**(WRITTEN | session))
    item = (await write(caller, text))["item"]
    caller.seen.clear()
    return item


async def test_a_call_is_an_item_and_its_arguments_are_streamed(node: RunningNode, script: Script):
    script.begin(PARIS)
    async with calling(node.url) as caller:
        question = await asked(caller)
        done = await respond(caller)
    assert of_responses(caller) == ["response.created", *CALLED, "response.done"]
    check(caller.seen)
    added = caller.of("response.output_item.added")[0]["item"]
    assert (added["status"], added["arguments"], added["name"]) == ("in_progress", "", "get_weather")
    assert len(added["call_id"]) <= 32
    assert caller.of("conversation.item.added")[0]["item"] == added
    assert caller.of("conversation.item.added")[0]["previous_item_id"] == question["id"]
    deltas = caller.of("response.function_call_arguments.delta")
    assert len(deltas) > 1
    whole = caller.of("response.function_call_arguments.done")[0]
    assert whole["arguments"] == "".join(delta["delta"] for delta in deltas) == PARIS.arguments
    assert (whole["name"], whole["call_id"], whole["item_id"]) == ("get_weather", added["call_id"], added["id"])
    closed = {**added, "status": "completed", "arguments": PARIS.arguments}
    assert caller.of("conversation.item.done")[0]["item"] == closed
    assert caller.of("response.output_item.done")[0]["item"] == closed
    assert (done["status"], done["output"]) == ("completed", [closed])
    assert done["usage"]["output_tokens"] > 2


async def test_what_is_said_before_a_call_is_a_message_of_its_own(node: RunningNode, script: Script):
    script.begin(("Let me look.", PARIS))
    async with calling(node.url) as caller:
        question = await asked(caller)
        done = await respond(caller)
    assert of_responses(caller) == ["response.created", *SAID, *CALLED, "response.done"]
    check(caller.seen)
    assert [item["type"] for item in done["output"]] == ["message", "function_call"]
    assert places(caller, "response.output_item.added") == [(0, "message"), (1, "function_call")]
    assert places(caller, "response.output_item.done") == [(0, "message"), (1, "function_call")]
    message, _ = done["output"]
    before = [event["previous_item_id"] for event in caller.of("conversation.item.added")]
    assert before == [question["id"], message["id"]]
    assert {event["output_index"] for event in caller.of("response.function_call_arguments.delta")} == {1}


async def test_two_calls_are_two_items_with_ids_of_their_own(node: RunningNode, script: Script):
    script.begin((PARIS, ROME))
    async with calling(node.url) as caller:
        await asked(caller)
        done = await respond(caller)
    assert of_responses(caller) == ["response.created", *CALLED, *CALLED, "response.done"]
    check(caller.seen)
    first, second = done["output"]
    assert (first["arguments"], second["arguments"]) == (PARIS.arguments, ROME.arguments)
    assert first["call_id"] != second["call_id"]
    assert caller.of("conversation.item.added")[1]["previous_item_id"] == first["id"]


async def test_an_output_asks_for_nothing_and_the_next_prompt_holds_call_and_output_in_order(
    node: RunningNode, script: Script
):
    script.begin(("Let me look.", PARIS, ROME), "Sunny in both.", "You are welcome.")
    async with calling(node.url) as caller:
        await asked(caller)
        message, first, second = (await respond(caller))["output"]
        caller.seen.clear()
        output = await returns(caller, first, "sunny")
        assert output["previous_item_id"] == second["id"]
        await returns(caller, second, "sunny, too")
        await asyncio.sleep(0.1)  # nothing may begin by itself
        await caller.send("input_audio_buffer.clear")
        await caller.until("input_audio_buffer.cleared")
        assert not caller.of("response.created")
        assert [item["content"][0]["text"] for item in (await respond(caller))["output"]] == ["Sunny in both."]
        await write(caller, "Thank you.")
        await respond(caller)
    assert message["content"][0]["text"] == "Let me look."
    shown = script.shown(1)
    assert [line.role for line in shown] == ["user", "assistant", "tool", "tool"]
    assert shown[1].text == "Let me look."
    assert shown[1].calls == (PARIS, ROME)
    assert shown[1].tokens, "what was generated goes back as the ids it was"
    assert [line.text for line in shown[2:]] == ["sunny", "sunny, too"]
    assert [line.role for line in script.shown(2)] == ["user", "assistant", "tool", "tool", "assistant", "user"]


async def test_a_spoken_answer_that_calls_is_heard_before_the_call_is_opened(node: RunningNode, script: Script):
    script.begin(("Let me look that up for you.", PARIS), "It is sunny.")
    async with calling(node.url) as caller:
        await caller.update(tools=[WEATHER])
        await caller.hear(utterance("What is the capital of France?"))
        done = (await caller.until("response.done"))["response"]
        check(caller.seen)
        kinds = of_responses(caller)
        assert kinds[kinds.index("response.output_audio.done") :] == [
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            *CALLED,
            "response.done",
        ]
        assert len(caller.audio()) / 48_000 == pytest.approx(7 * 0.3, abs=0.05)
        await returns(caller, done["output"][1], "sunny")
        after = await respond(caller)
        assert after["output"][0]["content"][0]["transcript"].strip() == "It is sunny."


async def test_a_call_that_is_cut_by_the_token_limit_is_never_announced_and_never_shown(
    node: RunningNode, script: Script
):
    script.begin(("Let me look.", LONG_CALL), "As I said.")
    async with calling(node.url) as caller:
        await asked(caller)
        done = await respond(caller, max_output_tokens=12)
        assert (done["status"], done["status_details"]["reason"]) == ("incomplete", "max_output_tokens")
        check(caller.seen)
        assert not caller.of("response.function_call_arguments.done")
        message, call = done["output"]
        assert (message["status"], call["status"]) == ("completed", "incomplete")
        assert LONG_CALL.arguments.startswith(call["arguments"])
        await respond(caller)
    assert all(not line.calls for line in script.shown(1))


async def test_a_call_that_is_cancelled_while_its_arguments_come_is_never_announced(node: RunningNode, script: Script):
    script.begin(LONG_CALL, "As you wish.")
    async with calling(node.url) as caller:
        await asked(caller)
        await caller.send("response.create")
        await caller.until("response.function_call_arguments.delta")
        await caller.send("response.cancel")
        done = (await caller.until("response.done"))["response"]
        assert done["status"] == "cancelled"
        assert done["output"][0]["status"] == "incomplete"
        check(caller.seen)
        await write(caller, "Never mind.")
        again = await respond(caller)
        assert again["status"] == "completed"
        assert not caller.of("response.function_call_arguments.done")
        await caller.send("conversation.item.retrieve", item_id=done["output"][0]["id"])
        kept = (await caller.until("conversation.item.retrieved"))["item"]
    assert kept["status"] == "incomplete"
    assert [line.role for line in script.shown(1)] == ["user", "user"]


async def test_an_engine_that_fails_inside_a_call_fails_the_response_and_not_the_session(
    node: RunningNode, script: Script
):
    script.begin(("Let me look.", LONG_CALL), "Here I am again.")
    async with calling(node.url) as caller:
        await asked(caller)
        await caller.send("response.create")
        await caller.until("response.function_call_arguments.delta")
        script.broken.add("llm")
        done = (await caller.until("response.done"))["response"]
        script.broken.clear()
        assert (done["status"], done["status_details"]["error"]["code"]) == ("failed", "engine_failed")
        assert not caller.of("response.function_call_arguments.done")
        check(caller.seen)
        assert (await respond(caller))["status"] == "completed"


async def test_a_barge_in_over_what_is_said_before_a_call_takes_the_call_with_it(node: RunningNode, script: Script):
    script.begin((STORY, PARIS), "Yes?")
    async with calling(node.url) as caller:
        await caller.update(tools=[WEATHER])
        await caller.hear(utterance("What is the capital of France?"))
        await caller.until("response.output_audio.delta")
        speaking = asyncio.create_task(caller.hear_in_real_time(utterance("No, wait, stop.", pause_s=1.0)))
        dead = (await caller.until("response.done"))["response"]
        assert (dead["status"], dead["status_details"]["reason"]) == ("cancelled", "turn_detected")
        assert [item["type"] for item in dead["output"]] == ["message"]
        after = (await caller.until("response.done"))["response"]
        await speaking
    assert after["status"] == "completed"
    assert not caller.of("response.function_call_arguments.delta")
    check(caller.seen)
    assert [line.role for line in script.shown(1)] == ["user", "assistant", "user"]
    assert not script.shown(1)[1].calls


async def test_a_barge_in_over_the_audio_of_a_finished_response_leaves_its_call(node: RunningNode, script: Script):
    script.begin(("Let me look that up for you, it may take me a little while.", PARIS), "Yes?", "Sunny.")
    async with calling(node.url) as caller:
        await caller.update(tools=[WEATHER])
        await caller.hear(utterance("What is the capital of France?"))
        message, call = (await caller.until("response.done"))["response"]["output"]
        speaking = asyncio.create_task(caller.hear_in_real_time(utterance("No, wait, stop.", pause_s=1.0)))
        await caller.until("input_audio_buffer.speech_started")
        await caller.send("conversation.item.truncate", item_id=message["id"], content_index=0, audio_end_ms=700)
        await caller.until("conversation.item.truncated")
        await returns(caller, call, "sunny")
        await caller.until("response.done")
        await speaking
        await respond(caller)
    assert call["status"] == "completed"
    shown = script.shown(1)
    assert [line.role for line in shown[:3]] == ["user", "assistant", "tool"]
    assert shown[1].text == "Let me"
    assert shown[1].calls == (PARIS,)
    check(caller.seen)


@pytest.mark.parametrize(
    ("choice", "mode", "name"),
    [
        ("auto", "auto", None),
        ("none", "none", None),
        ("required", "required", None),
        ({"type": "function", "name": "get_weather"}, "required", "get_weather"),
    ],
)
async def test_whether_a_tool_may_or_must_be_called_reaches_the_model(
    node: RunningNode, script: Script, choice: Any, mode: str, name: str | None
):
    script.begin("Fine.")
    async with calling(node.url) as caller:
        await asked(caller)
        await respond(caller, tool_choice=choice, parallel_tool_calls=False)
    prompt = script.prompts[0]
    assert (prompt.tool_choice.mode, prompt.tool_choice.name) == (mode, name)
    assert not prompt.tool_choice.parallel
    assert [tool.name for tool in prompt.tools] == ["get_weather"]
    assert prompt.tools[0].parameters == WEATHER["parameters"]


async def test_arguments_hold_any_unicode(node: RunningNode, script: Script):
    call = Call("get_weather", json.dumps({"city": "Zürich 🇨🇭 東京"}, ensure_ascii=False))
    script.begin(call)
    async with calling(node.url) as caller:
        await asked(caller)
        await respond(caller)
    done = caller.of("response.function_call_arguments.done")[0]
    assert json.loads(done["arguments"]) == {"city": "Zürich 🇨🇭 東京"}
    assert "".join(e["delta"] for e in caller.of("response.function_call_arguments.delta")) == done["arguments"]
