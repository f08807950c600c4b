"""Which nodes a file, an address or a name stands for."""

import asyncio
import socket

import pytest

from voiceedge.errors import ConfigError
from voiceedge.regions.nodes import Candidate, candidate, read_nodes, resolve


@pytest.mark.parametrize(
    ("url", "host", "port", "secure", "shown"),
    [
        ("wss://tokyo.example.com", "tokyo.example.com", 443, True, "wss://tokyo.example.com/v1/realtime"),
        (
            "https://tokyo.example.com:8443/v1",
            "tokyo.example.com",
            8443,
            True,
            "wss://tokyo.example.com:8443/v1/realtime",
        ),
        ("ws://10.0.0.1", "10.0.0.1", 80, False, "ws://10.0.0.1/v1/realtime"),
        ("localhost", "localhost", 8080, False, "ws://localhost:8080/v1/realtime"),
        ("edge:9000", "edge", 9000, False, "ws://edge:9000/v1/realtime"),
        ("[::1]:8080", "::1", 8080, False, "ws://[::1]:8080/v1/realtime"),
    ],
)
def test_an_address_is_read_as_people_write_it(url, host, port, secure, shown):
    node = candidate(url)
    assert (node.host, node.port, node.secure, node.url) == (host, port, secure, shown)
    assert node.name == host


@pytest.mark.parametrize(
    "url", ["ftp://host", "", "ws://", "host:port", "ws://host:99999", "http://[::1", "a..b", f"ws://{64 * 'a'}:80"]
)
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ConfigError, match="is no address of a node"):
        candidate(url)


def written(tmp_path, text):
    path = tmp_path / "nodes.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_names_nodes_and_where_they_stand(tmp_path):
    path = written(
        tmp_path,
        """
        [[node]]
        url = "wss://one.example.com"
        name = "tokyo"
        region = "nrt"
        [[node]]
        url = "ws://two.example.com:8080"
        latitude = 1
        longitude = 2.5
        [[node]]
        url = "three.example.com"
        """,
    )
    first, second, third = read_nodes(path)
    assert (first.name, first.place.name, first.secure) == ("tokyo", "Tokyo", True)
    assert (second.name, second.place.latitude, second.place.longitude) == ("two.example.com", 1, 2.5)
    assert third.place is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[node]]", "required field `url`"),
        ('[[node]]\nurl = "a"\nzone = "b"', "unknown field `zone`"),
        ("", "required field `node`"),
        ("node = []", "names no node"),
        ("[[node", "no file of nodes"),
        (
            '[[node]]\nurl = "a"\n[[node]]\nurl = "b"\nname = "bee"\nregion = "atlantis"',
            r"node 2 \(bee\): Region 'atlantis'",
        ),
        ('[[node]]\nurl = "gopher://a"', r"node 1 \(gopher://a\): 'gopher://a' is no address"),
    ],
)
def test_a_file_that_is_not_right_says_where(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        read_nodes(written(tmp_path, text))


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match="Cannot read the file of nodes"):
        read_nodes(tmp_path / "none.toml")


# ── names with several addresses ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def records(monkeypatch):
    """What the resolver knows: addresses by name."""
    known = {}

    async def getaddrinfo(_, host, port, **__):
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        # a resolver may tell of an address once for each kind of socket
        return [(0, 0, 0, "", (address, port)) for address in known[host] for _ in range(2)]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return known


async def test_each_address_of_a_name_is_a_node(records):
    records["nodes.example.com"] = ["192.0.2.1", "2001:db8::1"]
    first, second = await resolve([candidate("wss://nodes.example.com")])
    assert (first.address, first.name) == ("192.0.2.1", "nodes.example.com 192.0.2.1")
    assert (second.address, second.name) == ("2001:db8::1", "nodes.example.com 2001:db8::1")
    assert {first.url, second.url} == {"wss://nodes.example.com/v1/realtime"}


async def test_a_name_with_one_address_keeps_its_name(records):
    records["one.example.com"] = ["192.0.2.1"]
    assert await resolve([candidate("one.example.com")]) == (
        Candidate("one.example.com", "one.example.com", 8080, secure=False, address="192.0.2.1"),
    )


async def test_localhost_is_one_node_of_two_families(records):
    records["localhost"] = ["127.0.0.1", "::1"]
    assert await resolve([candidate("localhost")]) == (candidate("localhost"),)


async def test_a_name_that_nobody_knows_stays_and_the_others_are_resolved(records):
    records["known"] = ["192.0.2.7"]
    unknown, known = await resolve([candidate("unknown"), candidate("known")])
    assert (unknown.address, known.address) == (None, "192.0.2.7")
