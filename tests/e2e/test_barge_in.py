"""What happens when the user speaks over the answer (realtime-protocol.md, section 6.2)."""

from __future__ import annotations

import asyncio
import threading
from random import Random

import pytest

from tests.e2e.caller import Caller, calling
from tests.e2e.nodes import RunningNode, running_node
from tests.speech import utterance
from voiceedge.engines import Prompt
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.fake_defects import FakeDelays
from voiceedge.trace import now

LONG_ANSWER = " ".join(f"This is sentence number {n} of a long answer." for n in range(40))
prompts: list[Prompt] = []


def _answer(prompt: Prompt) -> str:
    prompts.append(prompt)
    return LONG_ANSWER


@pytest.fixture(scope="module")
def node():
    with running_node(fake_engines(text="Tell me a story.", answer=_answer, slots=8)) as node:
        yield node


@pytest.fixture
async def interrupted(node: RunningNode):
    """A caller whose long answer has begun and is then talked over; read up to the dead response's end."""
    prompts.clear()
    async with calling(node.url) as caller:
        await caller.hear(utterance("Tell me a story."))
        await caller.until("response.output_audio.delta")
        speaking = asyncio.create_task(caller.hear_in_real_time(utterance("No, wait, stop.", pause_s=1.0)))
        await caller.until("input_audio_buffer.speech_started")
        await caller.until("response.done")
        yield caller
        await speaking


async def test_the_dead_response_is_closed_in_order(interrupted: Caller):
    kinds = interrupted.types()
    start = len(kinds) - 1 - kinds[::-1].index("input_audio_buffer.speech_started")
    assert kinds[start:] == [
        "input_audio_buffer.speech_started",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    response = interrupted.seen[-1]["response"]
    assert response["status"] == "cancelled"
    assert response["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert response["output"][0]["status"] == "incomplete"


async def test_no_audio_of_the_dead_response_follows(interrupted: Caller):
    dead = interrupted.seen[-1]["response"]["id"]
    await interrupted.until("response.output_audio.delta")
    done = next(i for i, event in enumerate(interrupted.seen) if event["type"] == "response.done")
    later = [event for event in interrupted.seen[done + 1 :] if event.get("response_id") == dead]
    assert [event["type"] for event in later] == ["voiceedge.turn"]


async def test_at_whatever_moment_the_user_speaks_no_audio_follows_speech_started():
    delays = FakeDelays(llm_first_token_s=0.02, llm_token_s=0.002, tts_s=0.02)
    moments = Random(0)
    with running_node(fake_engines(delays, text="Tell me a story.", answer=LONG_ANSWER)) as node:
        async with calling(node.url) as caller:
            for _ in range(8):
                await caller.hear(utterance("Tell me a story.", pause_s=1.0))
                await caller.until("response.created")
                await asyncio.sleep(moments.uniform(0.0, 0.2))
                await caller.hear(utterance("No, wait, stop.", pause_s=0.0))
                response = (await caller.until("response.done"))["response"]
                assert response["status_details"]["reason"] == "turn_detected"
                started = max(n for n, event in enumerate(caller.seen) if event["type"].endswith("speech_started"))
                later = [event["type"] for event in caller.seen[started:] if "delta" in event["type"]]
                assert later == []
                await caller.send("input_audio_buffer.clear")
            await caller.until("voiceedge.turn")
            deltas = [event["response_id"] for event in caller.of("response.output_audio.delta")]
            dead = [event["response"]["id"] for event in caller.of("response.done")]
            assert set(deltas) & set(dead), "no answer had begun to sound"


async def test_the_trace_says_how_long_it_took_to_notice_and_to_stop(interrupted: Caller):
    facts = (await interrupted.until("voiceedge.turn"))["facts"]
    assert facts["barge_in_evidence_ms"] > 150  # six frames of voice, heard in real time
    assert facts["barge_in_stop_ms"] >= 0
    assert facts["longest_tts_ms"] >= 0


async def test_an_interrupted_turn_is_reported_when_the_engines_are_free():
    speaks, free = threading.Event(), threading.Event()

    def hold(_: float) -> None:
        speaks.set()
        free.wait(10)

    with running_node(fake_engines(FakeDelays(tts_s=0.01), text="Hello.", sleep=hold), draft_after_ms=0) as node:
        async with calling(node.url) as caller:
            await caller.hear(utterance("Tell me a story."))
            await asyncio.to_thread(speaks.wait, 10)
            await caller.hear(utterance("No, wait, stop.", pause_s=0.0))
            await caller.until("response.done")
            told = now()
            await caller.send("input_audio_buffer.clear")
            await caller.until("input_audio_buffer.cleared")
            assert caller.of("voiceedge.turn") == []
            held_s = now() - told
            free.set()
            facts = (await caller.until("voiceedge.turn"))["facts"]
            assert facts["barge_in_stop_ms"] >= round(1000 * held_s, 1)


async def test_the_history_holds_only_what_was_heard(interrupted: Caller):
    item_id = interrupted.seen[-1]["response"]["output"][0]["id"]
    await interrupted.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=5000)
    truncated = await interrupted.until("conversation.item.truncated")
    assert truncated["audio_end_ms"] == 5000
    await interrupted.until("response.output_audio.delta")
    heard = next(message for message in prompts[1].messages if message.role == "assistant")
    # the fake voice needs 0.3 s a word: 16 whole words in 5 s, of the sentence that was cut to the last whole one
    assert LONG_ANSWER.startswith(heard.text)
    assert 14 <= len(heard.text.split()) <= 17
    assert len(heard.tokens) == len(heard.text.split())
    await interrupted.send("conversation.item.retrieve", item_id=item_id)
    item = (await interrupted.until("conversation.item.retrieved"))["item"]
    assert item["content"] == [{"type": "output_audio", "transcript": heard.text}]


async def test_without_a_truncate_the_nodes_own_playout_clock_decides(interrupted: Caller):
    await interrupted.until("response.output_audio.delta")
    heard = [message for message in prompts[1].messages if message.role == "assistant"]
    # the user spoke as soon as the first audio had come: hardly anything can have been heard
    assert not heard or len(heard[0].text.split()) < 6


async def test_truncating_twice_late_or_too_far_is_no_error(interrupted: Caller):
    item_id = interrupted.seen[-1]["response"]["output"][0]["id"]
    for audio_end_ms in (2000, 2000, 10**9):
        await interrupted.send(
            "conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=audio_end_ms
        )
        await interrupted.until("conversation.item.truncated")


async def test_a_client_may_cancel_by_itself(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.hear(utterance("Tell me a story."))
        await caller.until("response.output_audio.delta")
        await caller.send("response.cancel")
        done = (await caller.until("response.done"))["response"]
        assert done["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
        await caller.send("response.create")
        assert (await caller.until("response.created"))["response"]["id"] != done["id"]


async def test_an_answer_that_may_not_be_interrupted_goes_on(node: RunningNode):
    async with calling(node.url) as caller:
        detection = {"type": "server_vad", "interrupt_response": False}
        await caller.update(audio={"input": {"turn_detection": detection}})
        await caller.hear(utterance("Tell me a story."))
        await caller.until("response.output_audio.delta")
        await caller.hear(utterance("No, wait, stop."))
        await caller.until("input_audio_buffer.speech_started")
        await caller.until("input_audio_buffer.committed")
        await caller.send("response.cancel")
        assert (await caller.until("response.done"))["response"]["status"] == "cancelled"
        # the turn that had to wait is answered now
        await caller.until("response.created")
