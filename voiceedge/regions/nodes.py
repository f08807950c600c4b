"""Which nodes there are to choose from: a TOML file, addresses, or a DNS name with an address for each node.

[[node]]
url = "wss://tokyo.example.com"
name = "tokyo"                     # optional: else the host
region = "ap-northeast-1"          # optional: else what the node itself says
latitude = 35.68                   # optional, with longitude: instead of the table's
longitude = 139.69
"""

from __future__ import annotations

import asyncio
import socket
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from voiceedge.errors import ConfigError
from voiceedge.regions.places import Place, here

SECURE = {"ws": False, "http": False, "wss": True, "https": True}
"""Schemes, and whether they mean TLS."""
PORTS = {False: 80, True: 443}
DEFAULT_PORT = 8080
"""Where a node listens, for an address without a scheme and a port."""
DNS_S = 5.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that could be used."""

    name: str
    host: str
    port: int
    secure: bool
    place: Place | None = None
    """Where somebody said it stands; None asks the node."""
    address: str | None = None
    """One IP address of several that the host has; None takes what the system prefers."""

    @property
    def url(self) -> str:
        """Where a client connects to."""
        scheme = "wss" if self.secure else "ws"
        port = "" if self.port == PORTS[self.secure] else f":{self.port}"
        return f"{scheme}://{_bracketed(self.host)}{port}/v1/realtime"


class _Node(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `[[node]]` of the file."""

    url: str
    name: str | None = None
    region: str | None = None
    latitude: float | None = None
    longitude: float | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    node: list[_Node]


def candidate(url: str, name: str | None = None, place: Place | None = None) -> Candidate:
    """Read an address: `wss://host`, `http://host:port`, `host:port` or `host`, with or without a path.

    Raises:
        ConfigError: it is none of these.
    """
    try:
        parts = urlsplit(url if "://" in url else f"//{url}")
        port, host = parts.port, parts.hostname
        (host or "").encode("idna")  # as the resolver will, which is too late to say so
    except UnicodeError as error:
        raise ConfigError(f"{url!r} is no address of a node: no host can have such a name.") from error
    except ValueError as error:
        raise ConfigError(f"{url!r} is no address of a node: {error}.") from error
    if not host or (parts.scheme and parts.scheme not in SECURE):
        raise ConfigError(f"{url!r} is no address of a node: give wss://HOST, ws://HOST:PORT or HOST:PORT.")
    secure = SECURE.get(parts.scheme, False)
    if port is None:
        port = PORTS[secure] if parts.scheme else DEFAULT_PORT
    return Candidate(name or host, host, port, secure, place)


def read_nodes(path: Path) -> tuple[Candidate, ...]:
    """Read a file of nodes.

    Raises:
        ConfigError: it cannot be read or is not what it should be; names the node.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        nodes = msgspec.convert(table, _File).node
    except OSError as error:
        raise ConfigError(f"Cannot read the file of nodes {path}: {error.strerror}.") from error
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path} is no file of nodes ([[node]] with url, name, region): {error}.") from error
    if not nodes:
        raise ConfigError(f"{path} names no node; give each as [[node]] with its url.")
    found = []
    for number, node in enumerate(nodes, 1):
        try:
            place = here(node.region, node.latitude, node.longitude)
            found.append(candidate(node.url, node.name, place))
        except ConfigError as error:
            raise ConfigError(f"{path}, node {number} ({node.name or node.url}): {error}") from error
    return tuple(found)


async def resolve(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """One candidate for every address that a host has, each with its address; those of one address stay as they are.

    A name that cannot be resolved stays as well, and is unreachable when it is measured. Only A and AAAA records
    count: the system's resolver, which also knows /etc/hosts, tells of no SRV records.
    """
    resolved = await asyncio.gather(*(_addresses(each) for each in candidates))
    return tuple(each for group in resolved for each in group)


async def _addresses(each: Candidate) -> list[Candidate]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(DNS_S):
            found = await loop.getaddrinfo(each.host, each.port, type=socket.SOCK_STREAM)
    except OSError:  # TimeoutError is one
        return [each]
    addresses = list(dict.fromkeys(str(sockaddr[0]) for _, _, _, _, sockaddr in found))
    # the name is the host alone where that is enough to tell
    if len(addresses) == 1:
        return [replace(each, address=addresses[0])]
    if each.host == "localhost":  # one node that is called by either family
        return [each]
    return [replace(each, name=f"{each.name} {address}", address=address) for address in addresses]


def _bracketed(host: str) -> str:
    """An IPv6 address as URLs hold it."""
    return f"[{host}]" if ":" in host else host
