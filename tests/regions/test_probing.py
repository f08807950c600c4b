"""Round trips to nodes that are as far away as a planted clock says."""

import ssl
from typing import get_args

import pytest

from tests.certificates import self_signed
from tests.regions.nodes import PARIS, READY, a_node, listening
from voiceedge.regions.nodes import Candidate
from voiceedge.regions.places import Place, find
from voiceedge.regions.probing import Probe, Reading, choose, measure, measure_now
from voiceedge.regions.rendering import COLOURS
from voiceedge.server import readiness

LONDON = find("London")


async def reading_of(node, origin=None, *, place=None, **probe):
    async with listening(node) as port:
        there = Candidate("there", "127.0.0.1", port, secure=False, place=place)
        clock = {"clock": node.clock} if hasattr(node, "clock") else {}
        (reading,) = await measure([there], origin, Probe(**clock, **probe))
    return reading


async def test_the_median_of_the_round_trips_counts():
    reading = await reading_of(a_node(20, 500, 30, 25, 10), tries=5)
    assert reading.round_trips_ms == pytest.approx((20, 500, 30, 25, 10))
    assert reading.round_trip_ms == pytest.approx(25)


async def test_all_questions_go_over_one_connection():
    node = a_node()
    await reading_of(node, tries=4)
    assert node.connections == 1
    assert node.asked == ["/readyz", "/v1/node", *["/healthz"] * 4]


async def test_time_to_connect_and_to_ask_for_the_rest_is_no_round_trip():
    reading = await reading_of(a_node(7), tries=3)
    assert reading.round_trips_ms == pytest.approx((7, 7, 7))
    assert reading.connect_ms == 0


async def test_a_node_says_where_it_stands_and_who_it_is():
    reading = await reading_of(a_node(about={"version": "1.2", "region": PARIS, "models": []}), LONDON)
    assert (reading.version, reading.place) == ("1.2", Place(**PARIS))
    assert reading.km == pytest.approx(344, rel=0.02)
    assert reading.floor_ms == pytest.approx(3.44, rel=0.02)


async def test_what_the_file_says_of_a_place_wins_over_the_node():
    reading = await reading_of(a_node(about={"region": PARIS}), LONDON, place=find("Tokyo"))
    assert reading.place.name == "Tokyo"


@pytest.mark.parametrize("about", [None, {"region": None}, {"region": {"name": "x"}}, b"<html>", [1]])
async def test_a_node_that_says_nothing_of_its_place_is_measured_all_the_same(about):
    reading = await reading_of(a_node(12, about=about), LONDON)
    assert (reading.state, reading.place, reading.km, reading.floor_ms) == ("ready", None, None, None)
    assert reading.round_trip_ms == pytest.approx(12)


async def test_without_a_start_the_distance_is_unknown():
    assert (await reading_of(a_node(about={"region": PARIS}))).km is None


@pytest.mark.parametrize(
    ("ready", "state"),
    [
        ((200, READY), "ready"),
        ((200, {"status": "ready"}), "ready"),
        ((200, {"status": "ready", "sessions": 8, "max_sessions": 8}), "full"),
        ((503, {"status": "draining", "sessions": 2, "max_sessions": 8}), "draining"),
        ((503, {"status": "busy", "sessions": 2, "max_sessions": 8}), "busy"),
        ((503, {"status": "loading", "missing": ["stt"], "sessions": 2, "max_sessions": 8}), "loading"),
        ((404, {"detail": "Not Found"}), "no node"),
        ((200, b"welcome to nginx"), "no node"),
    ],
)
async def test_a_node_says_whether_it_would_take_a_conversation(ready, state):
    reading = await reading_of(a_node(5, ready=ready))
    assert reading.state == state
    assert bool(reading.reason) == (state != "ready")


@pytest.mark.parametrize("status", get_args(readiness.State))
async def test_every_state_that_a_node_can_be_in_is_known_here(status):
    reading = await reading_of(a_node(5, ready=(200 if status == "ready" else 503, {"status": status})))
    assert reading.state == status
    assert status in COLOURS


async def test_what_does_not_speak_http_is_no_node():
    async def ssh(_, writer):
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await writer.drain()
        writer.close()

    reading = await reading_of(ssh)
    assert (reading.state, reading.reason) == ("no node", "it does not speak HTTP")


async def test_who_hangs_up_is_no_node():
    async def shy(reader, writer):
        await reader.read(1)
        writer.close()

    assert (await reading_of(shy)).state in {"no node", "unreachable"}


async def test_an_answer_without_an_end_is_given_up():
    async def chatty(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + bytes(3 << 20))
        writer.close()

    assert (await reading_of(chatty)).reason == "it does not stop talking"


async def test_who_says_nothing_is_unreachable_when_the_time_is_up():
    async def silent(reader, writer):
        await reader.read()  # until the other side has had enough
        writer.close()

    reading = await reading_of(silent, place=find("Tokyo"), timeout_s=0.01)
    assert (reading.state, reading.reason) == ("unreachable", "no answer within 0.01 s")
    assert reading.round_trip_ms is None


async def test_a_port_that_nobody_listens_on_is_unreachable_but_its_distance_is_known():
    async with listening(a_node()) as port:
        pass
    (reading,) = await measure(
        [Candidate("gone", "127.0.0.1", port, secure=False, place=find("Paris"))], LONDON, Probe()
    )
    assert (reading.state, reading.reason) == ("unreachable", "Connection refused")
    assert reading.km == pytest.approx(344, rel=0.02)


async def test_one_that_is_unreachable_does_not_keep_the_others_from_being_measured():
    async with listening(a_node()) as closed:
        pass
    async with listening(a_node()) as port:
        nodes = [Candidate(str(n), "127.0.0.1", n, secure=False) for n in (closed, port)]
        assert [reading.state for reading in await measure(nodes, None, Probe(tries=1))] == ["unreachable", "ready"]


# ── TLS ───────────────────────────────────────────────────────────────────────────────────────────────────


async def secure_reading(node, trust, served=None):
    async with listening(node, ssl=served) as port:
        there = Candidate("there", "127.0.0.1", port, secure=True)
        clock = {"clock": node.clock} if hasattr(node, "clock") else {}
        (reading,) = await measure([there], None, Probe(tries=2, tls=trust, **clock))
    return reading


@pytest.fixture
def tls(tmp_path):
    """What a node serves with, and a client that trusts it."""
    certificate, key = self_signed(tmp_path)
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(certificate, key)
    return served, ssl.create_default_context(cafile=certificate)


async def test_a_node_with_tls_is_measured_inside_of_it(tls):
    served, trust = tls
    reading = await secure_reading(a_node(9), trust, served)
    assert (reading.state, reading.round_trip_ms) == ("ready", pytest.approx(9))


async def test_a_certificate_that_nobody_trusts_makes_a_node_unreachable(tls):
    served, _ = tls
    reading = await secure_reading(a_node(9), None, served)
    assert reading.state == "unreachable"
    assert reading.reason.startswith("its certificate is not trusted: self")


async def test_a_node_without_tls_where_tls_is_expected_is_unreachable(tls):
    async def plain(reader, writer):
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    reading = await secure_reading(plain, tls[1])
    assert reading.state == "unreachable"
    assert reading.reason.startswith("TLS fails: ")


# ── which to use ──────────────────────────────────────────────────────────────────────────────────────────


def reading(name, ms, state="ready"):
    return Reading(Candidate(name, name, 80, secure=False), state, round_trips_ms=(ms,) if ms is not None else ())


def test_the_nearest_of_those_that_are_ready_is_chosen():
    nodes = [
        reading("far", 160.0),
        reading("full", 1.0, "full"),
        reading("near", 20.0),
        reading("draining", 2.0, "draining"),
        reading("gone", None, "unreachable"),
        reading("nginx", 0.5, "no node"),
    ]
    assert choose(nodes).node.name == "near"


def test_where_none_is_ready_none_is_chosen():
    assert choose([reading("full", 1.0, "full"), reading("gone", None, "unreachable")]) is None
    assert choose([]) is None


def test_it_can_be_measured_without_a_loop():
    (reading,) = measure_now([Candidate("nobody", "127.0.0.1", 1, secure=False)], None, Probe(timeout_s=2))
    assert reading.state == "unreachable"
