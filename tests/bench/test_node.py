"""A node is asked what it is, over a real socket."""

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from voiceedge.bench import node
from voiceedge.bench.node import about_node


@contextmanager
def answering(status, body, **headers):
    """A server that gives one answer to everything; yields its address and what it was asked."""
    asked = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, dict(self.headers)))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_what_a_node_says_of_itself_is_kept_as_it_is():
    told = {"version": "1", "models": [{"stage": "llm", "sha256": "ab"}], "of": {"tomorrow": 1}}
    with answering(200, json.dumps(told).encode()) as (url, asked):
        assert about_node(f"ws://{url}/v1/realtime", "key") == told
    ((path, headers),) = asked
    assert path == "/v1/node"
    assert headers["Authorization"] == "Bearer key"


def test_without_a_key_none_is_sent():
    with answering(200, b"{}") as (url, asked):
        assert about_node(url, None) == {}
    assert "Authorization" not in asked[0][1]


@pytest.mark.parametrize(
    ("status", "body"), [(404, b"{}"), (200, b"<html>"), (200, b"[1]"), (200, b"\xff\xfe"), (500, b""), (200, b"")]
)
def test_a_node_that_says_nothing_of_itself_is_no_error(status, body):
    with answering(status, body) as (url, _):
        assert about_node(url, None) is None


def test_the_key_is_not_carried_to_where_a_redirect_points():
    with answering(200, b'{"version": "1"}') as (elsewhere, asked):
        with answering(302, b"", Location=f"http://{elsewhere}/v1/node") as (url, _):
            assert about_node(url, "key") is None
        assert asked == []


def test_a_node_that_talks_without_end_is_not_listened_to(monkeypatch):
    monkeypatch.setattr(node, "LARGEST_BYTES", 8)
    with answering(200, b'{"version": "1.2.3"}') as (url, _):
        assert about_node(url, None) is None


def test_nobody_there_is_no_error_here_for_the_session_will_say_it_better():
    with answering(200, b"{}") as (url, _):
        pass
    assert about_node(url, None) is None
