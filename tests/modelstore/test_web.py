"""What servers answer, and what is made of it."""

import socket
import threading
from contextlib import closing

import pytest

from voiceedge.modelstore.web import BrokeOff, SourceFailed, Web


@pytest.fixture
def answering():
    """A server that gives every caller the same bytes and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve(reply: bytes) -> str:
            def answer():
                with server.accept()[0] as caller:
                    caller.recv(65_536)
                    caller.sendall(reply)

            threads.append(threading.Thread(target=answer))
            threads[-1].start()
            return f"http://127.0.0.1:{server.getsockname()[1]}/w"

        threads: list[threading.Thread] = []
        yield serve
        for thread in threads:
            thread.join(10)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


def test_a_range_that_no_longer_fits_is_asked_for_from_the_beginning(site):
    site.pages["/w"], site.tags["/w"] = b"short", '"t"'
    with closing(Web({}).get(site.url("/w"), 100)) as answer:
        assert (answer.offset, answer.validator) == (0, '"t"')
        assert b"".join(answer.chunks()) == b"short"


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        (b'ETag: "strong"\r\n', '"strong"'),
        (b'ETag: W/"weak"\r\n', None),
        (b'ETag: W/"weak"\r\nLast-Modified: Mon, 23 Nov 2026 10:00:00 GMT\r\n', "Mon, 23 Nov 2026 10:00:00 GMT"),
        (b"", None),
    ],
)
def test_only_a_strong_tag_or_a_time_can_be_a_condition(answering, headers, validator):
    url = answering(b"HTTP/1.1 200 OK\r\n" + headers + b"Content-Length: 0\r\n\r\n")
    with closing(Web({}).get(url)) as answer:
        assert answer.validator == validator


def test_a_part_of_which_nobody_knows_where_it_belongs_is_refused(answering):
    url = answering(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 1\r\n\r\nx")
    with pytest.raises(SourceFailed, match="without saying which"):
        Web({}).get(url, 5)


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive.",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfive.\r\n5\r\nfi",
    ],
)
def test_a_body_that_ends_too_early_has_broken_off(answering, reply):
    with closing(Web({}).get(answering(reply))) as answer, pytest.raises(BrokeOff):
        list(answer.chunks())


def test_what_is_no_http_is_told(answering):
    with pytest.raises(SourceFailed, match="broke off"):
        Web({}).get(answering(b"SSH-2.0-x\r\n"))
