import socket
from contextlib import ExitStack
from http.client import HTTPConnection

import pytest
from websockets.sync.client import connect

from tests.e2e.nodes import running_node
from voiceedge.engines.fake import fake_engines
from voiceedge.errors import ConfigError
from voiceedge.server import knocking, request
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


def idle(node, count):
    return [connected(node) for _ in range(count)]


def test_connections_that_wait_shut_nobody_out_and_sessions_are_none_of_them(node, monkeypatch):
    monkeypatch.setattr(knocking, "OF_ONE", 5)
    with ExitStack() as clients:
        talking = clients.enter_context(connect(node.url))
        talking.recv()
        first, *_ = [clients.enter_context(client) for client in idle(node, 12)]
        assert until_the_end(first) == b""
        asking = HTTPConnection("127.0.0.1", node.port, timeout=10)
        asking.request("GET", "/healthz")
        assert asking.getresponse().status == 200
        asking.close()
        assert node.admission.refusals["idle"] >= 7
        talking.send('{"type": "input_audio_buffer.clear"}')
        assert "input_audio_buffer.cleared" in talking.recv()


def test_who_has_been_answered_and_stays_is_one_that_waits(node, monkeypatch):
    monkeypatch.setattr(knocking, "OF_ONE", 5)
    client = HTTPConnection("127.0.0.1", node.port, timeout=3)  # sooner than for the time it may stay
    client.request("GET", "/healthz")
    assert client.getresponse().read()
    with ExitStack() as clients:
        for other in idle(node, 12):
            clients.enter_context(other)
        assert until_the_end(client.sock) == b""
    client.close()


def test_a_node_answers_one_request_after_another_on_the_same_connection(node):
    client = HTTPConnection("127.0.0.1", node.port, timeout=10)
    for _ in range(2):
        client.request("GET", "/healthz")
        taken = client.sock
        assert client.getresponse().read().startswith(b'{"status":"ok"')
        assert client.sock is taken is not None
    client.close()
