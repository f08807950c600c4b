"""Limits that several nodes share, against a real Redis, one that is not there and one that never answers."""

import asyncio
import logging

import pytest
from redis.asyncio import Redis

from tests.redis_server import PROGRAM, free_port, needs_redis, running_redis
from voiceedge.server.shared_counts import AWAY_S, STORE_S, SharedCounts
from voiceedge.server.windows import HOUR_S
from voiceedge.trace import now

NAME = "audio_seconds/tenant/shop"


def client(node):
    return Redis(connection_pool=node._connections)


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    if PROGRAM is None:
        pytest.skip("there is no redis-server: scripts/neighbour redis-server finds or installs it")
    with running_redis(tmp_path_factory.mktemp("redis")) as redis:
        yield redis


@pytest.fixture
async def nodes(redis):
    """Two nodes with one store."""
    nodes = SharedCounts(redis.store), SharedCounts(redis.store)
    yield nodes
    await client(nodes[0]).flushdb()
    for node in nodes:
        await node.close()


@needs_redis
async def test_two_nodes_share_one_limit(nodes):
    one, other = nodes
    assert await one.take(NAME, 100, 60) == 0
    assert await other.take(NAME, 100, 40) == 0
    for node in nodes:
        assert 0 < await node.take(NAME, 100, 0.5) <= 2 * HOUR_S
    assert await other.take("audio_seconds/tenant/bank", 100, 100) == 0


@needs_redis
async def test_many_at_once_never_get_more_than_there_is(nodes):
    waits = await asyncio.gather(*(nodes[number % 2].take(NAME, 30, 1) for number in range(60)))
    assert waits.count(0) == 30


@needs_redis
async def test_fractions_count(nodes):
    one, other = nodes
    for _ in range(10):
        assert await one.take(NAME, 1, 0.05) == await other.take(NAME, 1, 0.05) == 0
    assert await one.take(NAME, 1, 0.001) > 0


@needs_redis
async def test_of_what_was_used_already_the_rest_is_counted_where_not_all_is_left(nodes):
    one, other = nodes
    assert await one.take(NAME, 100, 60) == 0
    assert await one.take(NAME, 100, 300, drains=True) > 0
    assert (await other._use(NAME)).counted == 100
    assert await other.wait_s(NAME, 100, 1) > HOUR_S / 2


@needs_redis
async def test_a_narrower_limit_judges_the_same_use(nodes):
    one, other = nodes
    assert await one.take(NAME, 100, 50) == 0
    assert await other.take(NAME, 50, 1) > 0
    assert await other.take(NAME, 100, 50) == 0


@needs_redis
async def test_to_look_is_not_to_take(nodes):
    one, other = nodes
    for _ in range(3):
        assert await one.wait_s(NAME, 100, 100) == 0
    assert await other.take(NAME, 100, 100) == 0
    assert await one.wait_s(NAME, 100, 1) > 0


@needs_redis
async def test_what_is_forgotten_after_two_hours_stays_no_longer(nodes):
    one, _ = nodes
    await one.take(NAME, 100, 60)
    keys = await client(one).keys("*")
    assert keys
    for key in keys:
        assert 0 < await client(one).ttl(key) <= 2 * HOUR_S


@needs_redis
async def test_a_node_whose_redis_goes_away_counts_on_by_itself_and_comes_back(tmp_path, caplog):
    at = 0.0
    port = free_port()
    with running_redis(tmp_path, port) as redis:
        node = SharedCounts(redis.store, lambda: at)
        assert await node.take(NAME, 100, 60) == 0
        assert not node.is_away
    assert await node.take(NAME, 100, 40) == 0
    assert node.is_away
    assert await node.take(NAME, 100, 1) > 0
    with running_redis(tmp_path, port):
        assert await node.take(NAME, 100, 1) > 0
        at += AWAY_S
        assert await node.take(NAME, 100, 1) == 0  # an empty one: what it knew is gone with it
        assert not node.is_away
        await node.close()
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        "The store of limits does not answer",
        "The store of limits answers again.",
    ]


async def test_a_redis_that_is_not_there_costs_the_limit_of_this_node_and_no_more(caplog):
    store = f"redis://:a-password@127.0.0.1:{free_port()}/0"
    node = SharedCounts(store)
    assert await node.take(NAME, 100, 100) == 0
    assert await node.take(NAME, 100, 1) > 0
    await node.close()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "password" not in caplog.text


@needs_redis
async def test_a_redis_that_never_answers_holds_up_one_asker_for_a_moment_and_nobody_else(redis, monkeypatch):
    at = 0.0
    node = SharedCounts(redis.store, lambda: at)
    with redis.frozen():
        begun = now()
        assert await node.take(NAME, 1000, 1) == 0
        assert STORE_S * 0.9 < now() - begun < 10 * STORE_S
        begun = now()
        for _ in range(200):
            assert await node.take(NAME, 1000, 1) == 0
        assert now() - begun < STORE_S
        at += AWAY_S
        asked, ask = [], node._take

        def asking(*question, **more):
            asked.append(question)
            return ask(*question, **more)

        monkeypatch.setattr(node, "_take", asking)
        assert set(await asyncio.gather(*(node.take(NAME, 1000, 1) for _ in range(50)))) == {0.0}
        assert len(asked) == 1
        assert await node.take(NAME, 251, 1) > 0
    at += AWAY_S
    assert await node.take("messages/tenant/bank", 1000, 1) == 0
    assert not node.is_away
    await node.close()
