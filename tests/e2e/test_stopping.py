"""A node that is told to stop, whatever it is in the middle of."""

from __future__ import annotations

import pytest
from websockets.exceptions import ConnectionClosed

from tests.e2e.asking import QUESTION, asks, closed, is_answered
from tests.e2e.caller import Caller, calling
from tests.e2e.nodes import running_node
from tests.protocol.order import check
from tests.speech import say, silence
from voiceedge.audio.pcm import to_pcm16
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.fake_defects import FakeDelays

STORY = " ".join(f"This is sentence number {n}." for n in range(6))


async def listening(caller: Caller) -> int:
    await caller.send("input_audio_buffer.clear")
    await caller.until("input_audio_buffer.cleared")
    return 0


async def hearing(caller: Caller) -> int:
    await caller.hear(to_pcm16(say(QUESTION)))
    await caller.until("input_audio_buffer.speech_started")
    return 0


async def thinking(caller: Caller) -> int:
    await asks(caller)
    await caller.until("response.created")
    return 1


async def speaking(caller: Caller) -> int:
    await asks(caller)
    await caller.until("response.output_audio.delta")
    return 1


async def overlap(caller: Caller) -> int:
    await caller.update(audio={"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}})
    await speaking(caller)
    await caller.hear(to_pcm16(say(QUESTION)))
    await caller.until("input_audio_buffer.speech_started")
    return 1


async def queued(caller: Caller) -> int:
    await overlap(caller)
    await caller.hear(to_pcm16(silence(1.0)))
    await caller.until("input_audio_buffer.committed")
    return 2


@pytest.mark.parametrize("state", [listening, hearing, thinking, speaking, overlap, queued])
async def test_a_node_may_stop_in_every_state(state, caplog: pytest.LogCaptureFixture):
    delays = FakeDelays(llm_first_token_s=0.05, llm_token_s=0.005)
    with running_node(fake_engines(delays, answer=STORY, slots=2)) as node:
        async with calling(node.url) as caller, calling(node.url) as neighbour:
            await speaking(neighbour)
            answers = await state(caller)
            assert len(caller.of("response.done")) == 0
            node.stop()
            for client, count in ((caller, answers), (neighbour, 1)):
                for _ in range(count):
                    await is_answered(client)
                with pytest.raises(ConnectionClosed) as end:
                    await client.until("no event of this name: the socket is closed first")
                assert end.value.rcvd is not None
                assert end.value.rcvd.code == 1001
                check(client.seen)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_an_answer_that_takes_too_long_is_cut_when_the_node_stops(caplog: pytest.LogCaptureFixture):
    with running_node(fake_engines(FakeDelays(llm_token_s=0.01), answer="word " * 500), drain_s=0.05) as node:
        async with calling(node.url) as caller:
            await caller.update(output_modalities=["text"])
            await asks(caller)
            await caller.until("response.output_text.delta")
            node.stop()
            assert await closed(caller) == 1001
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
