"""What one response may be asked for, and turns that the client takes into its own hands, over a real socket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.e2e.caller import Caller, calling
from tests.e2e.nodes import RunningNode
from tests.e2e.script import STORY, WEATHER, Script, is_refused, respond, write
from tests.protocol.order import check
from tests.speech import utterance
from voiceedge.engines import Sampling
from voiceedge.engines.fake_defects import FakeDelays
from voiceedge.engines.fake_llm import FakeLlm

WORDS = "One two three four five six."
QUESTION = utterance("What is the capital of France?")
NO_REPLY = {"type": "server_vad", "create_response": False, "interrupt_response": False}


@pytest.fixture(scope="module")
def script() -> Script:
    return Script()


@pytest.fixture(scope="module")
def node(script: Script):
    with script.node() as node:
        yield node


@pytest.fixture
def samplings(node: RunningNode, monkeypatch: pytest.MonkeyPatch) -> list[Sampling]:
    """What the language model was asked to sample by."""
    seen: list[Sampling] = []
    llm = node.node.engines.llm
    assert isinstance(llm, FakeLlm)
    opened = llm.open

    def open_and_watch() -> Any:
        stream = opened()
        generate = stream.generate

        def watch(prompt: Any, sampling: Sampling) -> Any:
            seen.append(sampling)
            return generate(prompt, sampling)

        monkeypatch.setattr(stream, "generate", watch)
        return stream

    monkeypatch.setattr(llm, "open", open_and_watch)
    return seen


async def nothing_begins(caller: Caller, seconds: float = 0.4) -> None:
    """The client waits, and no response is made."""
    await asyncio.sleep(seconds)
    await caller.send("session.update", session={"type": "realtime"})
    await caller.until("session.updated")
    assert not caller.of("response.created")


# ── one response ──────────────────────────────────────────────────────────────────────────────────────


async def test_modality_and_metadata_hold_for_one_response(node: RunningNode, script: Script):
    script.begin(WORDS)
    async with calling(node.url) as caller:
        metadata = {"client_event_id": "e", "a" * 64: "b" * 512}
        written = await respond(caller, output_modalities=["text"], metadata=metadata)
        assert not caller.audio()
        assert written["output_modalities"] == ["text"]
        assert written["output"][0]["content"] == [{"type": "output_text", "text": WORDS}]
        assert written["metadata"] == caller.of("response.created")[0]["response"]["metadata"] == metadata
        spoken = await respond(caller)
        assert (spoken["output_modalities"], spoken["metadata"]) == (["audio"], None)
        assert caller.audio()
    check(caller.seen)


@pytest.mark.parametrize("kind", ["audio/pcmu", "audio/pcma"])
async def test_format_voice_and_speed_hold_for_one_response(node: RunningNode, script: Script, kind: str):
    script.begin(WORDS)
    async with calling(node.url) as caller:
        output = {"format": {"type": kind}, "voice": "marin", "speed": 1.5}
        quick = await respond(caller, audio={"output": output})
        assert len(caller.audio()) / 8_000 == pytest.approx(6 * 0.3 / 1.5, abs=0.05)
        assert quick["audio"]["output"] == {"format": {"type": kind}, "voice": "marin"}
        caller.seen.clear()
        usual = await respond(caller)
        assert len(caller.audio()) / 48_000 == pytest.approx(6 * 0.3, abs=0.05)
        assert usual["audio"]["output"] == {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "heart"}


async def test_length_and_temperature_hold_for_one_response(
    node: RunningNode, script: Script, samplings: list[Sampling]
):
    script.begin(WORDS)
    async with calling(node.url) as caller:
        await caller.update(output_modalities=["text"])
        short = await respond(caller, max_output_tokens=3, temperature=1.5)
        assert (short["status"], short["max_output_tokens"]) == ("incomplete", 3)
        assert short["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
        assert short["output"][0]["content"][0]["text"] == "One two three"
        assert short["output"][0]["status"] == "incomplete"
        assert (await respond(caller))["status"] == "completed"
    assert [sampling.temperature for sampling in samplings] == [1.5, node.node.sampling.temperature]
    check(caller.seen)


async def test_instructions_and_tools_hold_for_one_response(node: RunningNode, script: Script):
    script.begin(WORDS)
    async with calling(node.url) as caller:
        await caller.update(output_modalities=["text"], instructions="Be kind.", tools=[WEATHER])
        other = {**WEATHER, "name": "get_time"}
        await respond(caller, instructions="Be brief.", tools=[other], tool_choice="required")
        await respond(caller, tools=[])
        await respond(caller)
    assert [[tool.name for tool in prompt.tools] for prompt in script.prompts] == [["get_time"], [], ["get_weather"]]
    assert [prompt.tool_choice.mode for prompt in script.prompts] == ["required", "auto", "auto"]
    told = [[line.text for line in prompt.messages if line.role == "system"] for prompt in script.prompts]
    assert told == [["Be kind.", "Be brief."], ["Be kind."], ["Be kind."]]


@pytest.mark.parametrize(
    ("response", "param"),
    [
        ({"metadata": {"a": "b" * 513}}, "response.metadata"),
        ({"tool_choice": {"type": "function", "name": "nobody"}}, "response.tool_choice"),
        ({"tool_choice": "required"}, "response.tool_choice"),
        ({"max_output_tokens": "many"}, "response.max_output_tokens"),
        ({"tools": [{"type": "mcp", "server_label": "s", "server_url": "u"}]}, "response.tools[0].type"),
        ({"input": [{"type": "item_reference"}]}, "response.input[0].id"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_and_nothing_begins(
    node: RunningNode, script: Script, response: dict[str, Any], param: str
):
    script.begin(WORDS)
    async with calling(node.url) as caller:
        await caller.send("response.create", response=response, event_id="mine")
        event = await caller.next()
        assert (event["type"], event["error"]["param"], event["error"]["event_id"]) == ("error", param, "mine")
        assert (await respond(caller))["status"] == "completed"


async def test_the_beta_names_of_a_response_are_taken(node: RunningNode, script: Script):
    script.begin(WORDS)
    async with calling(node.url) as caller:
        done = await respond(caller, modalities=["text"], max_response_output_tokens=2)
    assert (done["output_modalities"], done["max_output_tokens"]) == (["text"], 2)


# ── turns in the client's hands ───────────────────────────────────────────────────────────────────────


async def test_without_create_response_a_turn_is_an_item_and_the_client_asks(node: RunningNode, script: Script):
    script.begin(WORDS)
    async with calling(node.url) as caller:
        await caller.update(audio={"input": {"turn_detection": NO_REPLY}})
        await caller.hear(QUESTION)
        item = (await caller.until("conversation.item.done"))["item"]
        assert caller.types()[-5:] == [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
        ]
        await nothing_begins(caller)
        assert (await respond(caller))["status"] == "completed"
        assert [line.text for line in script.shown()] == ["What is the capital of France?"]
        answer = caller.of("conversation.item.added")[-1]
        assert answer["previous_item_id"] == item["id"]


async def test_without_interrupt_response_the_answer_goes_on_and_the_turn_is_answered_behind_it(
    node: RunningNode, script: Script
):
    script.begin(WORDS)
    async with calling(node.url) as caller:
        detection = {"type": "server_vad", "interrupt_response": False}
        await caller.update(audio={"input": {"turn_detection": detection}})
        script.begin(STORY.partition("number 5")[0], WORDS)
        await caller.send("response.create")
        await caller.until("response.output_audio.delta")
        speaking = asyncio.create_task(caller.hear_in_real_time(QUESTION))
        await caller.until("input_audio_buffer.speech_started")
        first = (await caller.until("response.done"))["response"]
        second = (await caller.until("response.done"))["response"]
        path = {part["segment"]: part["ms"] for part in (await caller.until("voiceedge.turn"))["critical_path"]}
        await speaking
    assert (first["status"], second["status"]) == ("completed", "completed")
    assert path["queue"] > 10 * path["llm"], "it stood behind the first answer, the LLM has nothing to do with it"
    check(caller.seen)


async def test_with_both_off_speech_over_an_answer_is_only_kept(node: RunningNode, script: Script):
    script.begin(STORY.partition("number 5")[0])
    async with calling(node.url) as caller:
        await caller.update(audio={"input": {"turn_detection": NO_REPLY}})
        await caller.send("response.create")
        await caller.until("response.output_audio.delta")
        speaking = asyncio.create_task(caller.hear_in_real_time(QUESTION))
        await caller.until("conversation.item.done")
        done = caller.of("response.done") or [await caller.until("response.done")]
        await speaking
        caller.seen.clear()
        await nothing_begins(caller)
    assert done[0]["response"]["status"] == "completed"


async def test_a_commit_by_hand_while_the_user_speaks_closes_what_was_said(node: RunningNode, script: Script):
    script.begin(WORDS)
    async with calling(node.url) as caller:
        await caller.hear(QUESTION[: 2 * 24_000])
        started = await caller.until("input_audio_buffer.speech_started")
        await caller.send("input_audio_buffer.commit")
        committed = await caller.until("input_audio_buffer.committed")
        assert committed["item_id"] == started["item_id"]
        await caller.until("conversation.item.done")
        assert not caller.of("input_audio_buffer.speech_stopped")
        await nothing_begins(caller)
        await caller.send("input_audio_buffer.commit")
        await is_refused(caller, "input_audio_buffer_commit_empty")
        assert (await respond(caller))["status"] == "completed"
        # and what is said from then on is a turn of its own
        await caller.hear(QUESTION)
        again = await caller.until("input_audio_buffer.committed")
        assert again["item_id"] != started["item_id"]
        await caller.until("response.done")


async def test_push_to_talk_in_one_burst_as_pipecat_sends_it(node: RunningNode, script: Script):
    script.begin(STORY, WORDS)
    async with calling(node.url) as caller:
        await caller.update(audio={"input": {"turn_detection": None}})
        await caller.send("response.create")
        delta = await caller.until("response.output_audio.delta")
        await caller.send("input_audio_buffer.clear")
        await caller.hear(QUESTION)
        await caller.send("response.cancel")
        await caller.send("conversation.item.truncate", item_id=delta["item_id"], content_index=0, audio_end_ms=900)
        await caller.send("input_audio_buffer.commit")
        await caller.send("response.create")
        first = (await caller.until("response.done"))["response"]
        second = (await caller.until("response.done"))["response"]
    assert (first["status"], second["status"]) == ("cancelled", "completed")
    heard, asked = script.shown()
    assert heard.text in {"This is", "This is sentence"}  # 0.9 s of it, and 0.3 s a word
    assert asked.text == "What is the capital of France?"
    check(caller.seen)


async def test_a_response_asked_for_by_event_id_that_is_one_too_many_names_it(node: RunningNode, script: Script):
    script.begin(STORY)
    async with calling(node.url) as caller:
        await write(caller, "Tell me a story.")
        await caller.send("response.create")
        await caller.until("response.created")
        await caller.send("response.create", event_id="second")
        while not (errors := caller.of("error")):
            await caller.next()
        assert errors[0]["error"]["code"] == "conversation_already_has_active_response"
        assert errors[0]["error"]["event_id"] == "second"
        assert "response.create" in errors[0]["error"]["message"]
        await caller.send("response.cancel")
        await caller.until("response.done")


async def test_an_answer_that_nobody_knows_of_yet_gives_way_to_the_one_that_is_asked_for(script: Script):
    """While the words are made out no response.created is out: what the client asks for then is no second response."""
    script.begin(WORDS)
    with script.node(FakeDelays(stt_s=0.6)) as node:
        async with calling(node.url) as caller:
            await caller.hear(QUESTION)
            await caller.until("input_audio_buffer.speech_stopped")
            await write(caller, "In one word, please.")
            done = await respond(caller, metadata={"who": "the client"})
            assert done["metadata"] == {"who": "the client"}
            assert done["status"] == "completed"
            await asyncio.sleep(0.3)
            await caller.send("input_audio_buffer.clear")
            await caller.until("input_audio_buffer.cleared")
        assert len(caller.of("response.created")) == 1
        check(caller.seen)
    assert len(script.prompts) == 1
    assert sorted(line.text for line in script.shown()) == ["In one word, please.", "What is the capital of France?"]
