"""Where every turn's time went: a readable line in the log, and a JSON line in a file."""

from __future__ import annotations

import errno
import logging
import math
import os
import stat
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from voiceedge.errors import ConfigError
from voiceedge.protocol.extensions import TurnTraced
from voiceedge.trace import epoch_s

log = logging.getLogger("voiceedge.turn")

MAX_BYTES = 64 * 1024 * 1024
"""About 60,000 turns: a day of a node with five conversations."""
MAX_FILES = 5


class TurnLog:
    """Writes turns down as they end: in the log without words, in the file with those that a turn brings."""

    def __init__(self, path: Path | None, *, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES) -> None:
        """Prepare; `with` opens the file.

        Args:
            path: the file; None writes none.
            max_bytes: a file that would grow beyond it is put aside as `NAME.1`, and a new one is begun.
            max_files: how many are kept, the one that is written among them.
        """
        self._file = _LineFile(path, max_bytes, max_files) if path is not None else None
        self._encoder = msgspec.json.Encoder()
        self._missing = 0  # turns that could not be written since the last one that was

    def __enter__(self) -> Self:
        if self._file is not None:
            self._file.open()
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
            if not self._missing:  # said once: the log may be on the same disk
                log.warning("the trace file cannot be written, and turns are missing until it can: %s", error.strerror)
            self._missing += 1
        else:
            if self._missing:
                log.warning("the trace file is written again; %d turns are missing", self._missing)
            self._missing = 0


class _LineFile:
    """A file of whole lines that does not grow for ever."""

    def __init__(self, path: Path, max_bytes: int, max_files: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._file: FileIO | None = None
        self._bytes = 0  # of the file, counted so that no line has to ask for it
        self._limit_bytes: float = max_bytes

    def open(self) -> None:
        """Go on behind what is there.

        Raises:
            ConfigError: the file cannot be written.
        """
        try:
            self._begin()
        except OSError as error:
            raise ConfigError(f"Cannot write the trace file {self._path}: {error.strerror}.") from error

    def close(self) -> None:
        """Every line is written already."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def write(self, line: bytes) -> None:
        """Add a line: all of it, or nothing.

        Raises:
            OSError: there is no room for it, or no file.
        """
        if self._bytes and self._bytes + len(line) > self._limit_bytes:
            self._put_aside()
        file = self._file or self._begin()
        written = file.write(line) or 0
        if written < len(line):
            file.truncate(self._bytes)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._bytes += written

    def _put_aside(self) -> None:
        """Rename every file to the next number, the oldest away, and begin a new one."""
        self.close()
        try:
            if self._max_files == 1:
                self._path.unlink()
            for number in reversed(range(1, self._max_files)):
                if (younger := self._numbered(number - 1)).exists():
                    younger.replace(self._numbered(number))
        except OSError as error:  # better a file that is too long than none
            log.warning("the trace file cannot be put aside: %s", error.strerror)
            self._begin()
            self._limit_bytes = self._bytes + self._max_bytes
        else:
            self._bytes = 0  # if no new one can be begun, nothing is put aside again: the oldest would go for nothing
            self._begin()

    def _numbered(self, number: int) -> Path:
        """The file with a number behind its name; 0 is the one that is written."""
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

    def _begin(self) -> FileIO:
        self._file = FileIO(self._path, "a")  # not buffered: a line is there when its turn is over
        status = os.fstat(self._file.fileno())
        self._bytes = status.st_size
        # a pipe or a terminal cannot be put aside
        self._limit_bytes = self._max_bytes if stat.S_ISREG(status.st_mode) else math.inf
        return self._file


def readable(turn: TurnTraced) -> str:
    """One line: the total, the segments that made it, and which of them was too much."""
    head = f"turn {turn.turn} {turn.status}"
    if turn.total_ms is None:
        return f"{head}, no audio"
    segments = " + ".join(f"{part.segment} {part.ms:.0f}" for part in turn.critical_path if part.ms >= 0.5)
    return f"{head}: {turn.total_ms:.0f} ms voice-to-voice = {segments}{_over_budget(turn)}"


def _over_budget(turn: TurnTraced) -> str:
    """What `Judge` found."""
    facts = turn.facts
    if "over_budget" not in facts:
        return ""
    took_ms, limit_ms = float(facts["over_budget_ms"]), float(facts["over_budget_limit_ms"])
    return f"; over budget: {facts['over_budget']} {took_ms:.0f} ms of {limit_ms:.0f}"
