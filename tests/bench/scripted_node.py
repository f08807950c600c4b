"""A node over a real socket that does what a test says, and recordings to play to it."""

import contextlib
import json
import wave
from http import HTTPStatus

import numpy as np
import pybase64
from websockets.asyncio.server import serve

from voiceedge.audio.pcm import from_pcm16, level_dbfs, to_pcm16
from voiceedge.bench import BenchOptions
from voiceedge.bench.interval import Interval
from voiceedge.bench.microphone import APPEND_SAMPLES
from voiceedge.bench.pace import Pace
from voiceedge.bench.recording import WIRE_RATE_HZ

SPEED = 25.0
WAIT_APPENDS = 15
"""The scripted node answers behind 300 ms of quiet."""


class ScriptedNode:
    """Hears speech by its level and answers behind some quiet; counts media time, never looks at a clock."""

    def __init__(self, answer=None, refuse=None, room_for=99):
        self.requests = []
        self.received = []
        self.appends = 0
        self.sessions = self.most_at_once = 0
        self.first = None
        self._room_for = room_for
        self._open = 0
        self.url = ""
        self._answer = answer or whole_answer
        self._refuse = refuse

    @contextlib.asynccontextmanager
    async def up(self):
        async with serve(self._session, "127.0.0.1", 0, process_request=self._request) as server:
            self.url = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self

    def _request(self, connection, request):
        if request.path == "/v1/node":
            return connection.respond(HTTPStatus.NOT_FOUND, "no\n")
        self.requests.append(request)
        if refusal := self._refuse or (self._open >= self._room_for and HTTPStatus.SERVICE_UNAVAILABLE):
            response = connection.respond(refusal, "no\n")
            response.headers["Retry-After"] = "7"
            return response
        return None

    async def _session(self, socket):
        self.sessions += 1
        self.first = self.first or socket
        self._open += 1
        self.most_at_once = max(self.most_at_once, self._open)
        try:
            await self._talk(socket)
        finally:
            self._open -= 1

    async def _talk(self, socket):
        quiet, heard, turn = 0, False, 0
        await say(socket, "session.created", session={})
        async for message in socket:
            event = json.loads(message)
            if event["type"] == "session.update":
                await say(socket, "session.updated", session=event["session"])
            if event["type"] != "input_audio_buffer.append":
                self.received.append(event)
                continue
            self.appends += 1
            audio = from_pcm16(pybase64.b64decode(event["audio"]))
            assert len(audio) == APPEND_SAMPLES
            loud = level_dbfs(audio) > -40
            quiet = 0 if loud else quiet + 1
            if loud and not heard:
                heard = True
                await say(socket, "input_audio_buffer.speech_started", item_id=f"u{turn}")
            if heard and quiet == WAIT_APPENDS:
                heard, turn = False, turn + 1
                await self._answer(socket, turn)


async def say(socket, kind, **fields):
    await socket.send(json.dumps({"type": kind, "event_id": "e", **fields}))


async def begin_answer(socket, turn, seconds=0.4):
    response = f"r{turn}"
    await say(
        socket,
        "conversation.item.input_audio_transcription.completed",
        item_id=f"u{turn}",
        content_index=0,
        transcript=f"question {turn}",
    )
    await say(socket, "response.created", response={"id": response, "status": "in_progress"})
    tone = to_pcm16(np.full(round(seconds * WIRE_RATE_HZ), 0.2, np.float32))
    for first in range(0, len(tone), 9600):
        await say(
            socket,
            "response.output_audio.delta",
            response_id=response,
            item_id=f"a{turn}",
            delta=pybase64.b64encode_as_string(tone[first : first + 9600]),
        )
    await say(socket, "response.output_audio_transcript.done", response_id=response, transcript=f"answer {turn}")
    return response


async def end_answer(socket, response, status="completed"):
    await say(
        socket,
        "voiceedge.turn",
        turn=1,
        response_id=response,
        item_id="a",
        marks_ms={"endpoint": 300.0},
        critical_path=[{"segment": "wait", "ms": 300.0}, {"segment": "tts", "ms": 5.0}],
        total_ms=305.0,
        facts={"prefill_tokens": 3},
    )
    await say(socket, "response.done", response={"id": response, "status": status})


async def whole_answer(socket, turn):
    await end_answer(socket, await begin_answer(socket, turn))


def tone(seconds):
    return (0.3 * np.sin(np.arange(round(seconds * WIRE_RATE_HZ)) / 9)).astype(np.float32)


def write_wav(path, audio):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(WIRE_RATE_HZ)
        file.writeframes(to_pcm16(audio))


class Whistle:
    sample_rate_hz = WIRE_RATE_HZ
    voices = ("whistle",)

    def speak(self, text, voice, speed):
        yield tone(0.3)


def options(node, recordings, **more):
    return BenchOptions(
        **(
            {
                "url": node.url,
                "audio": (recordings,),
                "pace": Pace(speed=SPEED),
                "think": Interval(0.5, 0.5),
                "timeout_s": 100.0,
            }
            | more
        )
    )
