"""No recording stays longer, and all together no larger, than the operator has said; nothing else is touched."""

import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voiceedge.config import BYTES_A_MEGABYTE
from voiceedge.errors import ConfigError
from voiceedge.server.recording_files import AUDIO, EVENTS
from voiceedge.server.recording_shelf import SECONDS_A_DAY, Shelf

NOW = 1_795_473_791


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def shelf(tmp_path, clock):
    shelf = Shelf(tmp_path / "recordings", days=7, megabytes=10, clock=clock)
    shelf.prepare()
    return shelf


def add(shelf, number=1, megabytes=0.0):
    files = shelf.new(f"sess_{number:020x}")
    files.close()
    with (files.folder / AUDIO).open("wb") as file:
        file.truncate(int(megabytes * BYTES_A_MEGABYTE))
    return files.folder


def tidy(shelf):
    surplus = shelf.surplus()
    for folder in surplus:
        shelf.delete(folder)
    return surplus


def test_the_folder_is_made_for_the_nodes_own_user_only(shelf):
    assert stat.S_IMODE(shelf.folder.stat().st_mode) == 0o700


def test_a_recording_is_named_by_its_time_and_its_session(shelf):
    assert add(shelf).name == "20261123T224311Z-sess_00000000000000000001"
    assert add(shelf).name == "20261123T224311Z-sess_00000000000000000001-2"


def test_after_its_days_a_recording_is_deleted_and_not_before(shelf, clock):
    folder = add(shelf)
    clock.now += 7 * SECONDS_A_DAY
    assert tidy(shelf) == []
    clock.now += 1
    assert tidy(shelf) == [folder]
    assert not folder.exists()


def test_where_there_are_too_many_megabytes_the_oldest_go(shelf, clock):
    folders = []
    for number in range(5):
        folders.append(add(shelf, number, 4))
        clock.now += 1
    assert tidy(shelf) == folders[:3]
    assert shelf.recordings() == folders[3:]


def test_one_that_is_too_large_alone_goes_as_well(shelf):
    assert tidy(shelf) == []
    folder = add(shelf, 1, 11)
    assert tidy(shelf) == [folder]


def test_what_is_not_a_recording_is_never_touched(shelf, clock, tmp_path):
    (shelf.folder / "notes").mkdir()
    (shelf.folder / "notes" / AUDIO).write_bytes(b"x" * 100)
    (shelf.folder / "20200101T000000Z-sess_ab.txt").write_text("x")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / AUDIO).write_bytes(b"x")
    (shelf.folder / "20200101T000000Z-sess_ab").symlink_to(elsewhere)
    clock.now += 100 * SECONDS_A_DAY
    assert tidy(shelf) == []
    assert (elsewhere / AUDIO).exists()


def test_a_note_that_an_operator_put_beside_a_recording_stays_and_the_recording_goes(shelf, clock):
    folder = add(shelf)
    (folder / "notes.txt").write_text("it stuttered")
    clock.now += 8 * SECONDS_A_DAY
    assert tidy(shelf) == [folder]
    assert list(folder.iterdir()) == [folder / "notes.txt"]
    assert tidy(shelf) == []


def test_a_file_that_is_a_link_is_deleted_and_what_it_points_at_is_not(shelf, clock, tmp_path):
    folder, precious = add(shelf), tmp_path / "precious"
    precious.write_text("x")
    (folder / EVENTS).unlink()
    (folder / EVENTS).symlink_to(precious)
    clock.now += 8 * SECONDS_A_DAY
    tidy(shelf)
    assert precious.exists()
    assert not folder.exists()


def test_what_a_killed_node_has_left_empty_goes_too(shelf, clock):
    (shelf.folder / "20200101T000000Z-sess_ab").mkdir()
    tidy(shelf)
    assert shelf.recordings() == []


@pytest.mark.parametrize(
    "name", ["../../etc", "sess_../x", "sess_", "", "sess_AB", "sess_ab/..", "sess_\n", "/sess_ab"]
)
def test_a_name_that_is_no_sessions_leads_nowhere(shelf, name):
    with pytest.raises(ValueError, match="no session"):
        shelf.new(name)
    assert list(shelf.folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told_at_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="Recordings cannot be written"):
        Shelf(tmp_path / "file" / "x", days=1, megabytes=1).prepare()


@settings(max_examples=50)
@given(sizes=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 3 * SECONDS_A_DAY)), max_size=8))
def test_what_stays_is_young_enough_small_enough_and_the_newest(tmp_path_factory, sizes):
    clock = Clock()
    shelf = Shelf(tmp_path_factory.mktemp("r"), days=7, megabytes=10, clock=clock)
    folders = []
    for number, (megabytes, later) in enumerate(sizes):
        clock.now += later
        folders.append((add(shelf, number, megabytes), clock.now, megabytes))
    tidy(shelf)
    kept = [one for one in folders if one[0].exists()]
    assert kept == folders[len(folders) - len(kept) :]
    assert all(begun >= clock.now - 7 * SECONDS_A_DAY for _, begun, _ in kept)
    assert sum(megabytes for *_, megabytes in kept) <= 10
    if len(kept) < len(folders):
        _, begun, megabytes = folders[-len(kept) - 1]
        is_old = begun < clock.now - 7 * SECONDS_A_DAY
        assert is_old or megabytes + sum(megabytes for *_, megabytes in kept) > 10
