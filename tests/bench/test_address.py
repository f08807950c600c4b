import pytest

from voiceedge.bench.address import endpoint, shown_url, turn_detection
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


@pytest.mark.parametrize("url", ["", "ftp://h", "http://", "h:port", "ws://h:99999", "ws://[h"])
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


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("localhost:8080", "localhost:8080"),
        ("ws://[::1]:8080/v1", "ws://[::1]:8080/v1"),
        ("wss://user:pass@node.example/v1?token=a#b", "wss://node.example/v1"),
        ("user:pass@host:1", "host:1"),
        ("host:1?token=a/b", "host:1"),
        ("https://a@b@host", "https://host"),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(url, shown):
    assert shown_url(url) == shown
