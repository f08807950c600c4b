"""The folder of all recordings, and how long they stay in it: none is older, and all of them no larger, than stated.

Only what has the name of a recording is ever looked at, and only the files of one are deleted: whatever else is in the
folder is somebody else's. A name is made of the time and of the session's id, both of them the node's own.
"""

from __future__ import annotations

import calendar
import errno
import os
import re
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

from voiceedge.config import BYTES_A_MEGABYTE
from voiceedge.errors import ConfigError
from voiceedge.server.recording_files import AUDIO, EVENTS, Files
from voiceedge.trace import epoch_s

SECONDS_A_DAY = 24 * 60 * 60
_STAMP = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(r"(?P<stamp>\d{8}T\d{6}Z)-sess_[0-9a-f]{1,64}(-\d{1,6})?", re.ASCII)
_SESSION = re.compile(r"sess_[0-9a-f]{1,64}", re.ASCII)


class Shelf:
    """Holds recordings for so many days, and so many megabytes of them.

    Args:
        folder: where they are; made if it is not there.
        days: none is older.
        megabytes: of all together.
        clock: seconds since 1970.
    """

    def __init__(self, folder: Path, *, days: int, megabytes: int, clock: Callable[[], int] = epoch_s) -> None:
        self.folder = folder
        self._days = days
        self._megabytes = megabytes
        self._clock = clock

    def prepare(self) -> None:
        """Make the folder, for the node's own user only.

        Raises:
            ConfigError: it cannot be made, or nothing can be written there.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise ConfigError(f"Recordings cannot be written to {self.folder}: {error.strerror}.") from error

    def new(self, session_id: str) -> Files:
        """Begin a recording.

        Raises:
            OSError: there is no room for it.
            ValueError: that is no session's id.
        """
        if not _SESSION.fullmatch(session_id):
            raise ValueError("no session's id")
        name = f"{time.strftime(_STAMP, time.gmtime(self._clock()))}-{session_id}"
        for number in count(1):  # a session that agrees anew within the second
            with suppress(FileExistsError):
                return Files(self.folder / (name if number == 1 else f"{name}-{number}"))
        raise AssertionError

    def recordings(self) -> list[Path]:
        """All there are, the oldest first."""
        with os.scandir(self.folder) as entries:
            found = [entry for entry in entries if _NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)]
        return [self.folder / name for name in sorted(entry.name for entry in found) if _is_one(self.folder / name)]

    def surplus(self) -> list[Path]:
        """Those that are to be deleted now, the oldest first."""
        recordings = self.recordings()
        sizes = {recording: _bytes_of(recording) for recording in recordings}
        total, oldest = sum(sizes.values()), self._clock() - self._days * SECONDS_A_DAY
        surplus = []
        for recording in recordings:
            if _begun_at(recording) >= oldest and total <= self._megabytes * BYTES_A_MEGABYTE:
                break
            surplus.append(recording)
            total -= sizes[recording]
        return surplus

    def delete(self, recording: Path) -> None:
        """Delete a recording: its own files, and the folder if nothing else is in it.

        Raises:
            OSError: it cannot be deleted.
        """
        for name in (AUDIO, EVENTS):
            (recording / name).unlink(missing_ok=True)
        try:
            recording.rmdir()
        except FileNotFoundError:
            pass  # somebody else was faster
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise


def _is_one(folder: Path) -> bool:
    """Whether there is something of a recording in it, or nothing at all."""
    names = {path.name for path in folder.iterdir()}
    return not names or not names.isdisjoint({AUDIO, EVENTS})


def _begun_at(recording: Path) -> int:
    """Seconds since 1970."""
    stamp = recording.name.split("-")[0]
    try:
        return calendar.timegm(time.strptime(stamp, _STAMP))
    except ValueError:  # the 30th of February: nobody knows how old it is
        return 0


def _bytes_of(recording: Path) -> int:
    sizes = 0
    for name in (AUDIO, EVENTS):
        with suppress(OSError):
            sizes += (recording / name).lstat().st_size
    return sizes
