"""Whose address a request comes from: the peer's own, or what a proxy that the operator has named says of it.

`X-Forwarded-For` is a line that anybody may write. It is believed from the right, where the nearest proxy has put down
whom it was asked by, and only as far as each who wrote is one of the named. `Forwarded` and `X-Real-IP` are not read.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from voiceedge.errors import ConfigError

log = logging.getLogger(__name__)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNKNOWN = ""
"""The address of whoever has none."""
MAX_HOPS = 16
"""Proxies that one request passes: more of them are a forgery, and cost time to read."""
NETWORK_BITS = 64
"""Of an IPv6 address that is counted: a household or a machine has all of the rest to itself (RFC 6177, RFC 7934)."""
FORWARDED_FOR = b"x-forwarded-for"
NOT_NAMED = (
    "X-Forwarded-For came from an address that the setting 'proxies' does not name. If that is your proxy, name it: "
    "all who come through it are counted as one, and wait together when one of them brings bad keys."
)


class Proxies:
    """The proxies that an operator has named."""

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._networks = tuple(networks)
        self._has_told = False

    def client(self, scope: Mapping[str, Any]) -> str:
        """The address of whoever asks, as it is counted: of IPv6 the network (`2001:db8:1:2::/64`).

        The peer's own, unless that is a named proxy: then the rightmost one of `X-Forwarded-For` that is none. A line
        that cannot be read up to there says nothing. `UNKNOWN` for a peer without an address.
        """
        peer = _peer(scope)
        return UNKNOWN if peer is None else _counted(self._behind(peer, scope))

    def is_proxy(self, scope: Mapping[str, Any]) -> bool:
        """Whether what asks is one of them, whomever it asks for."""
        peer = _peer(scope)
        return peer is not None and self._names(peer)

    def _names(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def _behind(self, peer: Address, scope: Mapping[str, Any]) -> Address:
        lines = [value.decode("latin-1") for name, value in scope["headers"] if name == FORWARDED_FOR]
        if not lines:
            return peer
        if not self._names(peer):
            self._tell()
            return peer
        client = peer
        for hop in reversed(",".join(lines).rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
            address = read_address(_without_port(hop.strip()))
            if address is None:
                return peer
            client = address
            if not self._names(client):
                break
        return client

    def _tell(self) -> None:
        """Say once that a proxy may have been forgotten; it may also be a stranger who says such things."""
        if not self._has_told:
            self._has_told = True
            log.warning(NOT_NAMED)


def read_proxies(stated: str) -> Proxies:
    """Read `10.0.0.7, 10.1.0.0/16, 2001:db8::/32`.

    Raises:
        ConfigError: one of them is neither an address nor a network, or is everybody.
    """
    return Proxies(_network(name.strip()) for name in stated.split(",") if name.strip())


def read_address(text: str) -> Address | None:
    """An address, an IPv4 one that is written as IPv6 as what it is; None for anything else."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    # without the name of an interface, which whoever writes it may choose
    return address.ipv4_mapped or IPv6Address(int(address))


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own."""
    return host == "localhost" or is_loopback_address(host)


def is_loopback_address(text: str) -> bool:
    """Whether an address is this machine's own."""
    address = read_address(text)
    return address is not None and address.is_loopback


def _peer(scope: Mapping[str, Any]) -> Address | None:
    client = scope.get("client")
    return read_address(client[0]) if client else None


def _counted(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address), NETWORK_BITS), strict=False))


def _without_port(hop: str) -> str:
    """Some proxies also say the port: `192.0.2.1:4711`, `[2001:db8::1]:4711`."""
    if hop.startswith("["):
        inside, bracket, _ = hop[1:].partition("]")
        return inside if bracket else hop
    host, colon, rest = hop.partition(":")
    return host if colon and ":" not in rest else hop


def _network(text: str) -> Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ConfigError(f"Setting 'proxies' names {text!r}, which is no address and no network: {error}.") from error
    if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
        network = IPv4Network((network.network_address.ipv4_mapped, max(network.prefixlen - 96, 0)))
    if network.prefixlen == 0:
        raise ConfigError(f"Setting 'proxies' names {text!r}: that is everybody, and anybody could say any address.")
    return network
