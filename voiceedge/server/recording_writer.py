"""Writes one session down: what passes its socket becomes places on a tape, lines, and files. Belongs to one thread."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import msgspec
import pybase64

from voiceedge.protocol.server_events import (
    OutputAudioDelta,
    OutputAudioDone,
    ResponseCreated,
    ResponseDone,
    ServerEvent,
    SpeechStarted,
)
from voiceedge.server.recording_files import Files
from voiceedge.server.recording_tape import RATE_HZ, Tape

FORMAT = "voiceedge.recording/1"
DEEPEST = 32
"""What is nested deeper in a client's message is not written down."""
LONGEST_MS = 1e9
UNSHOWN = frozenset({"api_key", "authorization", "client_secret", "headers", "password", "token"})
"""Keys whose values are left out, wherever a client sends them: they are of tools and of services, and no words."""
LEFT_OUT = "…"


@dataclass(frozen=True, slots=True)
class Heard:
    """A message of the client."""

    text: str | bytes
    wire_format: str
    """Of audio in it."""


@dataclass(frozen=True, slots=True)
class Sent:
    """An event that was handed to the socket."""

    event: ServerEvent
    interrupts: bool
    """Whether the user's speech stops an answer."""


class Writer:
    """One recording.

    Args:
        files: where it goes.
        session_id: whose it is.
        begun_at: seconds since 1970.
        consent: who has agreed: `client` or `operator`.
        output_format: of answers that had begun before.

    Raises:
        OSError: of all methods: it cannot be written.
    """

    def __init__(self, files: Files, session_id: str, *, begun_at: int, consent: str, output_format: str) -> None:
        self.files = files
        self._tape = Tape()
        self._output_format = output_format
        self._formats: dict[str, str] = {}  # by response
        self._asides: frozenset[str] = frozenset()  # responses outside of the conversation: speech stops none of them
        self._incomplete: dict[str, int | str] = {}
        files.write_event(
            {
                "format": FORMAT,
                "session": session_id,
                "begun_at": begun_at,
                "consent": consent,
                "rate_hz": RATE_HZ,
                "channels": ("user", "agent"),
            }
        )

    def take(self, what: Heard | Sent, at: float) -> None:
        """Write down what happened at this moment."""
        self.files.write_audio(self._tape.take(at))
        if isinstance(what, Heard):
            self._heard(what, at)
        else:
            self._sent(what, at)

    def missed(self, messages: int, at: float) -> None:
        """So many more messages and events could not be kept."""
        self._incomplete["missed"] = int(self._incomplete.get("missed", 0)) + messages
        self._line(at, "recording", {"type": "missed", "messages": messages})

    def end(self, why: str | None = None) -> None:
        """Write the rest; `why` says what ended it before its session was over."""
        if why is not None:
            self._incomplete["why"] = why
        self.files.write_audio(self._tape.take_all())
        ending: dict[str, Any] = {"type": "ended", "seconds": round(self.files.seconds, 3)}
        if self._tape.left_out_s:
            ending["pauses_left_out_s"] = round(self._tape.left_out_s, 3)
        ending |= {"is_complete": not self._incomplete, **self._incomplete}
        self.files.write_event({"at_s": round(self.files.seconds, 3), "from": "recording", "event": ending})
        self.files.close()

    def _heard(self, heard: Heard, at: float) -> None:
        try:
            event = msgspec.json.decode(heard.text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            self._line(at, "client", {"type": "unreadable", "bytes": len(heard.text)})
            return
        kind = event.get("type") if isinstance(event, dict) else None
        if kind == "input_audio_buffer.append":
            try:
                self._tape.hear(heard.wire_format, pybase64.b64decode(event["audio"], validate=True), at)
            except (ValueError, KeyError, TypeError):  # the session has refused it
                self._line(at, "client", {"type": kind, "audio": "unreadable"})
            return
        self._line(at, "client", event)
        if kind == "conversation.item.truncate":
            self._truncated(event, at)

    def _truncated(self, event: dict[str, Any], at: float) -> None:
        item_id, heard_ms = event.get("item_id"), event.get("audio_end_ms")
        if isinstance(item_id, str) and isinstance(heard_ms, int | float):
            self._cut(self._tape.truncate(item_id, max(0.0, min(heard_ms, LONGEST_MS))), at)

    def _sent(self, sent: Sent, at: float) -> None:
        event = sent.event
        if isinstance(event, OutputAudioDelta):
            form = self._formats.get(event.response_id, self._output_format)
            data = pybase64.b64decode(event.delta)
            self._tape.say(event.response_id, event.item_id, form, data, at)
            return
        self._line(at, "node", msgspec.to_builtins(event))
        match event:
            case ResponseCreated():
                self._formats[event.response.id] = str(event.response.audio.output.format["type"])
                if event.response.conversation_id is None:
                    self._asides |= {event.response.id}
            case OutputAudioDone():
                self._tape.finish(event.response_id, event.item_id)
            case SpeechStarted() if sent.interrupts:
                self._cut(self._tape.stop(at, spared=self._asides), at)
            case ResponseDone():
                self._over(event, at)

    def _over(self, done: ResponseDone, at: float) -> None:
        response_id = done.response.id
        if done.response.status == "cancelled":
            self._cut(self._tape.stop(at, response_id), at)
        self._tape.finish(response_id)
        self._formats.pop(response_id, None)

    def _cut(self, unheard_s: float, at: float) -> None:
        if unheard_s:
            self._line(at, "recording", {"type": "cut", "unheard_s": round(unheard_s, 3)})

    def _line(self, at: float, origin: str, event: Any) -> None:
        place = round(self._tape.place(at) / RATE_HZ, 3)
        self.files.write_event({"at_s": place, "from": origin, "event": _shown(event, DEEPEST)})


def _shown(value: Any, depth: int) -> Any:
    """A message without sound and without keys of others."""
    if isinstance(value, dict):
        if not depth:
            return LEFT_OUT
        return {key: _shown_under(str(key), inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(inner, depth - 1) for inner in value] if depth else LEFT_OUT
    return None if isinstance(value, float) and not math.isfinite(value) else value  # 1e999 is no JSON any more


def _shown_under(key: str, value: Any, depth: int) -> Any:
    is_sound = key == "audio" and isinstance(value, str)
    return LEFT_OUT if is_sound or key.lower() in UNSHOWN else _shown(value, depth)
