"""Who has the port, and how far the other nodes are."""

import socket

import pytest

from tests.certificates import self_signed
from tests.e2e.nodes import running_node
from voiceedge.doctor import network
from voiceedge.doctor.network import port_findings, region_findings
from voiceedge.engines.fake import fake_engines
from voiceedge.regions.nodes import Candidate
from voiceedge.regions.probing import Reading

HOST = "127.0.0.1"


def found(port, host=HOST, *, secure=False):
    (finding,) = port_findings(host, port, secure=secure)
    return finding


def test_a_free_port_is_fine():
    with socket.create_server((HOST, 0)) as server:
        port = server.getsockname()[1]
    assert (found(port).level, found(port).text) == ("ok", f"port {port} on {HOST} is free")


def test_port_0_is_the_systems_choice():
    assert found(0).level == "ok"


@pytest.mark.parametrize("secure", [False, True])
def test_a_port_that_a_node_serves_is_fine_and_told(tmp_path, secure):
    settings = dict(zip(("tls_certificate", "tls_key"), self_signed(tmp_path), strict=True)) if secure else {}
    with running_node(fake_engines(), max_sessions=3, **settings) as node:
        finding = found(node.port, secure=secure)
    assert finding.level == "ok"
    assert "VoiceEdge" in finding.text
    assert "serves it, ready, 0 of 3 sessions" in finding.text


def test_a_port_that_something_else_has_is_a_problem(monkeypatch):
    monkeypatch.setattr(network, "ASKED_S", 0.05)
    with socket.create_server((HOST, 0)) as server:
        finding = found(server.getsockname()[1])  # it listens, and never answers
    assert finding.level == "problem"
    assert "is taken, and not by a node" in finding.text
    assert "--port" in finding.advice


def test_an_address_of_another_machine_is_a_problem():
    finding = found(8080, "192.0.2.1")
    assert finding.level == "problem"
    assert finding.text.startswith("cannot listen on 192.0.2.1:8080: ")


def test_a_name_that_no_host_can_have_is_a_problem():
    finding = found(8080, "a..b")
    assert (finding.level, finding.text) == ("problem", "cannot listen on a..b:8080: no host can have such a name")


def test_the_other_nodes_are_told_with_their_distance():
    node = Candidate("tokyo", "tokyo", 443, secure=True)
    near, gone = region_findings(
        [
            Reading(node, "ready", None, (160.0,), km=10_900.0),
            Reading(node, "unreachable", None, reason="Connection refused"),
        ]
    )
    assert (near.level, near.text) == ("ok", "tokyo: 160.0 ms there and back, 109.1 ms at two thirds of c; ready")
    assert (gone.level, gone.text, gone.advice) == ("warning", "tokyo: unreachable", "Connection refused")
    full = region_findings([Reading(node, "full", None, (1.0,), reason="all are taken")])[0]
    assert (full.level, full.advice) == ("warning", "all are taken")
