"""One session with a node: a microphone that never stops, ears, and turns one after the other."""

from __future__ import annotations

import asyncio
import binascii
import os
import statistics
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import msgspec
import pybase64
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from voiceedge.audio.pcm import from_pcm16
from voiceedge.bench import wire
from voiceedge.bench.exchange import Answer, Exchange
from voiceedge.bench.microphone import Microphone, Utterance
from voiceedge.bench.options import BenchOptions, Doing, NodeUnreachable, endpoint, turn_detection
from voiceedge.bench.plan import Line
from voiceedge.bench.playout import Playout
from voiceedge.bench.recording import WIRE_RATE_HZ
from voiceedge.bench.wire import ServerEvent

OPEN_TIMEOUT_S = 10.0
"""For the handshake, and again for the session to be there."""

CLOSE_TIMEOUT_S = 2.0
"""A node that hangs is not said goodbye to for long."""

_PINGS = 3

Watch = Callable[[str, Doing], None]
"""Told the recording's name and what is being done with it."""


@asynccontextmanager
async def call(options: BenchOptions) -> AsyncIterator[Caller]:
    """Open a session with the node and set it up.

    Raises:
        NodeUnreachable: nobody there, not let in, or no Realtime session behind the address.
    """
    url = endpoint(options.url, options.model)
    headers = {"Authorization": f"Bearer {options.api_key}"} if options.api_key else {}
    try:
        socket = await connect(
            url,
            additional_headers=headers,
            compression=None,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            max_size=None,
            proxy=None,  # what is measured is the way to the node, not the one to a proxy
        )
    except InvalidStatus as refusal:
        raise NodeUnreachable(_refused(options.url, refusal)) from refusal
    except (OSError, InvalidHandshake, InvalidURI, EOFError, UnicodeError) as error:  # a host name can be neither
        raise NodeUnreachable(f"no node answers at {options.url}: {_reason(error)}") from error
    async with socket:
        caller = Caller(socket, options)
        await caller.set_up()
        yield caller


def _refused(url: str, refusal: InvalidStatus) -> str:
    status = refusal.response.status_code
    if status in {401, 403}:
        return f"the node at {url} does not accept this key (HTTP {status})"
    if status in {429, 503}:
        wait = refusal.response.headers.get("Retry-After")
        return f"the node at {url} is full (HTTP {status})" + (f": try again in {wait} s" if wait else "")
    return f"{url} answers HTTP {status}: that is no Realtime node"


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no reply within {OPEN_TIMEOUT_S:.0f} s"
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)  # asyncio's own text is a tuple in brackets
    return str(error) or type(error).__name__


class Caller:
    """A user with a microphone and a speaker, in one session."""

    def __init__(self, socket: ClientConnection, options: BenchOptions) -> None:
        self._socket = socket
        self._options = options
        self._pace = options.pace
        self.microphone = Microphone(options.pace)
        """Off until the conversation begins."""
        self.microphone.switch_off()
        self._playout = Playout()
        self._exchange = self._quiet()
        self._changed = asyncio.Event()
        self._closed = False
        self.round_trip_s: float | None = None
        """Median of three WebSocket pings before the first turn; None when the node does not answer them."""

    async def set_up(self) -> None:
        """Wait for the session, configure it, and measure the way to the node.

        Raises:
            NodeUnreachable: no session came, or it refused its settings.
        """
        detection = turn_detection(self._options.turn_detection)
        update = wire.session_update(detection, self._options.instructions, WIRE_RATE_HZ)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await self._expect("session.created")
                await self._socket.send(update)
                await self._expect("session.updated")
        except (TimeoutError, ConnectionClosed, msgspec.DecodeError) as error:
            raise NodeUnreachable(f"no Realtime session opens at {self._options.url}: {_reason(error)}") from error
        with suppress(TimeoutError, ConnectionClosed):
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                trips = [await (await self._socket.ping()) for _ in range(_PINGS)]
                self.round_trip_s = statistics.median(trips)

    @asynccontextmanager
    async def conversation(self, opening_s: float) -> AsyncIterator[None]:
        """Listen, and send the room's noise, for as long as the body lasts.

        Args:
            opening_s: Quiet before the body begins, counted from the end of a greeting, if the node greets.
        """
        async with asyncio.TaskGroup() as tasks:
            ears = tasks.create_task(self._listen(), name="bench.ears")
            mouth = tasks.create_task(self._speak(), name="bench.microphone")
            try:
                self.microphone.switch_on()
                self._exchange = self._quiet()
                await self._until_settled(opening_s)
                yield
            finally:
                ears.cancel()
                mouth.cancel()

    @property
    def lost(self) -> bool:
        """Whether no turn can follow: the session is closed, or did not answer.

        What it says later could no longer be told from the answer to the next recording.
        """
        return self._closed or "no_answer" in self._exchange.problems

    async def say(self, line: Line, watch: Watch) -> Exchange:
        """Say one recording and return what came back for it, when the pause behind it is over."""
        recording, microphone = line.recording, self.microphone
        watch(recording.name, "speaking")
        first_lag = len(microphone.lags_s)
        utterance = microphone.speak(recording)
        self._exchange = Exchange(recording, utterance, self._playout)
        await self._until_settled(line.think_s, partial(watch, recording.name))
        self._exchange.disconnected = self._closed
        self._exchange.lags_s = microphone.lags_s[first_lag:]
        return self._exchange

    def _quiet(self) -> Exchange:
        now = self._pace.now()
        return Exchange(None, Utterance(now, now, now), self._playout)

    async def _until_settled(self, pause_s: float, watch: Callable[[Doing], None] = lambda _doing: None) -> None:
        """Wait until the exchange has been over for the pause, or nothing comes any more."""
        exchange, options = self._exchange, self._options
        while not self._closed:
            self._changed.clear()
            at = self._pace.now()
            if options.listen == "first-audible" and (answer := exchange.to_stop(at)):
                await self._stop(answer)
            settled = exchange.settled
            ready = exchange.gives_up(options.timeout_s)
            if settled is not None:
                ready = min(ready, settled + pause_s)
            if at >= ready:
                return
            wake = ready if options.listen == "full" else min(ready, exchange.next_to_stop)
            if at >= exchange.utterance.ends:
                watch("waiting" if exchange.next_to_stop > at else "listening")
            else:
                wake = min(wake, exchange.utterance.ends)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.real_s(wake)):
                    await self._changed.wait()

    async def _stop(self, answer: Answer) -> None:
        """Stop an answer as a client does when the user interrupts."""
        at = self._pace.now()
        answer.stopped_by_us = True
        with suppress(ConnectionClosed):
            if answer.status is None:
                await self._socket.send(wire.cancel(answer.response_id))
            if answer.item_id:
                heard_ms = self._exchange.heard_ms(answer, at)
                await self._socket.send(wire.truncate(answer.item_id, heard_ms))
        self._playout.stop(at)

    async def _speak(self) -> None:
        with suppress(ConnectionClosed):
            await self.microphone.run(self._socket.send)

    async def _listen(self) -> None:
        with suppress(ConnectionClosed):
            async for message in self._socket:
                arrived = self._pace.now()
                await self._hear(message, arrived)
                self._changed.set()
        self._exchange.errors.append(f"the node closed the session with {self._socket.close_code}")
        self._closed = True
        self._changed.set()

    async def _hear(self, message: str | bytes, arrived: float) -> None:
        exchange = self._exchange
        try:
            event = wire.read(message)
            if event.type == "response.output_audio.delta":
                audio = from_pcm16(pybase64.b64decode(event.delta, validate=True))
                exchange.receive_audio(event, audio, arrived)
                return
        except (msgspec.DecodeError, binascii.Error, ValueError) as error:
            exchange.errors.append(f"a message that cannot be read: {error}")
            return
        exchange.receive(event, arrived)
        if event.type == "input_audio_buffer.speech_started":
            await self._fall_silent(arrived)

    async def _fall_silent(self, at: float) -> None:
        """The node has heard the user: stop playing and say how far it came, as clients do."""
        if self._playout.unplayed_s(at) == 0.0 or not self._exchange.answers:
            return
        answer = self._exchange.answers[-1]
        heard_ms = self._exchange.heard_ms(answer, at)
        self._playout.stop(at)
        if answer.item_id:
            await self._socket.send(wire.truncate(answer.item_id, heard_ms))

    async def _expect(self, kind: str) -> ServerEvent:
        """Read on to an event of this type; others may lie in front of it."""
        while True:
            event = wire.read(await self._socket.recv())
            if event.type == kind:
                return event
            if event.type == "error":
                raise NodeUnreachable(f"the node refuses the session: {event.error.message}")
