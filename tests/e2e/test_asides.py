"""Responses outside of the conversation, and answers to what a client puts in its place (section 6.6)."""

from __future__ import annotations

import asyncio
import base64
import time
from typing import Any

import pytest

from tests import real
from tests.e2e.caller import Caller, calling
from tests.e2e.nodes import RunningNode, running_node
from tests.e2e.script import PARIS, STORY, WEATHER, Script, is_refused, respond, write
from tests.protocol.order import check
from tests.speech import utterance
from voiceedge.engines import Prompt
from voiceedge.engines.fake_defects import FakeDelays
from voiceedge.session.asides import MAX_ASIDES

CLASSIFY = {
    "conversation": "none",
    "output_modalities": ["text"],
    "instructions": "Classify the conversation.",
    "metadata": {"topic": "classification"},
}


class ByInstructions(Script):
    """Says what the story needs, and to asides what they are asked for."""

    def answer(self, prompt: Prompt) -> Any:
        if any("Classify" in message.text for message in prompt.messages if message.role == "system"):
            self.prompts.append(prompt)
            return "A greeting."
        return super().answer(prompt)


@pytest.fixture(scope="module")
def script() -> ByInstructions:
    return ByInstructions()


@pytest.fixture(scope="module")
def node(script: Script):
    with script.node(FakeDelays(llm_token_s=0.005)) as node:
        yield node


def of_response(caller: Caller, response_id: str) -> list[dict[str, Any]]:
    return [
        event
        for event in caller.seen
        if response_id in (event.get("response_id"), event.get("response", {}).get("id")) and "turn" not in event
    ]


async def done_of(caller: Caller, topic: str) -> dict[str, Any]:
    """The response.done whose metadata name this topic."""
    while True:
        response = (await caller.until("response.done"))["response"]
        if (response["metadata"] or {}).get("topic") == topic:
            return response


async def test_an_aside_is_shown_to_the_client_and_not_to_the_conversation(node: RunningNode, script: Script):
    script.begin("Hello.")
    async with calling(node.url) as caller:
        await caller.update(output_modalities=["text"], instructions="Be brief.")
        await write(caller, "Good morning.")
        caller.seen.clear()
        done = await respond(caller, **CLASSIFY)
        assert [event["type"] for event in caller.seen] == [
            "response.created",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.done",
        ]
        check(caller.seen)
        created = caller.seen[0]["response"]
        assert (created["conversation_id"], done["conversation_id"]) == (None, None)
        assert created["metadata"] == done["metadata"] == {"topic": "classification"}
        assert done["output"][0]["content"][0]["text"] == "A greeting."
        assert done["usage"]["output_tokens"] == 2
        # its instructions take the place of the session's; the conversation is what it is about
        assert [(line.role, line.text) for line in script.prompts[0].messages] == [
            ("user", "Good morning."),
            ("system", "Classify the conversation."),
        ]
        await caller.send("conversation.item.retrieve", item_id=done["output"][0]["id"])
        await is_refused(caller, "item_retrieve_invalid_item_id")
        await respond(caller)
    assert [line.role for line in script.shown()] == ["user"]


async def test_an_aside_runs_beside_the_answer_that_is_being_spoken(node: RunningNode, script: Script):
    script.begin(STORY)
    async with calling(node.url) as caller:
        await caller.send("response.create")
        await caller.until("response.output_audio.delta")
        aside = await respond(caller, **CLASSIFY)
        assert aside["metadata"] == {"topic": "classification"}
        await caller.send("response.create")
        error = await is_refused_later(caller)
        assert error["code"] == "conversation_already_has_active_response"
        await caller.send("response.cancel")
        main = (await caller.until("response.done"))["response"]
    assert main["status"] == "cancelled"
    assert main["conversation_id"]
    check(caller.seen)
    assert any("sentence number" in line.text for line in script.prompts[1].messages)


async def is_refused_later(caller: Caller) -> dict[str, Any]:
    while True:
        event = await caller.next()
        if event["type"] == "error":
            error: dict[str, Any] = event["error"]
            return error


async def test_an_aside_can_speak_and_call(node: RunningNode, script: Script):
    script.begin(("Let me look.", PARIS))
    async with calling(node.url) as caller:
        done = await respond(
            caller, conversation="none", tools=[WEATHER], tool_choice="auto", audio={"output": {"voice": "marin"}}
        )
        assert [item["type"] for item in done["output"]] == ["message", "function_call"]
        assert done["audio"]["output"]["voice"] == "marin"
        assert len(caller.audio()) / 48_000 == pytest.approx(0.9, abs=0.05)
        assert not caller.of("conversation.item.added")
        check(caller.seen)


async def test_an_aside_is_cancelled_by_its_id_alone(node: RunningNode, script: Script):
    script.begin(STORY)
    async with calling(node.url) as caller:
        await caller.send("response.create", response={"conversation": "none"})
        aside = (await caller.until("response.created"))["response"]["id"]
        await caller.send("response.cancel")
        error = await is_refused_later(caller)
        assert error["code"] == "response_cancel_not_active"
        await caller.until("response.output_audio.delta")
        await caller.send("response.cancel", response_id=aside)
        done = (await caller.until("response.done"))["response"]
        assert (done["id"], done["status"]) == (aside, "cancelled")
        assert done["status_details"]["reason"] == "client_cancelled"
        await caller.send("response.cancel", response_id=aside)
        await is_refused(caller, "response_cancel_not_active")
        check(caller.seen)
        script.begin("Here I am.")
        assert (await respond(caller))["status"] == "completed"
    late = [
        event for event in of_response(caller, aside) if caller.seen.index(event) > caller.seen.index(_done(caller))
    ]
    assert not late


def _done(caller: Caller) -> dict[str, Any]:
    return caller.of("response.done")[0]


async def test_speech_interrupts_the_answer_and_not_an_aside(node: RunningNode, script: Script):
    script.begin(STORY)
    async with calling(node.url) as caller:
        await caller.send("response.create", response={"conversation": "none", "metadata": {"topic": "story"}})
        await caller.until("response.output_audio.delta")
        await caller.hear(utterance("What is the capital of France?"))
        answered = (await caller.until("response.created"))["response"]
        assert answered["conversation_id"]
        assert not caller.of("response.done")
        assert await of_both_audio(caller) == 2
        for created in caller.of("response.created"):
            await caller.send("response.cancel", response_id=created["response"]["id"])
        await caller.until("response.done")
        await caller.until("response.done")
    check(caller.seen)


async def of_both_audio(caller: Caller) -> int:
    while len({event["response_id"] for event in caller.of("response.output_audio.delta")}) < 2:
        await caller.next()
    return 2


async def test_a_session_has_only_so_many_asides_at_a_time(node: RunningNode, script: Script):
    script.begin(STORY)
    async with calling(node.url) as caller:
        for number in range(MAX_ASIDES + 1):
            await caller.send("response.create", response={"conversation": "none", "metadata": {"topic": str(number)}})
        error = await is_refused_later(caller)
        assert error["code"] == "too_many_responses"
        for created in caller.of("response.created"):
            await caller.send("response.cancel", response_id=created["response"]["id"])
        while len(caller.of("response.done")) < MAX_ASIDES:
            await caller.next()
        script.begin("Here I am.")
        assert (await respond(caller, conversation="none"))["status"] == "completed"
    check(caller.seen)


async def test_asides_wait_for_spare_slots_and_leave_those_of_the_sessions_alone(script: Script):
    script.begin("One word after another.")
    with script.node(FakeDelays(llm_token_s=0.02)) as node:
        async with calling(node.url) as first, calling(node.url) as second:
            for number in range(3):
                for caller in (first, second):
                    response = {"conversation": "none", "output_modalities": ["text"], "metadata": {"n": str(number)}}
                    await caller.send("response.create", response=response)
            for caller in (first, second):
                while len(caller.of("response.done")) < 3:
                    await caller.next()
                assert {event["response"]["status"] for event in caller.of("response.done")} == {"completed"}
                check(caller.seen)


async def test_an_aside_that_fails_is_failed_and_the_next_one_is_not(node: RunningNode, script: Script):
    script.begin("Here I am.")
    async with calling(node.url) as caller:
        script.broken.add("llm")
        done = await respond(caller, conversation="none")
        assert (done["status"], done["status_details"]["error"]["code"]) == ("failed", "engine_failed")
        script.broken.clear()
        assert (await respond(caller, conversation="none"))["status"] == "completed"
        check(caller.seen)


async def test_a_client_that_leaves_takes_its_asides_along(script: Script):
    script.begin(STORY)
    with script.node(FakeDelays(llm_token_s=0.02)) as node:
        for _ in range(3):
            async with calling(node.url) as caller:
                await caller.send("response.create", response={"conversation": "none"})
                await caller.until("response.output_audio.delta")
                caller.socket.transport.abort()
        script.begin("Here I am.")
        async with calling(node.url) as caller:
            assert (await respond(caller, conversation="none"))["status"] == "completed"
        await _settled(node)
        assert node.node.engines.llm.free_slots == 8


async def _settled(node: RunningNode) -> None:
    async with asyncio.timeout(5):
        while node.admission.sessions:
            await asyncio.to_thread(time.sleep, 0.01)


# ── what is answered ──────────────────────────────────────────────────────────────────────────────────


def _text(text: str, role: str = "user") -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


@pytest.mark.parametrize("conversation", ["none", "auto"])
async def test_input_stands_in_the_place_of_the_conversation(node: RunningNode, script: Script, conversation: str):
    script.begin("Noted.")
    async with calling(node.url) as caller:
        await caller.update(output_modalities=["text"])
        first = (await write(caller, "My name is Ada."))["item"]
        await write(caller, "I like tea.")
        entries = [_text("Say it again.", "assistant"), {"type": "item_reference", "id": first["id"]}, _text("So?")]
        done = await respond(caller, conversation=conversation, input=entries)
        assert [(line.role, line.text) for line in script.shown()] == [
            ("assistant", "Say it again."),
            ("user", "My name is Ada."),
            ("user", "So?"),
        ]
        script.begin("Yes.")
        await respond(caller)
    in_conversation = [line.text for line in script.shown()]
    assert in_conversation == ["My name is Ada.", "I like tea.", *(["Noted."] if conversation == "auto" else [])]
    assert bool(done["conversation_id"]) is (conversation == "auto")
    check(caller.seen)


async def test_an_empty_input_is_answered_from_the_instructions_alone(node: RunningNode, script: Script):
    script.begin("Hello.")
    async with calling(node.url) as caller:
        await caller.update(output_modalities=["text"], instructions="Be brief.")
        await write(caller, "My name is Ada.")
        await respond(caller, conversation="none", input=[], instructions="Say hello.")
        await respond(caller, conversation="none", input=[])
    assert [[line.text for line in prompt.messages] for prompt in script.prompts] == [["Say hello."], ["Be brief."]]


async def test_an_aside_about_speech_waits_for_its_words(script: Script):
    script.begin("Noted.")
    with script.node(FakeDelays(stt_s=0.3)) as node:
        async with calling(node.url) as caller:
            await caller.update(audio={"input": {"turn_detection": None}}, output_modalities=["text"])
            await caller.hear(utterance("What is the capital of France?", pause_s=0.1))
            await caller.send("input_audio_buffer.commit")
            item = (await caller.until("conversation.item.done"))["item"]
            await respond(caller, conversation="none")
            await respond(caller, conversation="none", input=[{"type": "item_reference", "id": item["id"]}])
    assert [[line.text for line in script.shown(n)] for n in (0, 1)] == [["What is the capital of France?"]] * 2


@pytest.mark.parametrize("conversation", ["none", "auto"])
async def test_speech_in_the_input_is_transcribed(node: RunningNode, script: Script, conversation: str):
    script.begin("Noted.")
    audio = base64.b64encode(utterance("What is the capital of France?")).decode()
    spoken = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": audio}]}
    async with calling(node.url) as caller:
        done = await respond(caller, conversation=conversation, input=[spoken])
    assert done["status"] == "completed"
    assert [line.text for line in script.shown()] == ["What is the capital of France?"]


async def test_a_reference_to_nothing_is_refused_before_anything_begins(node: RunningNode, script: Script):
    script.begin("Noted.")
    async with calling(node.url) as caller:
        for conversation in ("none", "auto"):
            entries = [_text("So?"), {"type": "item_reference", "id": "item_of_nobody"}]
            await caller.send("response.create", response={"conversation": conversation, "input": entries})
            error = await is_refused(caller, "invalid_value")
            assert error["param"] == "response.input[1].id"
        assert (await respond(caller))["status"] == "completed"


@pytest.mark.models
async def test_real_models_make_an_aside_while_the_answer_is_spoken():
    ask = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What is two plus two?"}]}]
    with running_node(real.engines("standard"), max_sessions=1) as node:
        async with calling(node.url) as caller:
            await write(caller, "Tell me about Paris in three sentences.")
            await caller.send("response.create")
            await caller.until("response.output_audio.delta")
            metadata = {"topic": "sum"}
            params = {"conversation": "none", "input": ask, "output_modalities": ["text"], "metadata": metadata}
            await caller.send("response.create", response=params)
            aside = await done_of(caller, "sum")
            while len(caller.of("response.done")) < 2:
                await caller.next()
    check(caller.seen)
    assert {event["response"]["status"] for event in caller.of("response.done")} == {"completed"}
    assert any(four in aside["output"][0]["content"][0]["text"].lower() for four in ("4", "four"))
