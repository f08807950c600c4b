"""Whose address counts: the peer's, unless a proxy that was named says otherwise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.errors import ConfigError
from voiceedge.server.address import MAX_HOPS, UNKNOWN, Proxies, is_loopback, is_loopback_address, read_proxies

NAMED = read_proxies("10.0.0.0/8, 127.0.0.1, 2001:db8:aa::/48")


def scope(peer, *forwarded, **more):
    headers = [(b"host", b"node"), *((b"x-forwarded-for", line.encode()) for line in forwarded)]
    return {"client": None if peer is None else (peer, 4711), "headers": headers, **more}


# ── without a proxy ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("peer", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_a_peer_is_counted_by_its_address_and_of_ipv6_by_its_network(peer, counted):
    assert Proxies().client(scope(peer)) == counted


@pytest.mark.parametrize("peer", [None, "", "a name"])
def test_a_peer_without_an_address_has_none(peer):
    assert NAMED.client(scope(peer, "192.0.2.1")) == UNKNOWN
    assert not NAMED.is_proxy(scope(peer))


@pytest.mark.parametrize("peer", ["192.0.2.1", "11.0.0.1", "127.0.0.2", "2001:db8:ab::1", "::1"])
@pytest.mark.parametrize("line", ["203.0.113.9", "10.0.0.1", "127.0.0.1", "nonsense"])
def test_nobody_but_a_named_proxy_is_believed(peer, line):
    assert NAMED.client(scope(peer, line)) == NAMED.client(scope(peer))


# ── behind named ones ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.9.8.7", "::ffff:10.9.8.7", "2001:db8:aa::9"])
@pytest.mark.parametrize(
    ("lines", "counted"),
    [
        (["192.0.2.1"], "192.0.2.1"),
        (["203.0.113.66, 192.0.2.1"], "192.0.2.1"),
        (["10.0.0.1, 192.0.2.1"], "192.0.2.1"),
        (["nonsense, 192.0.2.1"], "192.0.2.1"),
        (["192.0.2.1, 10.0.0.5"], "192.0.2.1"),
        (["203.0.113.66", "192.0.2.1", "10.0.0.5,10.0.0.6"], "192.0.2.1"),
        (["192.0.2.1:4711"], "192.0.2.1"),
        (["::ffff:192.0.2.1"], "192.0.2.1"),
        (["2001:db8:1:2::7"], "2001:db8:1:2::/64"),
        (["[2001:db8:1:2::7]:4711"], "2001:db8:1:2::/64"),
        (["10.0.0.8, 10.0.0.5"], "10.0.0.8"),
    ],
)
def test_the_rightmost_address_that_is_no_proxys_counts(peer, lines, counted):
    assert NAMED.client(scope(peer, *lines)) == counted


@pytest.mark.parametrize(
    "line",
    ["", ",", "192.0.2.1,", "unknown", "192.0.2", "192.0.2.1.5", "192.0.2.1, x", "192.0.2.1 10.0.0.1", "[::1", "\x00"],
)
def test_a_line_that_cannot_be_read_says_nothing(line):
    assert NAMED.client(scope("10.9.8.7", line)) == "10.9.8.7"


def test_a_proxy_that_says_nothing_counts_itself():
    assert NAMED.client(scope("10.9.8.7")) == "10.9.8.7"


def test_other_headers_are_not_read():
    told = scope("10.9.8.7") | {"headers": [(b"forwarded", b"for=192.0.2.1"), (b"x-real-ip", b"192.0.2.1")]}
    assert NAMED.client(told) == "10.9.8.7"


def test_who_asks_through_more_proxies_than_there_are_is_counted_as_one_of_them():
    line = ", ".join(["192.0.2.1", *["10.0.0.1"] * MAX_HOPS])
    assert NAMED.client(scope("10.9.8.7", line)) == "10.0.0.1"


@given(forged=st.lists(st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=40), max_size=5))
def test_what_a_client_writes_itself_never_changes_how_it_is_counted(forged):
    lines = [*forged, "192.0.2.1"]  # a proxy puts down behind it whom it was asked by
    headers = [(b"x-forwarded-for", line.encode("latin-1")) for line in lines]
    assert NAMED.client({"client": ("10.0.0.1", 1), "headers": headers}) == "192.0.2.1"
    joined = [(b"x-forwarded-for", ", ".join(lines).encode("latin-1"))]
    assert NAMED.client({"client": ("10.0.0.1", 1), "headers": joined}) == "192.0.2.1"


@given(st.binary(max_size=200))
def test_no_header_breaks_it(line):
    assert NAMED.client({"client": ("10.0.0.1", 1), "headers": [(b"x-forwarded-for", line)]})


def test_a_proxy_that_may_have_been_forgotten_is_told_of_once_and_nobodys_address_with_it(caplog):
    proxies = read_proxies("10.0.0.1")
    proxies.client(scope("192.0.2.1"))
    proxies.client(scope("10.0.0.1", "192.0.2.9"))
    assert not caplog.records
    for _ in range(3):
        proxies.client(scope("192.0.2.1", "192.0.2.9"))
    (record,) = caplog.records
    assert "192.0.2" not in record.getMessage()


def test_proxies_know_each_other():
    assert NAMED.is_proxy(scope("127.0.0.1"))
    assert NAMED.is_proxy(scope("::ffff:127.0.0.1"))
    assert not NAMED.is_proxy(scope("::1"))
    assert not Proxies().is_proxy(scope("127.0.0.1"))


# ── what an operator writes ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("stated", ["", " ", ","])
def test_without_any_nobody_is_believed(stated):
    assert read_proxies(stated).client(scope("127.0.0.1", "192.0.2.1")) == "127.0.0.1"


@pytest.mark.parametrize(
    "stated",
    ["proxy.example", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.1;10.0.0.2", "/run/proxy.sock", "0.0.0.0/0", "::/0"],
)
def test_what_is_no_network_or_everybody_is_a_mistake(stated):
    with pytest.raises(ConfigError, match="'proxies'"):
        read_proxies(f"10.0.0.1,{stated}")


def test_a_network_of_ipv4_may_be_written_as_ipv6():
    assert read_proxies("::ffff:10.0.0.0/104").client(scope("10.1.2.3", "192.0.2.1")) == "192.0.2.1"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_known_however_it_is_written(host):
    assert is_loopback(host)
    assert is_loopback_address(host)


def test_localhost_is_a_name_and_no_address():
    assert is_loopback("localhost")
    assert not is_loopback_address("localhost")


@pytest.mark.parametrize(
    "host", ["", "192.0.2.1", "::", "0.0.0.0", "localhost.evil.example", "127.0.0.1.nip.io", "::ffff:192.0.2.1"]
)
def test_elsewhere_is_not_loopback(host):
    assert not is_loopback(host)
