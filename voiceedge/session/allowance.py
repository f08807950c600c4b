"""What one client may send, as its session asks for it; the server decides (`server/throttle`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from voiceedge.audio.codec import codec
from voiceedge.errors import Flood, LimitReached


class Allowance(Protocol):
    """What a client may still send. Where it waits, nothing more is read from the client: TCP makes it wait."""

    async def message(self, size_bytes: int) -> None:
        """A message has come, and its session has not seen it yet. May wait.

        Raises:
            LimitReached: there is no more; the socket is closed with 1008.
            Flood: no wait that a client would sit out is long enough.
        """
        ...

    async def audio(self, seconds: float) -> None:
        """So much audio has come, and has not been heard yet. May wait.

        Raises:
            LimitReached: there is no more; the audio is not to be heard.
            Flood: no wait that a client would sit out is long enough.
        """
        ...

    def tokens(self, count: int) -> None:
        """So many tokens have been written for an answer that is over."""
        ...


class _Unlimited:
    """Everything, at once."""

    async def message(self, size_bytes: int) -> None:
        """Wait for nothing."""

    async def audio(self, seconds: float) -> None:
        """Wait for nothing."""

    def tokens(self, count: int) -> None:
        """Count nothing."""


UNLIMITED: Allowance = _Unlimited()
"""For whoever is not to be limited, such as tests of something else."""


class AudioGate:
    """Lets audio through to a session as its allowance grants it."""

    def __init__(self, allowance: Allowance, on_shut: Callable[[LimitReached], None]) -> None:
        self._allowance = allowance
        self._on_shut = on_shut
        self._is_shut = False

    async def take(self, seconds: float) -> None:
        """Take so much audio, in a message that is answered for itself; may wait.

        Raises:
            LimitReached: see `Allowance.audio`.
            Flood: likewise.
        """
        await self._allowance.audio(seconds)

    async def admits(self, audio: bytes, wire_format: str) -> bool:
        """Whether audio in this format may be heard; may wait.

        That it may not is told once (`on_shut`) and not at every message, until some may be heard again.

        Raises:
            Flood: see `Allowance.audio`.
        """
        try:
            await self._allowance.audio(codec(wire_format).seconds(len(audio)))
        except Flood:
            raise
        except LimitReached as reached:
            if not self._is_shut:
                self._is_shut = True
                self._on_shut(reached)
            return False
        self._is_shut = False
        return True
