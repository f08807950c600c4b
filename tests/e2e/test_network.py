"""The way to the user is measured by the node as well, and both sides count from the same sample."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from tests.e2e.caller import Caller, calling
from tests.e2e.nodes import RunningNode, running_node
from tests.speech import silence
from voiceedge.audio.pcm import to_pcm16
from voiceedge.bench.proxy import far_away
from voiceedge.engines.fake import fake_engines

RATE_HZ = 24_000


@pytest.fixture(scope="module")
def node():
    with running_node(fake_engines(slots=4)) as node:
        yield node


def words(seconds: float) -> np.ndarray:
    return (0.3 * np.sin(np.arange(round(seconds * RATE_HZ)) / 9)).astype(np.float32)


async def asked(caller: Caller, before_s: float, spoken_s: float) -> dict[str, float]:
    """Say something behind some quiet; the facts of the turn."""
    await caller.hear(to_pcm16(np.concatenate([silence(before_s), words(spoken_s), silence(1.5)])))
    turn = await caller.until("voiceedge.turn")
    facts: dict[str, float] = turn["facts"]
    return facts


async def test_a_turn_knows_the_way_to_its_user(node: RunningNode):
    async with far_away("127.0.0.1", node.port, 0.06) as near, calling(node.url, sock=near) as caller:
        await asyncio.wait_for(await caller.socket.ping(), 10)  # the node's own ping, sent before, is back by then
        facts = await asked(caller, 0.5, 0.8)
    assert 60.0 <= facts["round_trip_ms"] < 1000.0


async def test_a_turn_that_was_typed_knows_it_as_well(node: RunningNode):
    async with calling(node.url) as caller:
        await asyncio.wait_for(await caller.socket.ping(), 10)
        await caller.send("response.create")
        turn = await caller.until("voiceedge.turn")
    assert 0.0 < turn["facts"]["round_trip_ms"] < 1000.0


async def test_the_last_voiced_sample_is_told_in_the_media_time_of_the_client(node: RunningNode):
    async with calling(node.url) as caller:
        first = await asked(caller, 0.64, 0.96)
        second = await asked(caller, 0.32, 0.64)
    assert first["last_voiced_ms"] == pytest.approx(1600.0, abs=32.0)  # a frame of voice activity
    assert second["last_voiced_ms"] == pytest.approx(3100.0 + 960.0, abs=32.0)
