"""Who sends more than they may is made to wait by TCP, and nobody else is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from tests.e2e.caller import CHUNK_BYTES, PATIENCE_S, Caller, calling
from tests.e2e.nodes import RunningNode, running_node
from tests.e2e.test_perimeter import refusal
from tests.speech import silence, utterance
from voiceedge.audio.pcm import to_pcm16
from voiceedge.engines.fake import fake_engines
from voiceedge.protocol.client_events import MAX_AUDIO_BYTES
from voiceedge.server import frames, throttle
from voiceedge.session import listening

RATE_HZ = 24_000
SECOND = bytes(2 * RATE_HZ)
MANUAL = {"audio": {"input": {"turn_detection": None}}}


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with running_node(fake_engines(slots=4)) as node:
        yield node


@contextmanager
def strict_node(**settings: object) -> Iterator[RunningNode]:
    with running_node(fake_engines(slots=4), **settings) as node:
        yield node


def waited(node: RunningNode) -> dict[str, float]:
    """Seconds that clients had to wait, by what for."""
    kinds = {kind for kind, seconds in node.waits if seconds > 0}
    return {kind: sum(seconds for other, seconds in node.waits if other == kind) for kind in kinds}


async def taken(caller: Caller) -> None:
    """Wait until all that was sent has been taken."""
    await caller.send("input_audio_buffer.clear")
    await caller.until("input_audio_buffer.cleared")


async def eventually(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not what():  # noqa: ASYNC110 - a node of another thread
            await asyncio.sleep(0.01)


async def test_audio_is_taken_at_the_speed_that_the_node_allows():
    with strict_node(audio_speed=40, audio_ahead_s=1) as node:
        async with calling(node.url) as caller:
            await caller.update(**MANUAL)
            begun = asyncio.get_running_loop().time()
            await caller.hear(SECOND * 21)
            await taken(caller)
            passed = asyncio.get_running_loop().time() - begun
        assert passed >= 20 / 40 * 0.99
        assert waited(node)["audio"] >= 0.1  # the rest of the time went into hearing it


async def test_messages_are_taken_at_the_rate_that_the_node_allows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(throttle, "MESSAGES_AHEAD_S", 1.0)
    with strict_node(message_rate=200) as node:
        async with calling(node.url) as caller:
            begun = asyncio.get_running_loop().time()
            for _ in range(300):
                await caller.send("output_audio_buffer.clear")
            await taken(caller)
            passed = asyncio.get_running_loop().time() - begun
        assert passed >= 100 / 200 * 0.99
        assert set(waited(node)) == {"messages"}


async def test_pings_are_answered_at_the_rate_that_the_node_allows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(frames, "FRAMES_AHEAD", 100.0)
    monkeypatch.setattr(frames, "FRAMES_A_SECOND", 1000.0)
    with strict_node() as node:
        async with calling(node.url) as caller:
            begun = asyncio.get_running_loop().time()
            pongs = [await caller.socket.ping() for _ in range(500)]
            await asyncio.wait_for(pongs[-1], PATIENCE_S)
            passed = asyncio.get_running_loop().time() - begun
            await taken(caller)
        unpaid = 2 * frames.PIECE_BYTES / 10  # of the last pieces, of frames of 10 bytes
        assert passed >= (400 - unpaid) / 1000
        await eventually(lambda: "frames" in waited(node))


async def test_the_longest_append_that_is_legal_is_taken_at_once(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.update(**MANUAL)
        await caller.append(bytes(MAX_AUDIO_BYTES))
        await taken(caller)
    assert waited(node) == {}


async def test_who_talks_never_waits_nor_who_sends_a_recording(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.hear(utterance("What is the capital of France?"))
        assert (await caller.until("response.done"))["response"]["status"] == "completed"
        await caller.hear_in_real_time(SECOND)
        await taken(caller)
    assert waited(node) == {}


async def test_an_honest_client_talks_beside_one_that_has_to_wait():
    with strict_node(audio_speed=1, audio_ahead_s=10) as node:
        async with calling(node.url) as flood, calling(node.url) as caller:
            await flood.update(**MANUAL)
            await flood.append(SECOND * 60)
            await flood.append(SECOND)
            await caller.hear(utterance("What is the capital of France?"))
            assert (await caller.until("response.done"))["response"]["status"] == "completed"
            assert waited(node) == {}  # a wait is told of when it is over: the other one's is not
            flood.socket.transport.abort()


async def test_who_sends_more_than_anybody_would_wait_for_is_told_so_and_closed_with_1008():
    with strict_node(audio_speed=1, audio_ahead_s=1) as node:
        async with calling(node.url) as caller:
            await caller.update(**MANUAL)
            await caller.append(SECOND * 63)
            await caller.append(bytes(CHUNK_BYTES))
            error = (await caller.until("error"))["error"]
            assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
            with pytest.raises(ConnectionClosed) as closed:
                await caller.next()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, error["message"])
        await eventually(lambda: node.admission.sessions == 0)


@pytest.mark.parametrize("leave", ["says goodbye", "is cut off"])
async def test_a_client_that_leaves_while_it_has_to_wait_gives_its_place_back_at_once(leave: str):
    with strict_node(audio_speed=1, audio_ahead_s=1) as node:
        async with calling(node.url) as caller:
            await caller.update(**MANUAL)
            await caller.append(SECOND * 50)
            await taken(caller)
            await caller.append(bytes(CHUNK_BYTES))
            await asyncio.wait_for(await caller.socket.ping(), PATIENCE_S)  # it is there
            if leave == "says goodbye":
                await caller.socket.close()
            else:
                caller.socket.transport.abort()
            await eventually(lambda: node.admission.sessions == 0)
        assert 0 < waited(node)["audio"] < 5


async def test_a_client_that_leaves_much_behind_does_not_keep_its_place_until_all_of_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(throttle, "MESSAGES_AHEAD_S", 1.0)
    with strict_node(message_rate=10) as node:
        node.server.config.ws_ping_interval = node.server.config.ws_ping_timeout = 0.05
        async with calling(node.url) as caller:
            for _ in range(2000):  # two hundred seconds of them
                await caller.send("output_audio_buffer.clear")
            caller.socket.transport.abort()
            await eventually(lambda: node.admission.sessions == 0)


async def test_a_node_that_stops_does_not_wait_for_who_has_to_wait():
    with strict_node(audio_speed=1, audio_ahead_s=1) as node:
        async with calling(node.url) as caller:
            await caller.update(**MANUAL)
            await caller.append(SECOND * 50)
            await taken(caller)
            await caller.append(bytes(CHUNK_BYTES))
            await asyncio.wait_for(await caller.socket.ping(), PATIENCE_S)  # it is there
            node.stop()
            with pytest.raises(ConnectionClosed) as closed:
                await caller.next()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
            await eventually(lambda: node.admission.sessions == 0)


async def test_who_has_to_wait_in_the_middle_of_a_sentence_has_not_fallen_silent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listening, "SILENT_CLIENT_S", 0.3)
    words = (0.3 * np.sin(np.arange(3 * RATE_HZ) / 9)).astype(np.float32)
    with strict_node(audio_speed=4, audio_ahead_s=1) as node:
        async with calling(node.url) as caller:
            await caller.append(to_pcm16(np.concatenate([silence(0.5), words])))
            await caller.append(to_pcm16(np.concatenate([words, silence(1.5)])))
            turn = await caller.until("voiceedge.turn")
        assert waited(node)["audio"] > 0.3
        assert turn["turn"] == 1
        assert turn["facts"]["last_voiced_ms"] == pytest.approx(6500, abs=64)


async def test_audio_beyond_the_quota_is_not_heard_and_that_is_said_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(throttle, "SETTLE_S", 0.01)
    with strict_node(audio_seconds_an_hour=5) as node:
        async with calling(node.url) as caller:
            await caller.update(**MANUAL)
            await caller.append(SECOND * 6)
            while not caller.of("error"):  # it is found out a moment later
                await caller.append(bytes(CHUNK_BYTES))
                await caller.send("input_audio_buffer.clear")
                while (await caller.next())["type"] != "input_audio_buffer.cleared":
                    pass
            error = caller.of("error")[0]["error"]
            assert (error["type"], error["code"]) == ("rate_limit_error", "quota_exceeded")
            for _ in range(3):
                await caller.append(SECOND)
            await caller.send("input_audio_buffer.commit")
            assert (await caller.until("error"))["error"]["code"] == "input_audio_buffer_commit_empty"
            await caller.send("response.create")
            assert (await caller.until("response.done"))["response"]["status"] == "completed"
            assert len(caller.of("error")) == 2
        assert (await refusal(node))[:2] == (429, "quota_exceeded")


@pytest.mark.parametrize("quota", [{"messages_an_hour": 10}, {"bytes_an_hour": 1000}])
async def test_messages_beyond_the_quota_end_the_session(quota: dict[str, int], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(throttle, "SETTLE_S", 0.01)
    with strict_node(**quota) as node:
        async with calling(node.url) as caller:
            with pytest.raises(ConnectionClosed) as closed:
                await chatter(caller)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, "used up" in closed.value.rcvd.reason) == (1008, True)
            assert caller.of("error")[0]["error"]["code"] == "quota_exceeded"
        assert (await refusal(node))[:2] == (429, "quota_exceeded")


async def chatter(caller: Caller) -> None:
    """Send messages until the node has had enough."""
    while not caller.of("error"):
        await caller.send("input_audio_buffer.clear")
        await caller.next()
    await caller.next()
