"""Caddy in front of two nodes, as deploy/Caddyfile has it."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.e2e.processes import FAKE, SLOW, node
from tests.e2e.proxies import caddy
from tests.e2e.test_haproxy import ONE_AN_ADDRESS, ask, assert_addresses_are_told_apart, overloaded, sessions, through
from tests.e2e.test_signals import STORY_BYTES, close_code, speaking

pytestmark = pytest.mark.proxies

NOTICED_S = 10.0
"""The health check asks every second."""


async def test_a_node_that_drains_finishes_its_answer_and_the_other_one_takes_what_comes_then(tmp_path: Path):
    async with (
        node(*FAKE, module=SLOW) as a,
        node(*FAKE, module=SLOW) as b,
        caddy(tmp_path, a, b) as proxy,
        through(proxy) as caller,
    ):
        await speaking(caller)
        stopping, other = (a, b) if await sessions(a) else (b, a)
        stopping.send(signal.SIGTERM)
        done = await caller.until("response.done")
        assert done["response"]["status"] == "completed"
        assert len(caller.audio()) == STORY_BYTES
        assert await close_code(caller) == 1001
        assert await stopping.ended() == 0
        async with through(proxy), through(proxy):
            assert await sessions(other) == 2


async def test_refusals_are_passed_on_with_what_they_say(tmp_path: Path):
    flags = (*FAKE, "--max-sessions", "1")
    async with (
        node(*flags) as a,
        node(*flags) as b,
        caddy(tmp_path, a, b) as proxy,
        through(proxy),
        through(proxy),
    ):
        assert [await sessions(a), await sessions(b)] == [1, 1]
        assert await overloaded(proxy) == "All 1 sessions of this node are taken."
        for gone in (b, a):
            gone.send(signal.SIGKILL)
            await gone.ended()
        assert await overloaded(proxy) == "No node can be reached."


async def test_clients_are_told_apart_and_cannot_make_up_an_address(tmp_path: Path):
    async with (
        node(*FAKE, *ONE_AN_ADDRESS) as a,
        node(*FAKE, *ONE_AN_ADDRESS) as b,
        caddy(tmp_path, a, b) as proxy,
    ):
        await assert_addresses_are_told_apart(proxy)


async def test_what_is_the_operators_is_not_shown_through_it_and_pages_keep_their_headers(tmp_path: Path):
    async with node(*FAKE) as a, node(*FAKE) as b, caddy(tmp_path, a, b) as proxy:
        async with asyncio.timeout(NOTICED_S):
            assert (await ask(proxy, "/metrics"))[0] == 403
            status, headers = await ask(proxy, "/")
        assert status == 200
        assert headers["strict-transport-security"] == "max-age=31536000"
        assert "microphone=(self)" in headers["permissions-policy"]
        assert "server" not in headers
