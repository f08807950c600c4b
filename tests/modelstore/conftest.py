"""A small web site, a folder of tiny wheels and a catalogue of made-up models."""

import hashlib
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from voiceedge.modelstore.manifest import BuildStep, Catalogue, Manifest, ModelFile, Source


@dataclass
class Site:
    """What the web server serves, and what it was asked for."""

    address: str
    pages: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    cut_short: set[str] = field(default_factory=set)
    """Paths whose connection closes half-way."""
    breaks: dict[str, list[int]] = field(default_factory=dict)
    """Bytes of the body after which each answer to a path breaks off, one answer after the other."""
    tags: dict[str, str] = field(default_factory=dict)
    """Paths that know ranges, with their ETag."""
    asked: list[str] = field(default_factory=list)
    ranges: list[tuple[str | None, str | None]] = field(default_factory=list)
    """Range and If-Range of each request."""

    def url(self, path: str) -> str:
        return f"{self.address}{path}"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    served = Site(f"http://127.0.0.1:{server.server_address[1]}")

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            served.asked.append(self.path)
            if self.path in served.redirects:
                self.send_response(302)
                self.send_header("Location", served.redirects[self.path])
                self.end_headers()
                return
            body = served.pages.get(self.path)
            if body is None:
                self.send_error(404)
                return
            wanted, condition = self.headers.get("Range"), self.headers.get("If-Range")
            served.ranges.append((wanted, condition))
            tag = served.tags.get(self.path)
            first = 0
            if tag is not None and wanted is not None and condition in (None, tag):
                first = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if first >= len(body):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            if tag is not None:
                self.send_header("ETag", tag)
            body = body[first:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            sizes = served.breaks.get(self.path)
            size = len(body) // 2 if self.path in served.cut_short else sizes.pop(0) if sizes else len(body)
            self.wfile.write(body[:size])

        def log_message(self, *args):
            pass

    server.RequestHandlerClass = Answer
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes wheels from, and nowhere else: as a user would configure it."""
    folder = tmp_path / "wheelhouse"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def make_wheel(wheelhouse: Path) -> Callable[[str, dict[str, bytes]], None]:
    def make(name: str, members: dict[str, bytes]) -> None:
        with zipfile.ZipFile(wheelhouse / f"{name}-1.0-py3-none-any.whl", "w") as archive:
            info = f"{name}-1.0.dist-info"
            archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
            for member, content in members.items():
                archive.writestr(member, content)

    return make


@pytest.fixture
def make_file() -> Callable[..., ModelFile]:
    def make(content: bytes, *sources: Source, name: str = "weights.bin") -> ModelFile:
        return ModelFile(name, hashlib.sha256(content).hexdigest(), len(content), sources)

    return make


@pytest.fixture
def make_catalogue() -> Callable[..., Catalogue]:
    def make(*files: ModelFile, build: BuildStep | None = None) -> Catalogue:
        """One model, called `tiny`."""
        model = Manifest("tiny", "llm", "onnx_llm", "llama", ("en",), "MIT", "made up", 1, files, build)
        return Catalogue({"tiny": model}, {})

    return make
