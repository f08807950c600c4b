"""Recordings of sessions, for debugging: of those that have agreed, and only while they do (docs/privacy.md).

What passes a session's socket, both ways, is handed to one thread, which writes it down. The event loop does no more
than put it into a queue; if that is full, what comes is left out, and the recording says so. A session that takes its
consent back is not recorded any more, and what was recorded of it is deleted.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Self

from voiceedge.protocol.server_events import (
    OutputAudioDelta,
    ServerEvent,
    SessionCreated,
    SessionUpdated,
    identified,
)
from voiceedge.protocol.session_config import SessionConfig
from voiceedge.server.connection import Messages, Send
from voiceedge.server.logs import in_session
from voiceedge.server.recording_shelf import Shelf
from voiceedge.server.recording_writer import Heard, Sent, Writer
from voiceedge.trace import Clock, epoch_s, now

log = logging.getLogger(__name__)

MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Of what waits to be written; full: what comes is left out, and counted. Some minutes of all sessions of a node."""
MAX_OF_ONE_BYTES = 32 * 1024 * 1024
"""The same for one session: who floods the node spoils nobody else's recording."""
EVENT_BYTES = 4 * 1024
"""What a message or an event counts for, beside its audio."""
TIDY_S = 60.0
"""How often it is looked whether recordings are too old, or too many."""
GOODBYE_S = 10.0
"""How long the node waits for the rest to be written when it stops."""


class _Control(Enum):
    """What is said about a recording; never left out."""

    BEGIN = auto()
    END = auto()
    WITHDRAW = auto()


@dataclass(slots=True, eq=False)
class _Recording:
    """One session's, from the moment it agreed. Each figure is written by one thread only."""

    session_id: str
    consent: str
    output_format: str
    put_bytes: int = 0
    missed: int = 0
    """Messages and events that found no room."""
    is_wanted: bool = True
    """False once the session has taken its consent back."""
    taken_bytes: int = 0
    missed_told: int = 0
    is_over: bool = False
    """Nothing more is taken: it could not be written."""
    folder: Path | None = None
    writer: Writer | None = None


_What = Heard | Sent | _Control


class Recorder:
    """Records the sessions of one node. `with` starts its thread, and ends with everything written.

    Args:
        shelf: where recordings are, and how long they stay; prepared.
        clock: seconds, as all moments of a session.
    """

    def __init__(self, shelf: Shelf, clock: Clock = now) -> None:
        self._shelf = shelf
        self._clock = clock
        self._waiting: queue.SimpleQueue[tuple[_Recording, _What, float] | None] = queue.SimpleQueue()
        self._put_bytes = 0  # written by the event loop
        self._taken_bytes = 0  # written by the thread, as all below
        self._open: dict[Path, _Recording] = {}
        self._unwanted: set[Path] = set()  # are to be deleted
        self._tidied = -TIDY_S
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)

    def __enter__(self) -> Self:
        """Delete what is too old, and begin."""
        self._tidy()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._waiting.put(None)
        self._thread.join(GOODBYE_S)
        if self._thread.is_alive():
            log.warning("Recordings could not be written to their end within %.0f s.", GOODBYE_S)

    @contextmanager
    def follow(
        self, config: Callable[[], SessionConfig], messages: Messages, send: Send
    ) -> Iterator[tuple[Messages, Send]]:
        """Record a session inside, as far and as long as it agrees.

        Args:
            config: the session's settings, as they are then.
            messages: what the client sends.
            send: sends events to it.

        Yields:
            Both, to be used in their place.
        """
        tap = _Tap(self, config, self._clock)
        try:
            yield tap.heard(messages), tap.sent(send)
        finally:
            tap.close()

    # ── in the event loop ─────────────────────────────────────────────────────────────────────────────

    def put(self, recording: _Recording, what: _What, at: float) -> None:
        """Hand something over, if there is room for it; what is said about a recording always has."""
        if not isinstance(what, _Control):
            if recording.is_over:
                return
            size_bytes = _size(what)
            waits = recording.put_bytes - recording.taken_bytes
            waits_in_all = self._put_bytes - self._taken_bytes
            if waits + size_bytes > MAX_OF_ONE_BYTES or waits_in_all + size_bytes > MAX_WAITING_BYTES:
                recording.missed += 1
                return
            recording.put_bytes += size_bytes
            self._put_bytes += size_bytes
        self._waiting.put((recording, what, at))

    # ── in the thread ─────────────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        while True:
            with suppress(queue.Empty):
                entry = self._waiting.get(timeout=TIDY_S)
                if entry is None:
                    break
                with in_session(entry[0].session_id), _surviving("The recording cannot be gone on with."):
                    self._take(*entry)
                if entry[1] is _Control.BEGIN or entry[1] is _Control.END:
                    self._tidy()
            if self._clock() - self._tidied >= TIDY_S:
                self._tidy()
        for recording in list(self._open.values()):
            with in_session(recording.session_id), _surviving("The recording has no end."):
                self._end(recording, "the node stopped")
        with _surviving("Recordings that nobody agrees to any more are left."):
            self._delete_unwanted()

    def _take(self, recording: _Recording, what: _What, at: float) -> None:
        try:
            match what:
                case _Control.BEGIN:
                    self._begin(recording)
                case _Control.WITHDRAW:
                    self._withdraw(recording)
                case _Control.END:
                    self._missed(recording, at)
                    self._end(recording)
                case Heard() | Sent():
                    self._taken(recording, what)
                    if recording.writer is not None and recording.is_wanted:
                        recording.writer.take(what, at)
                        self._missed(recording, at)
        except OSError as error:
            log.warning("The recording cannot be written, and ends here: %s", error.strerror)
            self._give_up(recording)
        except Exception:  # whatever it is, the others are recorded on
            log.exception("The recording ends here.")
            self._give_up(recording)

    def _taken(self, recording: _Recording, what: Heard | Sent) -> None:
        recording.taken_bytes += _size(what)
        self._taken_bytes += _size(what)

    def _begin(self, recording: _Recording) -> None:
        files = self._shelf.new(recording.session_id)
        recording.folder = files.folder
        self._open[files.folder] = recording
        try:
            recording.writer = Writer(
                files,
                recording.session_id,
                begun_at=epoch_s(),
                consent=recording.consent,
                output_format=recording.output_format,
            )
        except OSError:
            files.close()
            raise

    def _missed(self, recording: _Recording, at: float) -> None:
        missed = recording.missed
        if missed > recording.missed_told and recording.writer is not None:
            recording.writer.missed(missed - recording.missed_told, at)
            recording.missed_told = missed

    def _end(self, recording: _Recording, why: str | None = None) -> None:
        writer = self._forget(recording)
        if writer is None:
            return
        try:
            writer.end(why)
        except OSError as error:
            log.warning("The end of the recording cannot be written: %s", error.strerror)
            writer.files.close()
        except Exception:  # whatever it is, there is more to be done
            writer.files.close()
            log.exception("The end of the recording cannot be written.")
        else:
            log.info("%.0f s were recorded in %s", writer.files.seconds, writer.files.folder.name)

    def _withdraw(self, recording: _Recording) -> None:
        if recording.folder is not None:
            self._unwanted.add(recording.folder)  # first of all: it is tried until it is done
        writer = self._forget(recording)
        try:
            if writer is not None:
                writer.files.close()
        finally:
            self._delete_unwanted()

    def _delete_unwanted(self) -> None:
        for folder in tuple(self._unwanted):
            try:
                self._shelf.delete(folder)
            except OSError as error:
                log.warning("%s is to be deleted, and cannot be yet: %s", folder.name, error.strerror)
            else:
                self._unwanted.remove(folder)
                log.info("The recording %s is deleted.", folder.name)

    def _give_up(self, recording: _Recording) -> None:
        recording.is_over = True
        if (writer := self._forget(recording)) is not None:
            writer.files.close()

    def _forget(self, recording: _Recording) -> Writer | None:
        writer, recording.writer = recording.writer, None
        if recording.folder is not None:
            self._open.pop(recording.folder, None)
        return writer

    def _tidy(self) -> None:
        """Delete what is too old, and what is too much, and what could not be deleted before."""
        self._tidied = self._clock()
        with _surviving("Recordings cannot be looked through."):
            self._delete_surplus()
        with _surviving("Recordings that nobody agrees to any more are left."):
            self._delete_unwanted()

    def _delete_surplus(self) -> None:
        try:
            surplus = self._shelf.surplus()
        except OSError as error:
            log.warning("Recordings cannot be looked through: %s", error.strerror)
            return
        for folder in surplus:
            if (recording := self._open.get(folder)) is not None:
                recording.is_over = True
                self._end(recording, "there was no room for it")
        self._unwanted.update(surplus)


class _Tap:
    """Where a session's messages and events pass. Belongs to the event loop."""

    def __init__(self, recorder: Recorder, config: Callable[[], SessionConfig], clock: Clock) -> None:
        self._recorder = recorder
        self._config = config
        self._clock = clock
        self._recording: _Recording | None = None

    async def heard(self, messages: Messages) -> Messages:
        """Pass the client's messages on."""
        async for message in messages:
            self._look()  # by now the session has read the one before
            if self._recording is not None:
                heard = Heard(message, self._config().input_format.type)
                self._recorder.put(self._recording, heard, self._clock())
            yield message

    def sent(self, send: Send) -> Send:
        """Send events, and pass them on once they are with the socket."""

        async def sending(event: ServerEvent) -> None:
            event, at = identified(event), self._clock()
            await send(event)
            self._look()
            if isinstance(event, SessionCreated | SessionUpdated):
                self._may_begin(event)
            if self._recording is not None:
                self._recorder.put(self._recording, Sent(event, _interrupts(self._config())), at)

        return sending

    def close(self) -> None:
        """The session is over."""
        self._look()
        self._say(_Control.END)
        self._recording = None

    def _may_begin(self, event: SessionCreated | SessionUpdated) -> None:
        """Begin once the client has been told."""
        config, told = self._config(), event.session.get("voiceedge") or {}
        if self._recording is None and config.is_recorded and told.get("record") is True:
            consent = config.names.records or ""
            self._recording = _Recording(config.id, consent, config.output_format.type)
            self._say(_Control.BEGIN)
            log.info("session %s is recorded", config.id)

    def _look(self) -> None:
        """End, and forget, what the session does not agree to any more."""
        if self._recording is not None and not self._config().is_recorded:
            self._recording.is_wanted = False
            self._say(_Control.WITHDRAW)
            self._recording = None

    def _say(self, control: _Control) -> None:
        if self._recording is not None:
            self._recorder.put(self._recording, control, self._clock())


@contextmanager
def _surviving(complaint: str) -> Iterator[None]:
    """Go on whatever happens inside: a recorder whose thread has ended would delete nothing any more."""
    try:
        yield
    except Exception:  # want of memory among it
        with suppress(Exception):
            log.exception(complaint)


def _interrupts(config: SessionConfig) -> bool:
    return config.turn_detection is not None and config.turn_detection.interrupt_response


def _size(what: Heard | Sent) -> int:
    """Bytes that something counts for while it waits."""
    if isinstance(what, Heard):
        return EVENT_BYTES + len(what.text)
    return EVENT_BYTES + (len(what.event.delta) if isinstance(what.event, OutputAudioDelta) else 0)
