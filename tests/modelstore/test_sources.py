"""Bytes out of each kind of source, and what is said when none come."""

import base64
import hashlib
import importlib.util
import io
import json
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from voiceedge.modelstore.manifest import NpmSource, PackageSource, PartsSource, PathSource, UrlSource, WheelSource
from voiceedge.modelstore.sources import Sources, locate
from voiceedge.modelstore.web import CHUNK_BYTES, SourceFailed


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


# ── npm ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def registry(site, monkeypatch) -> Callable[..., None]:
    """Publishes packages on the web site, which npm is set to."""
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", site.address)  # as people write it: without the last slash

    def publish(name: str, members: dict[str, bytes], **changes: str) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for member, content in members.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        path = f"/{name}/-/file.tgz"
        site.pages[path] = packed.getvalue()
        digest = base64.b64encode(hashlib.sha512(packed.getvalue()).digest()).decode()
        dist = {"tarball": site.url(path), "integrity": f"sha1-old sha512-{digest}", **changes}
        site.pages[f"/{name.replace('/', '%2f')}/1.0.0"] = json.dumps({"name": name, "dist": dist}).encode()

    return publish


def test_members_of_an_npm_package_come_from_the_registry_and_a_tarball_is_downloaded_once(
    site, sources, told, registry
):
    registry("voices", {"package/bin/a": b"aa", "package/bin/b": b"b", "package/a": b"other"})
    assert read(sources, NpmSource("voices==1.0.0", "bin/a")) == b"aa"
    assert read(sources, NpmSource("voices==1.0.0", "bin/b")) == b"b"
    assert site.asked == ["/voices/1.0.0", "/voices/-/file.tgz"]
    assert told == ["npm package voices==1.0.0"]


def test_a_package_with_a_scope_comes_from_the_registry_of_the_scope(site, sources, registry, monkeypatch, tmp_path):
    registry("@me/voices", {"anything/a": b"aa"})
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:1/")
    (tmp_path / ".npmrc").write_text(f"@me:registry={site.address}/\n", encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read(sources, NpmSource("@me/voices==1.0.0", "a")) == b"aa"


def test_a_member_that_the_package_lacks_or_that_is_no_file_is_named(sources, registry):
    registry("voices", {"package/bin/a": b"aa"})
    for member in ("bin/z", "bin", "package/bin/a"):
        with pytest.raises(SourceFailed, match=rf"voices==1\.0\.0 has no member {member}$"):
            read(sources, NpmSource("voices==1.0.0", member))


def test_a_tarball_that_is_not_what_the_registry_promised_is_refused(sources, registry):
    registry("voices", {"package/a": b"aa"}, integrity="sha512-AAAA")
    with pytest.raises(SourceFailed, match=r"has integrity sha512-.*, not sha512-AAAA"):
        read(sources, NpmSource("voices==1.0.0", "a"))


def test_a_tarball_that_breaks_off_or_is_none_is_refused(site, sources, registry):
    registry("short", {"package/a": bytes(1000)})
    site.cut_short.add("/short/-/file.tgz")
    with pytest.raises(SourceFailed, match="broke off"):
        read(sources, NpmSource("short==1.0.0", "a"))
    registry("odd", {"package/a": b"aa"}, integrity="")
    site.pages["/odd/-/file.tgz"] = b"<html>"
    with pytest.raises(SourceFailed, match="cannot be read"):
        read(sources, NpmSource("odd==1.0.0", "a"))


def test_a_registry_that_knows_no_such_package_or_is_none_is_told(site, sources, registry):
    with pytest.raises(SourceFailed, match="HTTP 404"):
        read(sources, NpmSource("absent==1.0.0", "a"))
    site.pages["/page/1.0.0"] = b"<html>"
    with pytest.raises(SourceFailed, match="no answer of an npm registry"):
        read(sources, NpmSource("page==1.0.0", "a"))
    registry("file", {}, tarball="file:///etc/passwd")
    with pytest.raises(SourceFailed, match=r"no http\(s\) address"):
        read(sources, NpmSource("file==1.0.0", "a"))


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
