"""What of a session's speech is listened to at a time, what waits, and how urgent it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from voiceedge.conversation.history import History
from voiceedge.engines import LISTENING_RATE_HZ, Segment
from voiceedge.errors import EngineFailed, InvalidRequest, Refused
from voiceedge.session.hear import KEPT_S
from voiceedge.session.outbox import Outbox
from voiceedge.session.transcribing import AT_ONCE, LATER_S, MOST_WAITING, Transcribing
from voiceedge.session.turn import Utterance
from voiceedge.trace import TurnTrace


class Ears:
    """A session's transcribing, whose engine gives a window's words when the test says so."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.now = 100.0
        self.deadlines: list[Any] = []
        """Of what the engine has been asked for, in that order."""
        self._windows: list[asyncio.Queue[Segment | Exception | None]] = []
        node: Any = SimpleNamespace(
            engines=SimpleNamespace(stt=None), compute=self, turn=nullcontext, clock=lambda: self.now
        )
        self.transcribing = Transcribing(
            node, History(), Outbox(), lambda work, name: tasks.create_task(work, name=name)
        )

    async def stream(self, _steps: Any, *, deadline: Any, trace: Any, name: str) -> AsyncIterator[Any]:
        """Stands for the scheduler."""
        self.deadlines.append(deadline)
        window: asyncio.Queue[Segment | Exception | None] = asyncio.Queue()
        self._windows.append(window)
        while (segment := await window.get()) is not None:
            if isinstance(segment, Exception):
                raise segment
            yield segment

    def say(self, seconds: float = 0.1) -> Utterance:
        """Somebody says something; it is listened to."""
        audio = np.zeros(round(seconds * LISTENING_RATE_HZ), np.float32)
        utterance = self.transcribing.hear("item", audio, TurnTrace(1, self.now, lambda: self.now))
        self.transcribing.listen(utterance)
        return utterance

    async def understand(self, number: int, *segments: Segment | Exception | None) -> None:
        """What the engine makes of the utterance that it was asked for as the `number`-th; None: that was all."""
        for segment in segments:
            self._windows[number].put_nowait(segment)
        await settled()


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def _listening() -> AsyncIterator[Ears]:
    async with asyncio.TaskGroup() as tasks:
        children: set[asyncio.Task[Any]] = set()
        create_task = tasks.create_task

        def create(*work: Any, **more: Any) -> asyncio.Task[Any]:
            children.add(task := create_task(*work, **more))
            return task

        tasks.create_task = create  # type: ignore[method-assign]
        yield Ears(tasks)
        for child in children:
            child.cancel()


async def test_two_utterances_of_a_session_are_listened_to_at_a_time():
    async with _listening() as ears:
        said = [ears.say() for _ in range(5)]
        await settled()
        assert len(ears.deadlines) == AT_ONCE
        await ears.understand(1, Segment("two"), None)
        assert said[1].words.result() == "two"
        assert len(ears.deadlines) == AT_ONCE + 1


@pytest.mark.parametrize("waits", [True, False])
async def test_a_draft_that_is_dropped_takes_nobodys_place(waits: bool):
    async with _listening() as ears:
        said = [ears.say() for _ in range(AT_ONCE + 2)]
        await settled()
        dropped = said[AT_ONCE if waits else 0]
        assert dropped.listening is not None
        dropped.listening.cancel()
        await settled()
        assert dropped.words.cancelled()
        await ears.understand(AT_ONCE - 1, None)
        assert [utterance.words.done() for utterance in said].count(True) == 2
        assert len(ears.deadlines) == len(said) - waits


async def test_who_has_just_spoken_is_due_at_once_and_what_had_to_wait_a_second_after_its_turn_has_come():
    async with _listening() as ears:
        said = [ears.say() for _ in range(AT_ONCE + 1)]
        await settled()
        ears.now = 107.0
        await ears.understand(0, None)
        assert [utterance.deadline() for utterance in said] == [100.0] * AT_ONCE + [107.0 + LATER_S]


async def test_the_next_window_of_a_long_recording_is_no_more_urgent_than_what_others_have_said_meanwhile():
    async with _listening() as ears:
        recording = ears.say(60.0)
        await settled()
        ears.now = 103.0
        await ears.understand(0, Segment("one"))
        assert recording.deadline() == 103.0
        await ears.understand(0, Segment("two"), None)
        assert recording.words.result() == "one two"


async def test_with_sixteen_that_wait_nothing_more_is_taken_until_the_words_of_one_are_known():
    async with _listening() as ears:
        for _ in range(MOST_WAITING - 1):
            ears.say()
        await ears.transcribing.room()
        ears.say()
        waiting = asyncio.create_task(ears.transcribing.room())
        await settled()
        assert not waiting.done()
        await ears.understand(0, None)
        assert waiting.done()


async def test_a_failure_makes_room_as_words_do():
    async with _listening() as ears:
        said = [ears.say() for _ in range(MOST_WAITING)]
        waiting = asyncio.create_task(ears.transcribing.room())
        await settled()
        await ears.understand(0, EngineFailed("It broke."))
        assert isinstance(said[0].words.exception(), EngineFailed)
        assert waiting.done()


async def test_no_more_waits_than_the_longest_turn():
    async with _listening() as ears:
        ears.say(KEPT_S - 10.0)
        await ears.transcribing.room(10.0)
        waiting = asyncio.create_task(ears.transcribing.room(10.1))
        await settled()
        assert not waiting.done()
        await ears.understand(0, None)
        assert waiting.done()
        with pytest.raises(Refused) as refused:
            await ears.transcribing.room(KEPT_S + 1.0, param="item.content")
        assert (refused.value.wire_code, refused.value.param) == ("too_much_audio", "item.content")


async def test_what_is_no_base64_is_refused():
    async with _listening() as ears:
        assert ears.transcribing.decode("/w==", "audio/pcmu").size == 2
        with pytest.raises(InvalidRequest):
            ears.transcribing.decode("!", "audio/pcmu")
