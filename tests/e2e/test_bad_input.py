"""Whatever a client sends: a clear error or none, and the session goes on."""

from __future__ import annotations

import base64
import json

import pytest

from tests.e2e.caller import Caller, calling
from tests.e2e.nodes import RunningNode, running_node
from tests.speech import utterance
from voiceedge.engines.fake import fake_engines


@pytest.fixture(scope="module")
def node():
    with running_node(fake_engines(slots=8)) as node:
        yield node


async def still_talks(caller: Caller) -> bool:
    await caller.send("response.create")
    return (await caller.until("response.done"))["response"]["status"] == "completed"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", "invalid_json"),
        ("[]", None),
        ("null", None),
        ('{"type": 7}', None),
        ('{"type": "no.such.event"}', "invalid_value"),
        ('{"event_id": "e"}', "missing_required_parameter"),
        (json.dumps({"type": "input_audio_buffer.append", "audio": "not base64!"}), "invalid_value"),
        (json.dumps({"type": "session.update", "session": {"output_modalities": ["smell"]}}), "invalid_value"),
        (json.dumps({"type": "conversation.item.delete", "item_id": "nobody"}), "item_delete_invalid_item_id"),
        (json.dumps({"type": "conversation.item.retrieve", "item_id": "nobody"}), "item_retrieve_invalid_item_id"),
        ('{"type": "response.create", "response": {"output_modalities": 3}}', "invalid_value"),
        ("[" * 100_000, None),
    ],
)
async def test_what_cannot_be_understood_is_said_and_the_session_goes_on(node: RunningNode, message: str, code: str):
    async with calling(node.url) as caller:
        await caller.socket.send(message)
        error = (await caller.until("error"))["error"]
        assert error["type"] == "invalid_request_error"
        assert error["message"]
        if code is not None:
            assert error["code"] == code
        assert await still_talks(caller)


async def test_a_binary_frame_is_read_like_a_text_frame(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.socket.send(b'{"type": "response.create"}')
        assert (await caller.until("response.done"))["response"]["status"] == "completed"


async def test_bytes_that_are_no_text_are_said(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.socket.send(b"\xff\xfe\x00")
        await caller.until("error")
        assert await still_talks(caller)


async def test_odd_byte_counts_are_carried_over(node: RunningNode):
    async with calling(node.url) as caller:
        speech = utterance("What is the capital of France?")
        for begin in range(0, len(speech), 961):
            chunk = base64.b64encode(speech[begin : begin + 961]).decode()
            await caller.send("input_audio_buffer.append", audio=chunk)
        assert (await caller.until("response.done"))["response"]["status"] == "completed"


async def test_unknown_names_of_models_and_voices_are_mapped_not_refused(node: RunningNode):
    async with calling(node.url) as caller:
        session = (
            await caller.update(
                model="gpt-realtime-2.1",
                tracing="auto",
                audio={
                    "input": {"transcription": {"model": "gpt-4o-mini-transcribe"}, "noise_reduction": None},
                    "output": {"voice": "marin"},
                },
                max_output_tokens="inf",
            )
        )["session"]
        assert session["audio"]["output"]["voice"] == "marin"
        assert await still_talks(caller)


async def test_a_client_that_never_reads_does_not_hold_the_others_up(node: RunningNode):
    async with calling(node.url, max_queue=1) as silent, calling(node.url) as caller:
        for _ in range(200):
            await silent.send("conversation.item.create", item={"type": "message", "role": "user", "content": "hm"})
        await silent.send("response.create")
        assert await still_talks(caller)
        silent.socket.transport.abort()
