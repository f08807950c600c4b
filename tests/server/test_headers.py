"""What every answer of a node says to a browser, read from the wire."""

import json
import socket
import ssl

import pytest

from tests.certificates import self_signed
from tests.e2e.nodes import running_node
from voiceedge.engines.fake import fake_engines

KEY = "a key of sixteen characters"
PAGES = ("/", "/trace")
ANSWERS = (
    ("GET", "/healthz", 200),
    ("HEAD", "/", 200),
    ("GET", "/readyz", 200),
    ("GET", "/v1/models", 200),
    ("GET", "/web/page.js", 200),
    ("GET", "/nowhere", 404),
    ("GET", "/web/nowhere.js", 404),
    ("GET", "/web/../app.py", 404),
    ("DELETE", "/healthz", 405),
    ("GET", "/v1/realtime", 426),
    ("POST", "/v1/realtime/calls", 501),
    ("POST", "/v1/realtime/client_secrets", 200),
    ("GET", "/trace/events", 401),
    *(("GET", page, 200) for page in PAGES[:1]),
)


@pytest.fixture(scope="module")
def node():
    with running_node(fake_engines(slots=2), admin_key=KEY, max_sessions=1) as node:
        yield node


def ask(port, method, path, *headers, context=None, host="node.example", connection="close"):
    """Status and headers, by lower-case name; a name that comes twice is a failure."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    with plain if context is None else context.wrap_socket(plain, server_hostname="localhost") as wire:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", f"Connection: {connection}", *headers]
        wire.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = b""
        while b"\r\n\r\n" not in answer and (more := wire.recv(1 << 16)):
            answer += more
    status, *lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    pairs = [line.split(": ", 1) for line in lines]
    names = [name.lower() for name, _ in pairs if name.lower() != "connection"]  # which may say two things
    assert len(set(names)) == len(names), names
    return int(status.split()[1]), {name.lower(): value for name, value in pairs}


def assert_sealed(headers):
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "server" not in headers


@pytest.mark.parametrize(("method", "path", "status"), ANSWERS)
def test_every_answer_is_sealed(node, method, path, status):
    got, headers = ask(node.port, method, path)
    assert got == status
    assert_sealed(headers)
    assert ("microphone=(self)" in headers["permissions-policy"]) == (path == "/")
    assert "strict-transport-security" not in headers


def test_the_live_view_is_sealed_and_has_no_microphone(node):
    for page in PAGES:
        status, headers = ask(node.port, "GET", page, f"Authorization: Bearer {KEY}")
        assert status == 200
        assert_sealed(headers)
        assert ("microphone=(self)" in headers["permissions-policy"]) == (page == "/")


UPGRADE = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")


@pytest.mark.parametrize(
    ("path", "more", "status"),
    [
        ("/v1/realtime", ("Authorization: Bearer ek_forged",), 401),
        ("/v1/realtime", ("Origin: https://evil.example",), 403),
        ("/v1/realtime?call_id=1", (), 400),
    ],
)
def test_a_handshake_that_is_refused_is_answered_in_the_same_way(node, path, more, status):
    got, headers = ask(node.port, "GET", path, *UPGRADE, *more, connection="Upgrade")
    assert got == status
    assert_sealed(headers)
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/v1/realtime/client_secrets", "/v1/realtime/sessions"])
def test_what_holds_a_secret_is_kept_nowhere(node, path):
    status, headers = ask(node.port, "POST", path)
    assert (status, headers["cache-control"]) == (200, "no-store")


def test_what_an_answer_says_itself_stays(node):
    assert ask(node.port, "GET", "/")[1]["cache-control"] == "no-cache"
    assert "script-src 'self'" in ask(node.port, "GET", "/")[1]["content-security-policy"]


def test_strangers_are_not_told_the_version(node):
    with socket.create_connection(("127.0.0.1", node.port), timeout=10) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        while more := plain.recv(1 << 16):
            answer += more
    head, _, body = answer.partition(b"\r\n\r\n")
    assert json.loads(body) == {"status": "ok"}
    assert b"uvicorn" not in head
    assert b"server:" not in head.lower()


def test_with_tls_browsers_are_told_to_ask_for_nothing_else_but_not_of_localhost(tmp_path):
    certificate, key = self_signed(tmp_path)
    context = ssl.create_default_context(cafile=certificate)
    with running_node(fake_engines(), tls_certificate=certificate, tls_key=key) as node:
        for path in ("/", "/nowhere", "/healthz"):
            assert ask(node.port, "GET", path, context=context)[1]["strict-transport-security"] == "max-age=31536000"
            for host in ("localhost", f"LOCALHOST:{node.port}"):
                assert "strict-transport-security" not in ask(node.port, "GET", path, context=context, host=host)[1]
