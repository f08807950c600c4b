"""A recording is of use at any moment, and to nobody else."""

import errno
import json
import os
import stat
import wave

import numpy as np
import pytest

from voiceedge.server.recording_files import AUDIO, EVENTS, LONGEST_BYTES, Files
from voiceedge.server.recording_tape import RATE_HZ


def frames(samples, left=1, right=2):
    return np.stack([np.full(samples, left, "<i2"), np.full(samples, right, "<i2")], axis=1)


def read(folder):
    with wave.open(str(folder / AUDIO)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, RATE_HZ)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)


@pytest.fixture
def files(tmp_path):
    files = Files(tmp_path / "one")
    yield files
    files.close()


def test_the_sound_can_be_read_while_it_is_written(files):
    for seconds in (1, 2):
        files.write_audio(frames(RATE_HZ))
        assert (read(files.folder) == frames(seconds * RATE_HZ)).all()
        assert files.seconds == seconds
    files.write_audio(frames(0))
    assert files.seconds == 2


def test_events_are_lines_in_the_words_they_came_in(files):
    for words in ("café\n", "\ud800 half"):
        files.write_event({"event": words})
    first, second = (files.folder / EVENTS).read_bytes().splitlines()
    assert first.decode() == '{"event": "café\\n"}'
    assert json.loads(second) == {"event": "\ud800 half"}


def test_only_the_nodes_own_user_can_read_it(files):
    assert stat.S_IMODE(files.folder.stat().st_mode) == 0o700
    for name in (AUDIO, EVENTS):
        assert stat.S_IMODE((files.folder / name).stat().st_mode) == 0o600


def test_no_recording_is_written_over_another_one(files):
    with pytest.raises(FileExistsError):
        Files(files.folder)


def test_when_the_disk_is_full_what_was_written_stays_whole(files, monkeypatch):
    files.write_audio(frames(100))
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[: len(data) // 3], at))
    with pytest.raises(OSError, match="No space") as full:
        files.write_audio(frames(100))
    assert full.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert (read(files.folder) == frames(100)).all()
    assert (files.folder / AUDIO).stat().st_size == 44 + 400


def test_a_line_that_does_not_fit_is_not_begun(files, monkeypatch):
    files.write_event({"a": 1})

    class Full:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            return self.file.write(data[:5])

        def __getattr__(self, name):
            return getattr(self.file, name)

    monkeypatch.setattr(files, "_events", Full(files._events))
    with pytest.raises(OSError, match="No space"):
        files.write_event({"b": 2})
    assert (files.folder / EVENTS).read_text() == '{"a": 1}\n'


def test_a_wav_ends_before_its_size_cannot_be_stated(files):
    files._bytes = LONGEST_BYTES - 100
    with pytest.raises(OSError, match="too large"):
        files.write_audio(frames(100))
