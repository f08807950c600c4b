"""Many callers at once, each followed by the next one as soon as it has left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake

from tests.endure.caller import QUESTIONS, Caller, End, Speech
from tests.endure.ledger import Ledger
from tests.endure.marks import LOUD, QUIET
from tests.speech import RATE_HZ, say, silence
from voiceedge.audio.codec import CODECS
from voiceedge.audio.pcm import PCM
from voiceedge.audio.resample import resample

ENDS: dict[End, int] = {"settled": 4, "closed": 3, "aborted": 3, "half-open": 1}
"""How often a caller leaves in which way."""
LONGEST_S = 60.0
MARKED = 0.5
"""Of all callers, where there are faults."""
RETRY_S = 1.0


@dataclass
class Crowd:
    """Callers of one node."""

    url: str
    """`http://host:port`."""
    ledger: Ledger
    seed: int
    has_faults: bool
    _numbers: dict[int, int] = field(default_factory=dict)

    async def come(self, places: int, seconds: float) -> None:
        """Hold so many conversations at a time, for so long; then all leave."""
        async with asyncio.TaskGroup() as tasks:
            for place in range(places):
                tasks.create_task(self._one_after_another(place, seconds))

    async def _one_after_another(self, place: int, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left := until - loop.time()) > 0:
            number = self._numbers[place] = self._numbers.get(place, -1) + 1
            random = Random(f"{self.seed} {place} {number}")
            await asyncio.sleep(min(random.uniform(0.0, 1.0), left))
            await self._call(f"{place}.{number}", random, until)

    async def _call(self, name: str, random: Random, until: float) -> None:
        is_marked = self.has_faults and random.random() < MARKED
        speech = random.choice(speeches(LOUD if is_marked else QUIET))
        stays_s = random.uniform(0.0, 2.0) if random.random() < 0.2 else random.uniform(5.0, LONGEST_S)
        (end,) = random.choices(list(ENDS), list(ENDS.values()))
        socket_url = f"ws{self.url.removeprefix('http')}/v1/realtime?model=voiceedge"
        try:
            key = await client_secret(self.url) if random.random() < 0.25 else "any"
            socket = await connect(
                socket_url,
                additional_headers={"Authorization": f"Bearer {key}"},
                compression=None,
                max_size=None,
                ping_interval=None,
            )
        except (InvalidHandshake, Refused) as error:
            status = getattr(getattr(error, "response", None), "status_code", error)
            self.ledger.refused[str(status)] += 1
            await asyncio.sleep(RETRY_S)
            return
        except (OSError, TimeoutError) as error:
            self.ledger.find("cannot connect", f"{name}: {error!r}")
            await asyncio.sleep(RETRY_S)
            return
        left = max(until - asyncio.get_running_loop().time(), 0.0)
        caller = Caller(socket, speech, self.ledger, name, random, is_marked=is_marked)
        await caller.talk(min(stays_s, left), end)


class Refused(Exception):
    """A request that was not answered with what it asked for."""


async def client_secret(url: str) -> str:
    """Ask for a key as the server behind a page does.

    Raises:
        Refused: there is none.
    """
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        body = json.dumps({"expires_after": {"anchor": "created_at", "seconds": 60}}).encode()
        head = f"POST /v1/realtime/client_secrets HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
        answer = await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()
    status, _, told = answer.partition(b"\r\n\r\n")
    if b" 200 " not in status.split(b"\r\n")[0]:
        raise Refused(status.split(b"\r\n")[0].decode())
    secret: dict[str, Any] = json.loads(told)
    return str(secret["value"])


@cache
def speeches(peak: float) -> Sequence[Speech]:
    """What is said, this loud, in two formats of the wire."""
    utterances = [_loud(say(question), peak) for question in QUESTIONS]
    made = []
    for name in ("audio/pcm", "audio/pcmu"):
        codec = CODECS[name]
        said = [codec.encode(resample(audio, RATE_HZ, codec.rate_hz)) for audio in utterances]
        room = codec.encode(resample(silence(1.0), RATE_HZ, codec.rate_hz))
        form: dict[str, Any] = {"type": name} | ({"rate": codec.rate_hz} if name == "audio/pcm" else {})
        made.append(Speech(form, codec.rate_hz * codec.bytes_per_sample, tuple(said), room))
    return made


def _loud(audio: PCM, peak: float) -> PCM:
    return audio * np.float32(peak / float(np.abs(audio).max()))
