import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from voiceedge.errors import ConfigError
from voiceedge.server.watched_file import WatchedFile, version_of


def change(file, text):
    """Write the file, at a moment that no file system takes for the same."""
    file.write_text(text, "utf-8")
    later = file.stat().st_mtime_ns + 1_000_000_000
    os.utime(file, ns=(later, later))


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "number.txt"
    path.write_text("1", "utf-8")
    return path


def test_what_is_changed_counts_from_the_next_look_on(file):
    watched = WatchedFile(file, int, "number")
    change(file, "2")
    assert watched.content == 1
    assert watched.refresh() == watched.content == 2


def test_the_same_text_is_not_read_twice(file):
    read = []
    watched = WatchedFile(file, read.append, "number")
    watched.refresh()
    assert read == ["1"]


def test_one_that_is_put_in_its_place_counts_though_it_is_as_long_and_as_old(file):
    watched = WatchedFile(file, int, "number")
    other = file.with_name("other.txt")
    other.write_text("2", "utf-8")
    os.utime(other, ns=(file.stat().st_mtime_ns, file.stat().st_mtime_ns))
    other.replace(file)
    assert watched.refresh() == 2


def test_one_whose_owner_or_mode_has_changed_is_another_version(file, monkeypatch):
    """Who could not read it at first may be able to now."""
    before, stat = version_of(file), file.stat()
    names = ("st_mtime_ns", "st_size", "st_ino")
    later = SimpleNamespace(st_ctime_ns=stat.st_ctime_ns + 1, **{name: getattr(stat, name) for name in names})
    monkeypatch.setattr(Path, "stat", lambda _: later)  # a file system's clock may not have ticked since
    assert version_of(file) != before


def test_what_cannot_be_read_any_more_stays_and_is_said_once_until_it_changes(file, caplog):
    watched = WatchedFile(file, int, "number")
    file.unlink()
    assert [watched.refresh() for _ in range(3)] == [1, 1, 1]
    assert len(caplog.records) == 1
    change(file, "two")
    assert watched.refresh() == 1
    assert "is no number" in caplog.records[-1].message
    change(file, "3")
    assert watched.refresh() == 3


@pytest.mark.parametrize("content", [None, b"x", b"\xff"])
def test_at_the_start_a_file_that_is_missing_or_says_something_else_is_an_error(tmp_path, content):
    path = tmp_path / "number.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"number\.txt"):
        WatchedFile(path, int, "number")
