"""The node around the conversations: handshake, limits, health, failures, the end."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.e2e.caller import calling
from tests.e2e.nodes import RunningNode, running_node
from tests.speech import utterance
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.fake_defects import FakeDelays


def get(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


async def gone(node: RunningNode) -> set[str]:
    """Names of the tasks of sessions, once there are no sessions any more."""
    async with asyncio.timeout(10):
        while node.admission.sessions:
            await asyncio.to_thread(time.sleep, 0.005)
    return {name for name in node.tasks() if name.startswith(("turn", "transcribe", "warm", "writer", "end of"))}


@pytest.fixture(scope="module")
def node():
    with running_node(fake_engines(slots=4), max_sessions=2) as node:
        yield node


async def test_health_readiness_and_models(node: RunningNode):
    assert (await asyncio.to_thread(get, f"{node.http}/healthz"))[0] == 200
    assert (await asyncio.to_thread(get, f"{node.http}/readyz"))[1]["status"] == "ready"
    models = (await asyncio.to_thread(get, f"{node.http}/v1/models"))[1]
    assert models["object"] == "list"
    assert models["data"][0]["object"] == "model"


async def test_the_browsers_key_is_never_named_in_the_answer(node: RunningNode):
    offered = ["realtime", "openai-insecure-api-key.secret"]
    async with connect(f"{node.url}?model=x", subprotocols=offered) as socket:
        assert socket.subprotocol == "realtime"


async def test_a_full_node_says_when_to_come_back(node: RunningNode):
    async with calling(node.url), calling(node.url):
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{node.url}?model=x")
    response = refused.value.response
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert json.loads(response.body)["error"]["message"]
    await gone(node)
    async with calling(node.url):
        pass


async def test_webrtc_is_refused_clearly(node: RunningNode):
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{node.url}?call_id=x")
    assert refused.value.response.status_code == 400


async def test_compression_is_declined(node: RunningNode):
    async with connect(f"{node.url}?model=x", compression="deflate") as socket:
        assert "Sec-WebSocket-Extensions" not in socket.response.headers


async def test_a_disconnect_in_the_middle_of_an_answer_leaves_no_task_and_no_slot():
    delays = FakeDelays(llm_token_s=0.02)
    with running_node(fake_engines(delays, answer="word " * 400, slots=1), max_sessions=1) as node:
        for _ in range(3):
            async with calling(node.url) as caller:
                await caller.hear(utterance("Tell me a story."))
                await caller.until("response.output_audio.delta")
                caller.socket.transport.abort()
            assert await gone(node) == set()


@pytest.mark.parametrize("stage", ["vad", "end_of_turn", "stt", "llm", "tts"])
async def test_an_engine_that_fails_ends_its_turn_and_not_the_session(stage: str):
    broken: set[Any] = set()
    with running_node(fake_engines(slots=2, fail_at=broken)) as node:
        async with calling(node.url) as caller, calling(node.url) as neighbour:
            broken.add(stage)
            await caller.hear(utterance("What is the capital of France?"))
            if stage == "vad":
                await caller.until("error")
                await caller.send("input_audio_buffer.clear")
                await caller.until("input_audio_buffer.cleared")  # it has gone through all of the audio, deaf
            else:
                done = (await caller.until("response.done"))["response"]
                assert done["status"] == ("completed" if stage == "end_of_turn" else "failed")
            broken.clear()
            for client in (caller, neighbour):
                await client.send("input_audio_buffer.clear")
                await client.until("input_audio_buffer.cleared")
                await client.hear(utterance("What is the capital of France?"))
                assert (await client.until("response.done"))["response"]["status"] == "completed"


async def test_a_node_that_stops_lets_the_answer_finish_and_closes_with_1001():
    with running_node(fake_engines(FakeDelays(llm_token_s=0.02), slots=2)) as node:
        async with calling(node.url) as caller:
            await caller.send("response.create")
            await caller.until("response.created")
            node.stop()
            assert (await caller.until("response.done"))["response"]["status"] == "completed"
            with pytest.raises(ConnectionClosed) as closed:
                await caller.until("no event of this name: the socket is closed first")
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
