import os

import pytest

from voiceedge.bench.writable import check_writable, write_text
from voiceedge.errors import ConfigError


def test_what_can_be_written_stays_as_it_was(tmp_path):
    (tmp_path / "old").write_text("old")
    check_writable(tmp_path / "old")
    check_writable(tmp_path / "new")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("old", "old")]


def test_a_pipe_is_not_closed_before_it_is_written(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    check_writable(tmp_path / "pipe")
    write_text(tmp_path / "pipe", "text")
    assert os.read(reader, 100) == b"text"
    os.close(reader)


@pytest.mark.parametrize("name", [".", "nowhere/file"])
def test_what_cannot_be_written_is_said(tmp_path, name):
    for refused in (check_writable, lambda path: write_text(path, "text")):
        with pytest.raises(ConfigError, match=r"cannot be written: (Is a directory|No such file)"):
            refused(tmp_path / name)
