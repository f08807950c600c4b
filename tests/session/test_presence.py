"""Who has to take part, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.session.machine.virtual import VirtualLoop
from tests.session.test_idle import Client
from voiceedge.errors import Expired
from voiceedge.session.bounds import DEFAULT
from voiceedge.session.presence import Presence


class Room:
    """Somebody watches a presence of ten seconds, while things happen."""

    def __init__(self, idle_s: float = 10.0) -> None:
        self.loop = VirtualLoop()
        self.is_busy = False
        self.presence = Presence(idle_s, self.loop.time, lambda: self.is_busy)

    def ends_at(self, *happens: tuple[float, str]) -> float:
        async def watch() -> None:
            for at, what in happens:
                self.loop.call_later(at, getattr(self, what))
            await self.presence.watch()

        try:
            with pytest.raises(Expired) as caught:
                self.loop.run_until_complete(watch())
            assert caught.value.wire_code == "session_expired"
            return self.loop.time()
        finally:
            self.loop.close()

    def message(self) -> None:
        self.presence.noticed()

    def begins(self) -> None:
        self.is_busy = True

    def ends(self) -> None:
        self.is_busy = False
        self.presence.noticed()


def test_a_session_in_which_nobody_takes_part_expires():
    assert Room().ends_at() == pytest.approx(10)


def test_every_sign_of_life_puts_that_off():
    assert Room().ends_at((4, "message"), (13, "message")) == pytest.approx(23)


def test_who_speaks_is_there_for_as_long_as_that_takes():
    assert Room().ends_at((4, "begins"), (34, "ends")) == pytest.approx(44)


def test_messages_other_than_audio_keep_a_session():
    async def says_now_and_then(_: Client) -> AsyncIterator[dict[str, Any]]:
        for _ in range(6):
            await asyncio.sleep(0.7 * DEFAULT.idle_s)
            yield {"type": "session.update", "session": {"type": "realtime"}}
        yield {"type": "response.create"}
        await asyncio.sleep(3)

    client = Client()
    client.run(says_now_and_then)
    assert [event["response"]["status"] for _, event in client.of("response.done")] == ["completed"]


def test_zero_is_for_ever():
    loop = VirtualLoop()
    try:
        loop.run_until_complete(Presence(0, loop.time, lambda: False).watch())
    finally:
        loop.close()


def test_a_clock_that_runs_behind_the_loop_makes_nobody_spin():
    loop = VirtualLoop()
    presence = Presence(10, lambda: loop.time() * 0.999, lambda: False)

    async def watch() -> None:
        with pytest.raises(Expired):
            await presence.watch()

    try:
        loop.run_until_complete(asyncio.wait_for(watch(), 20))
    finally:
        loop.close()
