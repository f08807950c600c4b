"""How long it takes to a node and back, and whether it would take a conversation.

The round trip is that of a small request on a connection that is kept: `GET /healthz`, which a node answers without
work. It passes the same proxies and the same event loop as audio does. A WebSocket ping would take a session from
somebody who wants to talk. Time to look a name up, to connect and to agree on TLS is not in it: a conversation
pays them once. TCP's own time to connect stands beside it: where it is much shorter, somebody nearer than the node
(a load balancer) picks up.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Literal

import msgspec

from voiceedge.regions.http import Connection, NoAnswer, Reply
from voiceedge.regions.nodes import Candidate, resolve
from voiceedge.regions.physics import distance_km, floor_ms
from voiceedge.regions.places import Place
from voiceedge.trace import MILLISECONDS_A_SECOND, Clock, now

TRIES = 9
"""Round trips of which the median counts: a few lost or late packets do not move it."""
TIMEOUT_S = 5.0
"""For all of one node; an answer that takes longer is none, in a conversation."""

State = Literal["ready", "full", "busy", "loading", "draining", "unreachable", "no node"]
"""What a node says of itself (`server/readiness`), or what has to be said of it."""


class _Ready(msgspec.Struct, frozen=True):
    """Of `/readyz`; other servers have other fields."""

    status: str = ""
    sessions: int | None = None
    max_sessions: int | None = None


class _Region(msgspec.Struct, frozen=True):
    name: str
    latitude: float
    longitude: float


class _About(msgspec.Struct, frozen=True):
    """Of `/v1/node`, as far as it matters here."""

    version: str | None = None
    region: _Region | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What was found out about a node."""

    node: Candidate
    state: State
    place: Place | None = None
    """Where it stands: as somebody said, else as it says itself."""
    round_trips_ms: tuple[float, ...] = ()
    """In the order they were taken; empty for a node that did not answer."""
    connect_ms: float | None = None
    """TCP's handshake: one round trip to whoever picks up."""
    sessions: int | None = None
    max_sessions: int | None = None
    version: str | None = None
    reason: str = ""
    """What is wrong with a node that is not to be used."""
    km: float | None = None
    """From where this was measured, along the great circle; None where one of the two places is unknown."""

    @property
    def round_trip_ms(self) -> float | None:
        """The median."""
        return median(self.round_trips_ms) if self.round_trips_ms else None

    @property
    def floor_ms(self) -> float | None:
        """What physics asks for."""
        return None if self.km is None else floor_ms(self.km)


@dataclass(frozen=True, slots=True)
class Probe:
    """How to measure."""

    tries: int = TRIES
    timeout_s: float = TIMEOUT_S
    tls: ssl.SSLContext | None = None
    """Whom to trust; None: whom the system trusts."""
    clock: Clock = now


def choose(readings: Sequence[Reading]) -> Reading | None:
    """The node to use: of those that would take a conversation now, the one with the shortest round trip."""
    ready = [(reading.round_trip_ms, reading) for reading in readings if reading.state == "ready"]
    timed = [(ms, reading) for ms, reading in ready if ms is not None]
    return min(timed, key=lambda pair: pair[0])[1] if timed else None


def measure_now(nodes: Sequence[Candidate], origin: Place | None, probe: Probe | None = None) -> tuple[Reading, ...]:
    """As `look`, for callers without a loop."""
    return asyncio.run(look(nodes, origin, probe or Probe()))


async def look(nodes: Sequence[Candidate], origin: Place | None, probe: Probe) -> tuple[Reading, ...]:
    """Resolve the nodes' names and measure each node, once."""
    # names are resolved each time: that is how nodes come and go behind one
    return await measure(await resolve(nodes), origin, probe)


async def measure(nodes: Sequence[Candidate], origin: Place | None, probe: Probe) -> tuple[Reading, ...]:
    """Measure nodes, all at once: one costs this machine a tenth of a millisecond in another's figure, at most.

    Args:
        nodes: which.
        origin: where this machine stands; None leaves distances unknown.
        probe: how.

    Returns:
        A reading a node, in their order.
    """
    if probe.tls is None and any(node.secure for node in nodes):
        probe = replace(
            probe, tls=ssl.create_default_context()
        )  # reads some hundred certificates: not while it is timed
    return tuple(await asyncio.gather(*(_measured(node, origin, probe) for node in nodes)))


async def _measured(node: Candidate, origin: Place | None, probe: Probe) -> Reading:
    try:
        async with asyncio.timeout(probe.timeout_s):
            reading = await _asked(node, probe)
    except TimeoutError:
        reading = _unreachable(node, f"no answer within {probe.timeout_s:g} s")
    except ssl.SSLCertVerificationError as error:
        reading = _unreachable(node, f"its certificate is not trusted: {error.verify_message}")
    except ssl.SSLError as error:
        reading = _unreachable(node, f"TLS fails: {(error.reason or str(error)).replace('_', ' ').lower()}")
    except NoAnswer as error:
        reading = Reading(node, "no node", node.place, reason=str(error))
    except OSError as error:
        reading = _unreachable(node, _said(error))
    if reading.place is None or origin is None:
        return reading
    return replace(reading, km=distance_km(origin, reading.place))


def _said(error: OSError) -> str:
    """The system's own words: asyncio's are longer. A resolver's errors have negative numbers and their own words."""
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or str(error)


def _unreachable(node: Candidate, reason: str) -> Reading:
    return Reading(node, "unreachable", node.place, reason=reason)


async def _asked(node: Candidate, probe: Probe) -> Reading:
    begun = probe.clock()
    connection = await Connection.open(node.address or node.host, node.port, node.host)
    connect_ms = (probe.clock() - begun) * MILLISECONDS_A_SECOND
    try:
        if node.secure:
            assert probe.tls is not None  # `measure` has seen to it
            await connection.secure(probe.tls)
        ready, about = await connection.get("/readyz"), await connection.get("/v1/node")
        round_trips, health = [], 0
        for _ in range(probe.tries):
            asked = probe.clock()
            health = (await connection.get("/healthz")).status
            round_trips.append((probe.clock() - asked) * MILLISECONDS_A_SECOND)
    finally:
        connection.close()
    told = _read(about, _About)
    region = told.region
    place = node.place or (None if region is None else Place(region.name, region.latitude, region.longitude))
    state, reason, counts = _state(ready, health)
    return Reading(
        node,
        state,
        place,
        tuple(round_trips),
        connect_ms,
        counts.sessions,
        counts.max_sessions,
        told.version,
        reason,
    )


def _state(ready: Reply, health: int) -> tuple[State, str, _Ready]:
    """What a node says of itself, why it is not to be used, and how many sessions it has."""
    told = _read(ready, _Ready)
    if health != 200 or told.status not in {"ready", "busy", "loading", "draining"}:
        return "no node", f"it answers /healthz with {health} and /readyz with {ready.status}", told
    if told.status == "draining":
        return "draining", "it is about to stop", told
    if told.status == "busy":
        return "busy", "it has no time for one more conversation", told
    if told.status == "loading":
        return "loading", "it loads an engine anew", told
    if told.sessions is not None and told.max_sessions is not None and told.sessions >= told.max_sessions:
        return "full", f"all {told.max_sessions} sessions are taken", told
    return "ready", "", told


def _read(reply: Reply, kind: type[Any]) -> Any:
    """A reply as `kind`; what cannot be understood says nothing."""
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return kind()
