import socket
from http.client import HTTPConnection

import pytest

from tests.e2e.nodes import running_node
from voiceedge.engines.fake import fake_engines
from voiceedge.errors import ConfigError
from voiceedge.server import request
from voiceedge.server.serving import bind


@pytest.fixture(scope="module")
def node():
    with running_node(fake_engines()) as node:
        yield node


def connected(node):
    return socket.create_connection(("127.0.0.1", node.port), timeout=10)


def until_the_end(client):
    """All that the node still sends; nothing, where it cut the connection off with bytes unread."""
    answer = b""
    try:
        while chunk := client.recv(4096):
            answer += chunk
    except ConnectionResetError:
        pass
    return answer


def test_port_0_takes_a_free_port():
    with bind("127.0.0.1", 0) as bound:
        assert bound.getsockname()[1] > 0


def test_a_bound_port_does_not_answer_yet():
    with bind("127.0.0.1", 0) as bound, pytest.raises(ConnectionRefusedError):
        socket.create_connection(bound.getsockname(), timeout=1)


def test_a_taken_port_says_what_to_do():
    with bind("127.0.0.1", 0) as bound:
        bound.listen()
        with pytest.raises(ConfigError, match=r"is taken.*--port"):
            bind("127.0.0.1", bound.getsockname()[1])


def test_a_host_of_another_machine_is_named():
    with pytest.raises(ConfigError, match=r"Cannot listen on 192\.0\.2\.1:0"):
        bind("192.0.2.1", 0)


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example"])
def test_what_is_no_name_of_a_host_is_said_so(host):
    with pytest.raises(ConfigError, match="no name of a host"):
        bind(host, 0)


def test_a_node_refuses_a_head_that_is_too_long(node):
    with connected(node) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nCookie: ".ljust(request.HEAD_BYTES + 1, b"a"))
        assert until_the_end(client).startswith(b"HTTP/1.1 400 ")


def test_a_node_gives_up_who_begins_a_request_and_waits(node, monkeypatch):
    monkeypatch.setattr(request, "REQUEST_S", 0.01)
    with connected(node) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        assert until_the_end(client) == b""


def test_a_node_answers_one_request_after_another_on_the_same_connection(node):
    client = HTTPConnection("127.0.0.1", node.port, timeout=10)
    for _ in range(2):
        client.request("GET", "/healthz")
        taken = client.sock
        assert client.getresponse().read().startswith(b'{"status":"ok"')
        assert client.sock is taken is not None
    client.close()
