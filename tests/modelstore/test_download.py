"""A download goes on where it broke off, and what is wrong is never taken for right."""

import hashlib

import pytest

from voiceedge.modelstore.download import arrived_bytes, discard_partials, download, partial_path
from voiceedge.modelstore.web import SourceFailed, Web

CONTENT = bytes(range(250)) * 40
"""10,000 bytes, none like its neighbour."""
TAG = '"a1"'


@pytest.fixture
def file(make_file):
    return make_file(CONTENT)


@pytest.fixture
def bring(site, file, tmp_path):
    """Download /w into the folder; gives the content and the counts that were told."""

    def run():
        told = []
        path = download(site.url("/w"), file, tmp_path, Web({}), told.append)
        assert path == partial_path(tmp_path, file)
        return path.read_bytes(), told

    site.pages["/w"] = CONTENT
    site.tags["/w"] = TAG
    return run


def partial(tmp_path, file):
    return partial_path(tmp_path, file)


def test_what_breaks_off_is_continued_from_where_it_was_as_long_as_more_arrives(site, bring):
    site.breaks["/w"] = [3000, 2000, 4000]
    content, told = bring()
    assert content == CONTENT
    assert site.ranges == [(None, None), *((f"bytes={n}-", TAG) for n in (3000, 5000, 9000))]
    assert told == [3000, 5000, 9000, 10_000]


def test_what_an_earlier_pull_left_is_continued(site, bring, file, tmp_path):
    site.breaks["/w"] = [3000, 0]
    with pytest.raises(SourceFailed, match="broke off 7000 bytes before its end"):
        bring()
    assert arrived_bytes(tmp_path, file) == 3000
    assert bring()[0] == CONTENT
    assert site.ranges[-1] == ("bytes=3000-", TAG)


def test_a_server_without_ranges_sends_everything_again(site, bring, file, tmp_path):
    del site.tags["/w"]
    partial(tmp_path, file).write_bytes(CONTENT[:3000])
    content, told = bring()
    assert content == CONTENT
    assert told == [10_000]


def test_a_server_that_has_something_else_by_now_sends_all_of_it(site, bring, file, tmp_path):
    site.pages["/w"] = b"old" * 3000
    site.breaks["/w"] = [3000, 0]
    with pytest.raises(SourceFailed):
        bring()
    site.pages["/w"], site.tags["/w"] = CONTENT, '"a2"'
    assert bring()[0] == CONTENT
    assert site.ranges[-1] == ("bytes=3000-", TAG)


def test_a_corrupted_partial_is_thrown_away_and_fetched_anew(site, bring, file, tmp_path):
    partial(tmp_path, file).write_bytes(b"x" * 3000)
    assert bring()[0] == CONTENT
    assert [wanted for wanted, _ in site.ranges] == ["bytes=3000-", None]


def test_a_partial_that_is_too_long_is_thrown_away(site, bring, file, tmp_path):
    partial(tmp_path, file).write_bytes(CONTENT + b"more")
    assert bring()[0] == CONTENT
    assert site.ranges == [(None, None)]


@pytest.mark.parametrize(("left", "requests"), [(CONTENT, 0), (CONTENT[::-1], 1)])
def test_a_partial_of_the_right_size_is_hashed_before_anybody_is_asked(site, bring, file, tmp_path, left, requests):
    partial(tmp_path, file).write_bytes(left)
    assert bring()[0] == CONTENT
    assert len(site.ranges) == requests


def test_a_mirror_continues_what_another_address_began(site, bring, file, tmp_path):
    site.pages["/other"], site.tags["/other"] = CONTENT, '"b"'
    site.breaks["/other"] = [3000, 0]
    with pytest.raises(SourceFailed):
        download(site.url("/other"), file, tmp_path, Web({}), lambda _: None)
    assert bring()[0] == CONTENT
    assert site.ranges[-1] == ("bytes=3000-", None)


def test_a_note_that_cannot_be_read_only_costs_the_condition(site, bring, file, tmp_path):
    partial(tmp_path, file).write_bytes(CONTENT[:3000])
    partial(tmp_path, file).with_name(f"{partial(tmp_path, file).name}.json").write_bytes(b"{")
    assert bring()[0] == CONTENT
    assert site.ranges == [("bytes=3000-", None)]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (CONTENT[:-1], "ended after 9999 of 10000 bytes"),
        (CONTENT + b"x", "is longer than the 10000 bytes"),
        (CONTENT[::-1], f"has sha256 {hashlib.sha256(CONTENT[::-1]).hexdigest()}"),
    ],
)
def test_what_is_whole_but_wrong_is_refused_at_once_and_nothing_of_it_is_kept(
    site, bring, file, tmp_path, sent, reason
):
    site.pages["/w"] = sent
    with pytest.raises(SourceFailed, match=reason):
        bring()
    assert len(site.asked) == 1
    assert arrived_bytes(tmp_path, file) == 0


def test_a_server_that_sends_another_part_than_asked_for_is_refused(bring, file, tmp_path, monkeypatch):
    partial(tmp_path, file).write_bytes(CONTENT[:3000])
    get = Web.get
    monkeypatch.setattr(Web, "get", lambda self, url, offset, validator: get(self, url, offset + 10, validator))
    with pytest.raises(SourceFailed, match="sent what follows byte 3010, not 3000"):
        bring()
    assert arrived_bytes(tmp_path, file) == 3000


def test_an_error_of_the_server_keeps_what_has_arrived(site, bring, file, tmp_path):
    partial(tmp_path, file).write_bytes(CONTENT[:3000])
    del site.pages["/w"]
    with pytest.raises(SourceFailed, match="HTTP 404"):
        bring()
    assert arrived_bytes(tmp_path, file) == 3000


def test_only_partials_that_are_still_wanted_are_kept(make_file, tmp_path):
    wanted, stale = make_file(b"wanted"), make_file(b"stale")
    for one in (wanted, stale):
        partial(tmp_path, one).write_bytes(b"x")
        partial(tmp_path, one).with_name(f"{partial(tmp_path, one).name}.json").write_bytes(b"{}")
    discard_partials(tmp_path, [wanted])
    name = partial(tmp_path, wanted).name
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, f"{name}.json"]
    discard_partials(tmp_path)
    assert list(tmp_path.iterdir()) == []
