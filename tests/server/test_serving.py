import socket

import pytest

from voiceedge.errors import ConfigError
from voiceedge.server.serving import bind


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
