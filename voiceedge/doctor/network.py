"""The port that a node would listen on, and the way to the other nodes."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Sequence

from voiceedge.doctor.finding import Finding
from voiceedge.regions.nodes import Candidate
from voiceedge.regions.probing import Probe, Reading, measure_now

ASKED_S = 2.0
"""Who answers on this machine does so at once."""
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - only asked for, not listened on
"""Where to ask who listens, for an address that stands for all."""


def port_findings(host: str, port: int, *, secure: bool) -> list[Finding]:
    """Whether a node could listen there; if not, who does."""
    if port == 0:
        return [Finding("network", "ok", f"the system chooses a port on {host}")]
    taken = _taken(host, port)
    if taken is None:
        return [Finding("network", "ok", f"port {port} on {host} is free")]
    if taken.errno != errno.EADDRINUSE:
        advice = "Choose another with --host and --port."
        return [Finding("network", "problem", f"cannot listen on {host}:{port}: {taken.strerror or taken}", advice)]
    return [_served(who_listens(host, port, secure=secure), host, port)]


def who_listens(host: str, port: int, *, secure: bool) -> Reading:
    """Ask whoever has taken the port."""
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # this machine itself: nothing is told, only asked
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    node = Candidate("this machine", ANY.get(host, host), port, secure)
    return measure_now([node], None, Probe(tries=1, timeout_s=ASKED_S, tls=anybody))[0]


def _served(listener: Reading, host: str, port: int) -> Finding:
    if listener.state in {"no node", "unreachable"}:
        advice = "Stop what uses it, or choose another with --port."
        return Finding("network", "problem", f"port {port} on {host} is taken, and not by a node", advice)
    version = f" {listener.version}" if listener.version else ""
    sessions = f"{listener.sessions} of {listener.max_sessions} sessions"
    return Finding(
        "network", "ok", f"port {port} on {host}: VoiceEdge{version} serves it, {listener.state}, {sessions}"
    )


def region_findings(readings: Sequence[Reading]) -> list[Finding]:
    """How far away the configured nodes are."""
    return [_region(reading) for reading in readings]


def _region(reading: Reading) -> Finding:
    name = reading.node.name
    if reading.round_trip_ms is None:
        return Finding("regions", "warning", f"{name}: {reading.state}", reading.reason)
    floor = "" if reading.floor_ms is None else f", {reading.floor_ms:.1f} ms at two thirds of c"
    text = f"{name}: {reading.round_trip_ms:.1f} ms there and back{floor}; {reading.state}"
    if reading.state == "ready":
        return Finding("regions", "ok", text)
    return Finding("regions", "warning", text, reading.reason)


def _taken(host: str, port: int) -> OSError | None:
    """Why the port cannot be bound; None where it can."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
    except OSError as error:
        return error
    except UnicodeError:  # of getaddrinfo, for parts of a name that are empty or too long
        return OSError(errno.EINVAL, "no host can have such a name")
    return None
