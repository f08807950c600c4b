"""One session with a node: a microphone that never stops, ears, and turns one after the other."""

from __future__ import annotations

import asyncio
import binascii
import os
import statistics
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from urllib.parse import urlsplit

import msgspec
import pybase64
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from voiceedge.audio.pcm import from_pcm16
from voiceedge.bench import wire
from voiceedge.bench.address import endpoint, shown_url, turn_detection
from voiceedge.bench.exchange import Answer, BargeIn, Exchange
from voiceedge.bench.microphone import Microphone, Utterance
from voiceedge.bench.options import BenchOptions, NodeFull, NodeUnreachable
from voiceedge.bench.plan import Line
from voiceedge.bench.playout import Playout
from voiceedge.bench.progress import Doing
from voiceedge.bench.proxy import far_away
from voiceedge.bench.recording import WIRE_RATE_HZ, first_voiced_sample
from voiceedge.bench.tape import Tape, TapedTurn
from voiceedge.bench.wire import ServerEvent
from voiceedge.trace import MILLISECONDS_A_SECOND

OPEN_TIMEOUT_S = 10.0
"""For the handshake, and again for the session to be there."""

CLOSE_TIMEOUT_S = 2.0
"""A node that hangs is not said goodbye to for long."""

_PINGS = 3
"""Before the first turn."""
PING_EVERY_S = 1.0
"""While the user is silent: a turn sees one to three of them, and nobody feels them."""

_PORTS = {"ws": 80, "wss": 443}
_FULL = frozenset({429, 503})
"""What nodes say that take no more sessions."""

Watch = Callable[[str, Doing], None]
"""Told the recording's name and what is being done with it."""


@asynccontextmanager
async def call(options: BenchOptions, begin_tape: Callable[[], Tape] | None = None) -> AsyncIterator[Caller]:
    """Open a session with the node and set it up.

    Args:
        options: How to reach the node and to talk to it.
        begin_tape: Gives what records the session; asked when the node is there, so that no other tape is replaced
            by an empty one.

    Raises:
        NodeUnreachable: nobody there, not let in, or no Realtime session behind the address.
    """
    url = endpoint(options.url, options.model)
    headers = {"Authorization": f"Bearer {options.api_key}"} if options.api_key else {}
    async with AsyncExitStack() as way:
        try:
            near = None
            if options.via_rtt_ms is not None:
                parts = urlsplit(url)
                port = parts.port or _PORTS[parts.scheme]
                round_trip_s = options.via_rtt_ms / MILLISECONDS_A_SECOND
                async with asyncio.timeout(OPEN_TIMEOUT_S):
                    near = await way.enter_async_context(far_away(parts.hostname or "", port, round_trip_s))
            socket = await connect(
                url,
                sock=near,
                additional_headers=headers,
                compression=None,
                open_timeout=OPEN_TIMEOUT_S,
                close_timeout=CLOSE_TIMEOUT_S,
                max_size=None,
                proxy=None,  # what is measured is the way to the node, not the one to a proxy
            )
        except InvalidStatus as refusal:
            kind = NodeFull if refusal.response.status_code in _FULL else NodeUnreachable
            raise kind(_refused(shown_url(options.url), refusal)) from refusal
        except (OSError, InvalidHandshake, InvalidURI, EOFError, UnicodeError) as error:  # a host name can be neither
            raise NodeUnreachable(f"no node answers at {shown_url(options.url)}: {_reason(error)}") from error
        await way.enter_async_context(socket)
        caller = Caller(socket, options, None if begin_tape is None else begin_tape())
        await caller.set_up()
        yield caller


def _refused(url: str, refusal: InvalidStatus) -> str:
    status = refusal.response.status_code
    if status in {401, 403}:
        return f"the node at {url} does not accept this key (HTTP {status})"
    if status in _FULL:
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

    def __init__(self, socket: ClientConnection, options: BenchOptions, tape: Tape | None = None) -> None:
        self._socket = socket
        self._options = options
        self._pace = options.pace
        self._tape = tape
        self.microphone = Microphone(options.pace, *(() if tape is None else (tape.hear_user,)))
        """Off until the conversation begins."""
        self.microphone.switch_off()
        if tape is not None:
            tape.begin_session(self.microphone.sample_at)
        self._playout = Playout(tape)
        self._exchange = self._quiet()
        self._changed = asyncio.Event()
        self._closed = False
        self.round_trip_s: float | None = None
        """Median of three WebSocket pings before the first turn; None when the node does not answer them."""
        self._last_trip_s: float | None = None

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
            at = shown_url(self._options.url)
            raise NodeUnreachable(f"no Realtime session opens at {at}: {_reason(error)}") from error
        with suppress(TimeoutError, ConnectionClosed):
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                trips = [await (await self._socket.ping()) for _ in range(_PINGS)]
                self.round_trip_s = self._last_trip_s = statistics.median(trips)

    @asynccontextmanager
    async def conversation(self, opening_s: float) -> AsyncIterator[None]:
        """Listen, and send the room's noise, for as long as the body lasts.

        Args:
            opening_s: Quiet before the body begins, counted from the end of a greeting, if the node greets.
        """
        async with asyncio.TaskGroup() as tasks:
            ears = tasks.create_task(self._listen(), name="bench.ears")
            mouth = tasks.create_task(self._speak(), name="bench.microphone")
            pings = tasks.create_task(self._ping(), name="bench.pings")
            try:
                self.microphone.switch_on()
                self._exchange = self._quiet()
                await self._until_settled(opening_s)
                yield
            finally:
                ears.cancel()
                mouth.cancel()
                pings.cancel()

    @property
    def lost(self) -> bool:
        """Whether no turn can follow: the session is closed, or did not answer.

        What it says later could no longer be told from the answer to the next recording.
        """
        return self._closed or "no_answer" in self._exchange.problems

    async def say(self, line: Line, watch: Watch) -> Exchange:
        """Say one recording and return what came back for it, when the pause behind it is over.

        Where the line is to be interrupted, return when so much of its answer was heard: what is said next interrupts
        it, and what still comes for it (its end, its trace) is added to the exchange while the next one lasts.
        """
        recording, microphone = line.recording, self.microphone
        watch(recording.name, "speaking")
        sounding = self._exchange.sounding if self._playout.unplayed_s(self._pace.now()) > 0.0 else None
        utterance = microphone.speak(recording)
        barge_in = None
        if sounding is not None:
            first_voiced = utterance.begins + first_voiced_sample(recording) / WIRE_RATE_HZ
            barge_in = BargeIn(sounding, first_voiced, self._playout.ends)
        exchange = self._exchange = Exchange(recording, utterance, self._playout, barge_in)
        await self._until_settled(line.think_s, line.interrupt_s, partial(watch, recording.name))
        exchange.disconnected = self._closed
        exchange.lags_s = microphone.take_lags_s()
        if not exchange.trips_s and self._last_trip_s is not None:
            exchange.trips_s.append(self._last_trip_s)
        return exchange

    def note(self, exchange: Exchange, run: int, session: int, *, counted: bool = True) -> None:
        """State on the tape, if there is one, where an exchange of this session is."""
        tape, spoken, barge_in = self._tape, exchange.utterance, exchange.barge_in
        if tape is None:
            return
        turn = TapedTurn(
            audio=exchange.recording.name if exchange.recording else "",
            run=run,
            session=session,
            begins=tape.position(spoken.begins),
            last_voiced=tape.position(spoken.zero),
            ends=tape.position(spoken.ends),
            answers=tuple(tape.position(answer.begins) for answer in exchange.answers if answer.begins is not None),
            interrupts_at=tape.position(barge_in.begins) if barge_in is not None and barge_in.is_one else None,
            counted=counted,
        )
        tape.note(turn)

    def _quiet(self) -> Exchange:
        now = self._pace.now()
        return Exchange(None, Utterance(now, now, now), self._playout)

    async def _until_settled(
        self, pause_s: float, interrupt_s: float | None = None, watch: Callable[[Doing], None] = lambda _doing: None
    ) -> None:
        """Wait until the exchange has been over for the pause, is to be interrupted, or nothing comes any more."""
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
            if interrupt_s is not None:
                ready = min(ready, exchange.to_interrupt(interrupt_s))
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
        heard_ms = self._exchange.heard_ms(answer, at)
        answer.stopped_by_us = True
        self._playout.stop(at)  # before anything is waited for: what has been played meanwhile is on the tape
        with suppress(ConnectionClosed):
            if answer.status is None:
                await self._socket.send(wire.cancel(answer.response_id))
            if answer.item_id:
                await self._socket.send(wire.truncate(answer.item_id, heard_ms))

    async def _ping(self) -> None:
        """Measure the way to the node while the user is silent; one ping at a time."""
        due = self._pace.now()
        with suppress(ConnectionClosed):
            while True:
                due = max(due, self._exchange.utterance.ends)
                await self._pace.until(due)
                if self._exchange.utterance.ends > self._pace.now():
                    continue
                trip_s = await (await self._socket.ping())
                self._last_trip_s = trip_s
                self._exchange.trips_s.append(trip_s)
                due = self._pace.now() + PING_EVERY_S

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
        answer = self._exchange.sounding
        if self._playout.unplayed_s(at) == 0.0 or answer is None:
            return
        heard_ms = self._exchange.heard_ms(answer, at)
        self._playout.stop(at)
        barge_in = self._exchange.barge_in
        if barge_in is not None and barge_in.answer is answer:
            answer.stopped_by_us = True  # what still comes of it is not played, but counted
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
