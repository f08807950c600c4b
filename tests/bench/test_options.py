from pathlib import Path

import pytest

from voiceedge.bench.options import A_SECOND, BenchOptions, check, endpoint, turn_detection
from voiceedge.bench.tape import Tapes
from voiceedge.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("localhost:8080", "ws://localhost:8080/v1/realtime"),
        ("http://localhost:8080", "ws://localhost:8080/v1/realtime"),
        ("http://localhost:8080/", "ws://localhost:8080/v1/realtime"),
        ("https://node.example/v1", "wss://node.example/v1/realtime"),
        ("ws://10.0.0.1:9/v1/realtime", "ws://10.0.0.1:9/v1/realtime"),
        ("wss://node.example/edge/v1/realtime/", "wss://node.example/edge/v1/realtime"),
        ("ws://[::1]:8080", "ws://[::1]:8080/v1/realtime"),
    ],
)
def test_every_form_of_an_address_leads_to_the_realtime_endpoint(url, address):
    assert endpoint(url, "m") == f"{address}?trace=1&model=m"


def test_a_query_of_the_user_is_kept_and_the_model_is_escaped():
    assert endpoint("ws://h:1/v1/realtime?region=nrt", "a b") == ("ws://h:1/v1/realtime?region=nrt&trace=1&model=a+b")


@pytest.mark.parametrize("url", ["", "ftp://h", "http://", "h:port", "ws://h:99999"])
def test_what_is_no_address_is_refused_in_one_line(url):
    with pytest.raises(ConfigError) as refused:
        endpoint(url, "m")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("stated", "sent"),
    [
        ("semantic_vad", {"type": "semantic_vad"}),
        ("semantic_vad:low", {"type": "semantic_vad", "eagerness": "low"}),
        ("server_vad", {"type": "server_vad"}),
        ("server_vad:500", {"type": "server_vad", "silence_duration_ms": 500}),
    ],
)
def test_turn_detection_is_stated_in_a_word(stated, sent):
    assert turn_detection(stated) == sent


@pytest.mark.parametrize("stated", ["", "none", "server_vad:soon", "server_vad:-1", "semantic_vad:500"])
def test_unknown_turn_detection_is_refused(stated):
    with pytest.raises(ConfigError, match="turn detection"):
        turn_detection(stated)


@pytest.mark.parametrize("asked", [{"sessions": 0}, {"runs": 0}, {"turns": 0}, {"sessions": -2}])
def test_nobody_or_nothing_makes_no_run(asked):
    with pytest.raises(ConfigError, match=f"{next(iter(asked))} is .*: at least 1"):
        check(BenchOptions(url="h:1", **asked))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"via_rtt_ms": -1.0}, "via-rtt is -1"),
        ({"via_rtt_ms": 60_000.0}, "0 to 5000 ms"),
        ({"via_rtt_ms": float("nan")}, "via-rtt is nan"),
        ({"barge_in": A_SECOND, "listen": "first-audible"}, "cannot be interrupted"),
        ({"tapes": Tapes(Path("t.wav"), several=True), "arrivals_per_minute": 5.0}, "no --wav"),
    ],
)
def test_what_makes_no_conversation_is_refused(asked, said):
    with pytest.raises(ConfigError, match=said):
        check(BenchOptions(url="h:1", **asked))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"at_most": 0}, "at-most is 0: at least 1"),
        ({"soak_s": 0.0}, "soak is 0"),
        ({"soak_s": float("inf")}, "soak is inf"),
        ({"arrivals_per_minute": -1.0}, "arrivals is -1"),
        ({"ramp": True, "soak_s": 60.0}, "neither --soak nor --arrivals"),
        ({"ramp": True, "arrivals_per_minute": 6.0}, "neither --soak nor --arrivals"),
        ({"ramp": True, "sessions": 2}, "--sessions does not go with them"),
        ({"arrivals_per_minute": 6.0, "sessions": 2}, "--sessions does not go with them"),
        ({"ramp": True, "runs": 2}, "--runs does not go with them"),
        ({"soak_s": 60.0, "runs": 2}, "--runs does not go with them"),
    ],
)
def test_what_cannot_be_asked_for_at_the_same_time_is_refused(asked, said):
    with pytest.raises(ConfigError, match=said):
        check(BenchOptions(url="h:1", **asked))


def test_a_soak_may_be_held_by_several_and_arrivals_may_take_as_long():
    check(BenchOptions(url="h:1", soak_s=60.0, sessions=3))
    check(BenchOptions(url="h:1", soak_s=60.0, arrivals_per_minute=6.0))
    check(BenchOptions(url="h:1", arrivals_per_minute=6.0, runs=2))
