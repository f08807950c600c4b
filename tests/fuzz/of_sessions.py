"""Whole conversations: messages that are nearly right, in any order, to a real session whose engines answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from tests.fuzz.of_wire import EVENTS, WORDS
from tests.fuzz.target import Target, edited_json
from tests.session.machine.play import _left_clean, _sweep, errors_logged
from tests.session.machine.sounds import sound
from tests.session.machine.virtual import VirtualCompute, VirtualLoop
from voiceedge.engines import Engines, Sampling
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.fake_defects import FakeDelays
from voiceedge.protocol.legacy import encode_legacy
from voiceedge.protocol.server_events import ServerEvent, encode
from voiceedge.protocol.session_config import LocalNames, default_session
from voiceedge.session.node import Node
from voiceedge.session.outbox import Outbox
from voiceedge.session.session import Session

SLOTS = 2
MOST_MESSAGES = 12
PAUSE_S = 0.25
"""Between two messages: part of an answer."""
QUIET_S = 30.0
"""Behind the last one: whatever goes on comes to its end."""
DELAYS = FakeDelays(end_of_turn_s=0.01, stt_s=0.05, llm_first_token_s=0.1, llm_token_s=0.01, tts_s=0.05)
SPEECH: tuple[dict[str, Any], ...] = (
    {"type": "input_audio_buffer.append", "audio": sound("speech", 400, "audio/pcm")},
    {"type": "input_audio_buffer.append", "audio": sound("silence", 900, "audio/pcm")},
    {"type": "input_audio_buffer.clear"},
)
MESSAGES = (*EVENTS, *SPEECH)


def session(data: bytes) -> None:
    """The messages of one client, each behind a byte 255; they come at once where their first byte is odd."""
    loop, compute = VirtualLoop(), VirtualCompute([0.0, 0.01])
    engines = fake_engines(DELAYS, slots=SLOTS, sleep=compute.sleep)
    with errors_logged() as errors:
        try:
            loop.run_until_complete(_hold(loop, compute, engines, data.split(b"\xff")[:MOST_MESSAGES]))
            _left_clean(loop, engines, errors)
        finally:
            _sweep(loop)


async def _hold(loop: VirtualLoop, compute: VirtualCompute, engines: Engines, parts: list[bytes]) -> None:
    names = LocalNames(model="fake", transcription="fake", voices=("heart", "ash"))
    node = Node(
        engines=engines,
        compute=compute,  # type: ignore[arg-type]
        names=names,
        instructions="Be kind.",
        sampling=Sampling(max_tokens=64),
        report=lambda *_: None,
        clock=loop.time,
        draft_after_ms=64,
    )
    config = default_session(session_id="sess_1", names=names, expires_at=1, instructions="Be kind.")
    outbox = Outbox()

    async def read(event: ServerEvent) -> None:
        json.loads(encode(event))
        encode_legacy(event)

    async def messages() -> AsyncIterator[bytes]:
        for part in parts:
            if not part or part[0] % 2 == 0:
                await asyncio.sleep(PAUSE_S)
            yield edited_json(MESSAGES, WORDS, part)
        await asyncio.sleep(QUIET_S)

    async with asyncio.TaskGroup() as tasks:
        writer = tasks.create_task(outbox.drain(read))
        await Session(node, config, outbox, wants_trace=True).run(messages())
        writer.cancel()
    await asyncio.sleep(QUIET_S)


def _nth(kind: str) -> bytes:
    """A message of this type, unchanged."""
    return bytes([next(place for place, event in enumerate(MESSAGES) if event["type"] == kind)])


_SPOKEN = bytes([len(EVENTS)]), bytes([len(EVENTS) + 1]), bytes([len(EVENTS) + 1])
_ASKED = _nth("session.update"), _nth("conversation.item.create"), _nth("response.create"), _nth("response.cancel")
TARGETS = (
    Target(
        "session",
        session,
        seeds=(b"\xff".join(_SPOKEN), b"\xff".join(_ASKED), b"\xff".join((*_ASKED, *_SPOKEN))),
        max_bytes=256,
        limit_s=2.0,
    ),
)
