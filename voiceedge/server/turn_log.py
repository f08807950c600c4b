"""Where every turn's time went: a readable line in the log, and a JSON line in a file."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from voiceedge.errors import ConfigError
from voiceedge.protocol.extensions import TurnTraced
from voiceedge.trace import epoch_s

log = logging.getLogger("voiceedge.turn")


class TurnLog:
    """Writes turns down as they end. Neither form holds what was said."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._encoder = msgspec.json.Encoder()

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                self._file = self._path.open("ab", buffering=0)  # a line is there when its turn is over
            except OSError as error:
                raise ConfigError(f"Cannot write the trace file {self._path}: {error.strerror}.") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def report(self, session_id: str, turn: TurnTraced) -> None:
        """Write one turn down. A full disk costs the line, never the conversation."""
        log.info("%s %s", session_id, readable(turn))
        if self._file is None:
            return
        record = {"at": epoch_s(), "session": session_id, **msgspec.to_builtins(turn)}
        del record["type"], record["event_id"]
        try:
            self._file.write(self._encoder.encode(record) + b"\n")
        except OSError as error:
            log.warning("the trace file cannot be written: %s", error.strerror)


def readable(turn: TurnTraced) -> str:
    """One line: the total and the segments that made it."""
    head = f"turn {turn.turn} {turn.status}"
    if turn.total_ms is None:
        return f"{head}, no audio"
    segments = " + ".join(f"{part.segment} {part.ms:.0f}" for part in turn.critical_path if part.ms >= 0.5)
    return f"{head}: {turn.total_ms:.0f} ms voice-to-voice = {segments}"
