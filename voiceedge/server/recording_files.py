"""The files of one recording: `audio.wav`, the user left and the agent right, and `events.jsonl`, what happened.

Both are of use at any moment, also after a power cut: the WAV's header is renewed with every second, and lines are
written when they are made. Nobody but the node's own user can read them.
"""

from __future__ import annotations

import errno
import json
import os
import struct
from io import FileIO
from pathlib import Path
from typing import Any

from voiceedge.server.recording_tape import RATE_HZ, Samples

AUDIO, EVENTS = "audio.wav", "events.jsonl"
FRAME_BYTES = 4
"""Two channels of 16 bits."""
HEADER_BYTES = 44
LONGEST_BYTES = 2**32 - 2**16
"""A WAV states its size in 32 bits: 12 hours."""


class Files:
    """Written by one thread."""

    def __init__(self, folder: Path) -> None:
        """Make the folder, readable by its owner only, and empty files in it.

        Raises:
            OSError: it is there already, or cannot be made.
        """
        folder.mkdir(mode=0o700)
        self.folder = folder
        self._bytes = 0
        self._audio = _new(folder / AUDIO)
        self._events = _new(folder / EVENTS)
        self._audio.write(_header(0))

    @property
    def seconds(self) -> float:
        """Length of the audio."""
        return self._bytes / (FRAME_BYTES * RATE_HZ)

    def write_audio(self, frames: Samples) -> None:
        """Append frames, shape [samples, 2].

        Raises:
            OSError: there is no room for all of them: those that were written before stay whole.
        """
        data = frames.tobytes()
        if not data:
            return
        if self._bytes + len(data) > LONGEST_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        at = HEADER_BYTES + self._bytes
        if os.pwrite(self._audio.fileno(), data, at) < len(data):
            self._audio.truncate(at)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._bytes += len(data)
        os.pwrite(self._audio.fileno(), _header(self._bytes), 0)

    def write_event(self, line: dict[str, Any]) -> None:
        """Append a line.

        Raises:
            OSError: there is no room for it.
        """
        # UTF-8, but half a character (\ud800), which JSON may hold and UTF-8 has no bytes for
        data = json.dumps(line, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
        end = self._events.tell()
        if (self._events.write(data) or 0) < len(data):
            self._events.truncate(end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Everything is written already."""
        self._audio.close()
        self._events.close()


def _new(path: Path) -> FileIO:
    return FileIO(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o600), "r+")


def _header(size: int) -> bytes:
    """Of a WAV file with so many bytes of audio."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 2, RATE_HZ, RATE_HZ * FRAME_BYTES, FRAME_BYTES, 16)
    return struct.pack("<4sI4s", b"RIFF", HEADER_BYTES - 8 + size, b"WAVE") + form + struct.pack("<4sI", b"data", size)
