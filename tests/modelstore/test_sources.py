"""Bytes out of each kind of source, and what is said when none come."""

import importlib.util
import socket
from pathlib import Path

import pytest

from voiceedge.modelstore.manifest import PackageSource, PartsSource, PathSource, UrlSource, WheelSource
from voiceedge.modelstore.sources import CHUNK_BYTES, SourceFailed, Sources, locate


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def sources(tmp_path, told) -> Sources:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Sources(scratch, told.append, {})


def read(sources, source) -> bytes:
    return b"".join(sources.read(source))


def test_an_address_is_read_through_redirects_in_chunks(site, sources):
    body = bytes(CHUNK_BYTES + 5)
    site.pages["/new"] = body
    site.redirects["/old"] = site.url("/new")
    assert [len(chunk) for chunk in sources.read(UrlSource(site.url("/old")))] == [CHUNK_BYTES, 5]


def test_an_http_error_is_told_by_its_code(site, sources):
    with pytest.raises(SourceFailed, match="HTTP 404"):
        read(sources, UrlSource(site.url("/absent")))


def test_a_host_that_does_not_answer_is_asked_once(sources):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(SourceFailed, match="refused"):
            read(sources, UrlSource(f"http://{host}/a"))
        with pytest.raises(SourceFailed, match=f"{host} did not answer before"):
            read(sources, UrlSource(f"http://{host}/b"))


def test_members_of_wheels_come_through_pip_and_a_wheel_is_downloaded_once(sources, told, make_wheel):
    make_wheel("one", {"one/a": b"aa", "one/b": b"b"})
    make_wheel("two", {"two/c": b"cc"})
    parts = PartsSource((WheelSource("one==1.0", "one/a"), WheelSource("two==1.0", "two/c")))
    assert read(sources, parts) == b"aacc"
    assert read(sources, WheelSource("one==1.0", "one/b")) == b"b"
    assert told == ["pip download one==1.0", "pip download two==1.0"]


def test_a_wheel_that_pip_cannot_find_is_told_in_pips_words(sources, wheelhouse):
    with pytest.raises(SourceFailed, match=r"pip: No matching distribution found for absent==1\.0"):
        read(sources, WheelSource("absent==1.0", "a"))


def test_a_member_that_the_wheel_lacks_is_named(sources, make_wheel):
    make_wheel("one", {"one/a": b"aa"})
    with pytest.raises(SourceFailed, match=r"one-1\.0-py3-none-any\.whl has no member one/z"):
        read(sources, WheelSource("one==1.0", "one/z"))


def test_a_python_without_pip_is_told_how_to_get_it(sources, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SourceFailed, match="ensurepip"):
        read(sources, WheelSource("one==1.0", "one/a"))


def test_a_path_below_the_home_folder_is_read(sources, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.bin").write_bytes(b"abc")
    assert read(sources, PathSource("~/a.bin")) == b"abc"
    with pytest.raises(SourceFailed, match="No such file"):
        read(sources, PathSource("~/b.bin"))


def test_a_packages_file_is_found_where_it_is_installed_without_importing_it(sources, tmp_path, monkeypatch):
    package = tmp_path / "made_up_voice"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError", encoding="utf-8")
    (package / "voice.onnx").write_bytes(b"abc")
    monkeypatch.syspath_prepend(str(tmp_path))
    source = PackageSource("made_up_voice", "voice.onnx")
    assert locate(source) == Path(package, "voice.onnx")
    assert read(sources, source) == b"abc"


def test_a_package_that_is_not_installed_is_named(sources):
    with pytest.raises(SourceFailed, match="never_installed is not installed"):
        read(sources, PackageSource("never_installed", "a"))
