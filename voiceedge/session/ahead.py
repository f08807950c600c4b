"""What makes an answer run ahead of who hears it, by so much and no more."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from voiceedge.engines import Piece
from voiceedge.errors import EngineFailed, VoiceEdgeError
from voiceedge.session.making import Part, Sound
from voiceedge.session.transcribing import Spawn

log = logging.getLogger(__name__)

AHEAD_S = 2.0
"""Sound that is made before anybody takes it: covers the making of the next clause, and is little to throw away."""
AHEAD_PARTS = 64
"""Parts that are made before anybody takes them: a written answer has no sound."""


class Ahead:
    """The parts of one answer: made in a task of their own, taken by whoever iterates, once."""

    def __init__(self, parts: AsyncGenerator[Part, None], rate_hz: int, spawn: Spawn, *, bounded: bool = True) -> None:
        self._bounded = bounded
        self._parts = parts
        self._rate_hz = rate_hz
        self._made: deque[Part] = deque()
        self._sound_s = 0.0
        self._is_over = False
        self._failure: VoiceEdgeError | None = None
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._task = spawn(self._make(), "make")

    @property
    def is_ready(self) -> bool:
        """Whether there is something to hear, or to read, that nobody has taken yet."""
        return self._sound_s > 0 or (bool(self._made) and all(isinstance(part, Piece) for part in self._made))

    async def __aiter__(self) -> AsyncIterator[Part]:
        """The parts, as they come about.

        Raises:
            NodeError: an engine failed; after the parts that were made before.
        """
        while True:
            while self._made:
                part = self._made.popleft()
                self._sound_s -= self._seconds(part)
                self._room.set()
                yield part
            if self._is_over:
                break
            self._changed.clear()
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure

    def abandon(self) -> None:
        """Stop making: the engines are free behind their step in flight. Idempotent."""
        self._task.cancel()

    async def stopped(self) -> None:
        """Wait until nothing more is made: until the engines are free, if it was abandoned."""
        await asyncio.wait([self._task])

    async def _make(self) -> None:
        try:
            async with aclosing(self._parts) as parts:
                async for part in parts:
                    self._made.append(part)
                    self._sound_s += self._seconds(part)
                    self._changed.set()
                    await self._wait_for_room()
        except VoiceEdgeError as error:
            self._failure = error
        except Exception:
            log.exception("An answer could not be made.")
            self._failure = EngineFailed("The answer could not be made.")
        finally:
            self._is_over = True
            self._changed.set()

    async def _wait_for_room(self) -> None:
        while self._bounded and (self._sound_s >= AHEAD_S or len(self._made) >= AHEAD_PARTS):
            self._room.clear()
            await self._room.wait()

    def _seconds(self, part: Part) -> float:
        return len(part.audio) / self._rate_hz if isinstance(part, Sound) else 0.0
