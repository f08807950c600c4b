"""A turn over a real socket, event by event (realtime-protocol.md, section 6)."""

from __future__ import annotations

import pytest

from tests.e2e.caller import calling
from tests.e2e.nodes import RunningNode, running_node
from tests.protocol.order import check
from tests.speech import utterance
from voiceedge.audio.pcm import from_pcm16, level_dbfs
from voiceedge.engines.fake import fake_engines

QUESTION = "What is the capital of France?"
ANSWER = "Paris is the capital of France. It lies on the Seine."


@pytest.fixture(scope="module")
def node():
    with running_node(fake_engines(text=QUESTION, answer=ANSWER, slots=8)) as node:
        yield node


async def test_a_speech_turn_has_the_order_that_clients_rely_on(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
        caller.seen.clear()
        await caller.hear(utterance(QUESTION))
        await caller.until("voiceedge.turn")
    assert caller.types() == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.delta",
        "conversation.item.input_audio_transcription.completed",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "rate_limits.updated",
        "voiceedge.turn",
    ]
    check(caller.seen)


async def test_ids_and_words_of_a_speech_turn_belong_together(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
        await caller.hear(utterance(QUESTION))
        done = await caller.until("response.done")
    started, committed = (
        caller.of(f"input_audio_buffer.{kind}")[0]["item_id"] for kind in ("speech_started", "committed")
    )
    added = caller.of("conversation.item.added")
    assert started == committed == added[0]["item"]["id"] == added[1]["previous_item_id"]
    assert caller.of("conversation.item.input_audio_transcription.completed")[0]["transcript"] == QUESTION
    assert done["response"]["status"] == "completed"
    assert done["response"]["output"][0]["content"][0]["transcript"] == ANSWER
    usage = done["response"]["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0
    assert level_dbfs(from_pcm16(caller.audio())) > -30


async def test_without_transcription_asked_for_none_is_sent(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.hear(utterance(QUESTION))
        await caller.until("response.done")
    assert not [kind for kind in caller.types() if "transcription" in kind and "input_audio" in kind]


async def test_a_client_that_stops_sending_still_gets_its_answer(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.hear(utterance(QUESTION, pause_s=0.0))
        done = await caller.until("response.done")
    assert done["response"]["status"] == "completed"


async def test_push_to_talk(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.update(audio={"input": {"turn_detection": None}})
        caller.seen.clear()
        await caller.hear(utterance(QUESTION, pause_s=0.0))
        await caller.send("input_audio_buffer.commit")
        await caller.until("conversation.item.done")
        await caller.send("response.create")
        done = await caller.until("response.done")
    assert caller.types()[:4] == [
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "response.created",
    ]
    assert done["response"]["status"] == "completed"


async def test_a_commit_of_nothing_is_refused_with_the_code_that_clients_know(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.update(audio={"input": {"turn_detection": None}})
        await caller.send("input_audio_buffer.commit", event_id="mine")
        error = (await caller.until("error"))["error"]
    assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "mine")


async def test_text_in_text_out_needs_no_voice(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.update(output_modalities=["text"])
        caller.seen.clear()
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": QUESTION}]}
        await caller.send("conversation.item.create", item=item)
        await caller.send("response.create")
        done = await caller.until("response.done")
    assert "".join(event["delta"] for event in caller.of("response.output_text.delta")) == ANSWER
    assert done["response"]["output"][0]["content"] == [{"type": "output_text", "text": ANSWER}]
    assert not caller.audio()


async def test_a_greeting_needs_no_user(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.send("response.create", response={"instructions": "Greet the caller."})
        done = await caller.until("response.done")
    assert done["response"]["status"] == "completed"
    assert caller.audio()


async def test_metadata_is_echoed_in_both_terminals(node: RunningNode):
    metadata = {"client_event_id": "x1"}
    async with calling(node.url) as caller:
        await caller.send("response.create", response={"metadata": metadata})
        await caller.until("response.done")
    kinds = ("response.created", "response.done")
    assert [caller.of(kind)[0]["response"]["metadata"] for kind in kinds] == [metadata, metadata]


async def test_the_second_request_has_to_wait(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.send("response.create")
        await caller.send("response.create", event_id="second")
        error = (await caller.until("error"))["error"]
        await caller.until("response.done")
    assert error["code"] == "conversation_already_has_active_response"
    assert error["event_id"] == "second"


async def test_cancel_with_nothing_running_has_the_text_and_code_that_clients_know(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.send("response.cancel")
        error = (await caller.until("error"))["error"]
    assert error["code"] == "response_cancel_not_active"
    assert error["message"].startswith("Cancellation failed")


async def test_turns_that_the_client_answers_itself(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.update(audio={"input": {"turn_detection": {"type": "server_vad", "create_response": False}}})
        await caller.hear(utterance(QUESTION))
        await caller.until("input_audio_buffer.committed")
        await caller.send("response.create")
        await caller.until("response.done")
    assert len(caller.of("response.created")) == 1


async def test_a_second_turn_prefills_only_what_is_new(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.update(output_modalities=["text"])  # nothing to play, so nothing to talk over
        await caller.hear(utterance(QUESTION))
        first = await caller.until("voiceedge.turn")
        await caller.hear(utterance(QUESTION))
        second = await caller.until("voiceedge.turn")
    before = first["facts"]["prefill_tokens"] + first["facts"]["cached_tokens"]
    assert second["facts"]["cached_tokens"] == before + len(ANSWER.split())
    assert second["facts"]["prefill_tokens"] < before
