"""A changed file is noticed, however it was changed; an unchanged one is hashed once."""

import hashlib
import os

import pytest

from voiceedge.modelstore.integrity import STAMPS, Expected, examine


@pytest.fixture
def weights(tmp_path) -> Expected:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"right")
    return Expected(path, 5, hashlib.sha256(b"right").hexdigest())


def hashed(expected, folder, *, full=False) -> list[str]:
    names: list[str] = []
    assert examine({"weights.bin": expected}, folder, full=full, tell=names.append) == {}
    return names


def settle(folder) -> None:
    """Make the stamps younger than the files, as they are a moment later."""
    os.utime(folder / STAMPS, ns=(2**62, 2**62))


def test_an_unchanged_file_is_hashed_once_unless_asked(weights, tmp_path):
    assert hashed(weights, tmp_path) == ["weights.bin"]
    settle(tmp_path)
    assert hashed(weights, tmp_path) == []
    assert hashed(weights, tmp_path, full=True) == ["weights.bin"]


def test_a_file_of_another_size_is_found_without_hashing(weights, tmp_path):
    weights.path.write_bytes(b"righ")
    names: list[str] = []
    assert examine({"w": weights}, tmp_path, full=True, tell=names.append) == {"w": "4 bytes"}
    assert names == []


def test_stamps_as_old_as_the_file_are_not_believed(weights, tmp_path):
    hashed(weights, tmp_path)
    tick = weights.path.stat().st_ctime_ns  # the file may have been written again after it was hashed
    os.utime(tmp_path / STAMPS, ns=(tick, tick))
    assert hashed(weights, tmp_path) == ["weights.bin"]


def test_a_change_right_after_hashing_is_found(weights, tmp_path):
    hashed(weights, tmp_path)
    weights.path.write_bytes(b"wrong")
    found = examine({"w": weights}, tmp_path)
    assert found == {"w": f"sha256 {hashlib.sha256(b'wrong').hexdigest()}"}


def test_a_change_is_found_although_the_time_of_modification_was_set_back(weights, tmp_path):
    hashed(weights, tmp_path)
    before = weights.path.stat()
    settle(tmp_path)
    weights.path.write_bytes(b"wrong")
    os.utime(weights.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    while weights.path.stat().st_ctime_ns == before.st_ctime_ns:  # the file system's clock ticks every few ms
        os.utime(weights.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "weights.bin" in examine({"weights.bin": weights}, tmp_path)


def test_a_file_found_wrong_is_hashed_again_until_it_is_right(weights, tmp_path):
    weights.path.write_bytes(b"wrong")
    assert "w" in examine({"w": weights}, tmp_path)
    assert "w" in examine({"w": weights}, tmp_path)
    weights.path.write_bytes(b"right")
    assert examine({"w": weights}, tmp_path) == {}


def test_another_expectation_makes_the_stamp_worthless(weights, tmp_path):
    hashed(weights, tmp_path)
    settle(tmp_path)
    other = Expected(weights.path, 5, "0" * 64)
    assert "weights.bin" in examine({"weights.bin": other}, tmp_path)


def test_a_missing_or_unreadable_file_is_told(weights, tmp_path):
    absent = Expected(tmp_path / "absent", 1, "0" * 64)
    folder = Expected(tmp_path, tmp_path.stat().st_size, "0" * 64)
    found = examine({"absent": absent, "folder": folder}, tmp_path)
    assert found["absent"] == "no file"
    assert "cannot be read" in found["folder"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"weights.bin": 1}'])
def test_damaged_stamps_only_cost_the_hashing(weights, tmp_path, content):
    (tmp_path / STAMPS).write_bytes(content)
    assert hashed(weights, tmp_path) == ["weights.bin"]


def test_stamps_that_cannot_be_written_only_cost_the_hashing(weights, tmp_path):
    (tmp_path / f"{STAMPS}.new").mkdir()
    assert hashed(weights, tmp_path) == ["weights.bin"]
    assert hashed(weights, tmp_path) == ["weights.bin"]
