"""The clock of the wall steps by an hour, as NTP, a resumed machine or an operator makes it do, in mid-session.

What is measured is measured on the monotonic clock. Epoch seconds are for what is shown to others, and for the expiry
of tokens at the door: there the wall clock is the promise.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.e2e.caller import calling
from tests.e2e.nodes import running_node
from tests.speech import utterance
from voiceedge import trace
from voiceedge.engines.fake import fake_engines
from voiceedge.trace import TurnTrace, now

HOUR_S = 3600
QUESTION = "What is the capital of France?"


class Wall:
    """The module `time` with a wall clock that steps."""

    perf_counter = staticmethod(time.perf_counter)
    process_time = staticmethod(time.process_time)

    def __init__(self) -> None:
        self.ahead_s = 0

    def time(self) -> float:
        return time.time() + self.ahead_s


@pytest.fixture
def wall(monkeypatch):
    one = Wall()
    monkeypatch.setattr(trace, "time", one)
    return one


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
async def test_a_session_goes_on_and_its_turns_are_timed_as_before(wall: Wall, step_s: int):
    with running_node(fake_engines(text=QUESTION)) as node:
        async with calling(node.url) as caller:
            await caller.hear(utterance(QUESTION))
            await caller.until("response.created")
            wall.ahead_s = step_s  # in the middle of a turn
            assert (await caller.until("response.done"))["response"]["status"] == "completed"
            await caller.hear(utterance(QUESTION))
            assert (await caller.until("response.done"))["response"]["status"] == "completed"
    for turn in node.turns:
        assert turn.total_ms is not None
        assert 0 <= turn.total_ms < 20_000
        assert sum(part.ms for part in turn.critical_path) == pytest.approx(turn.total_ms, abs=0.1)


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
async def test_a_session_is_as_long_as_it_was_to_be(wall: Wall, step_s: int):
    with running_node(fake_engines(), session_s=2) as node:
        async with asyncio.timeout(30), calling(node.url) as caller:
            begun = time.monotonic()
            wall.ahead_s = step_s
            error = (await caller.until("error"))["error"]
            with pytest.raises(ConnectionClosed) as closed:
                await caller.until("no event of this name: the socket is closed first")
    assert error["code"] == "session_expired"
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001
    assert time.monotonic() - begun > 0.5


def test_where_a_turn_began_is_told_by_the_clock_that_holds_when_it_is_over(wall: Wall):
    turn = TurnTrace(1, now())
    before = turn.zero_at()
    wall.ahead_s = HOUR_S
    assert turn.zero_at() - before == pytest.approx(HOUR_S, abs=1)


def client_secret(http: str) -> str:
    body = json.dumps({"expires_after": {"anchor": "created_at", "seconds": 600}}).encode()
    request = urllib.request.Request(f"{http}/v1/realtime/client_secrets", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        value: str = json.load(answer)["value"]
    return value


async def test_a_client_secret_is_good_by_the_wall_clock_and_a_session_that_it_opened_goes_on(wall: Wall):
    with running_node(fake_engines()) as node:
        secret = await asyncio.to_thread(client_secret, node.http)
        headers = {"Authorization": f"Bearer {secret}"}
        async with calling(node.url, additional_headers=headers) as caller:
            wall.ahead_s = HOUR_S
            with pytest.raises(InvalidStatus) as refused:
                async with calling(node.url, additional_headers=headers):
                    pass
            assert refused.value.response.status_code == 401
            await caller.hear(utterance(QUESTION))
            assert (await caller.until("response.done"))["response"]["status"] == "completed"
            wall.ahead_s = 0  # stepped back: it is good again, for as long as it was made for
            async with calling(node.url, additional_headers=headers):
                pass
