import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.samples import a_session
from voiceedge.protocol.normalise import clamped_speed, common, merged, normalised, without_nulls

KEYS = st.sampled_from(
    [
        "audio",
        "input",
        "output",
        "turn_detection",
        "transcription",
        "noise_reduction",
        "format",
        "type",
        "speed",
        "voice",
        "threshold",
        "silence_duration_ms",
        "include",
        "prompt",
        "truncation",
        "tools",
        "output_modalities",
        "max_output_tokens",
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
SETTINGS = st.dictionaries(
    KEYS,
    st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4)),
)


@given(SETTINGS)
def test_any_json_passes_and_stays_as_it_was(settings):
    current = msgspec.to_builtins(a_session().wire)
    before = msgspec.json.encode([settings, current])
    merged(current, normalised(settings), default_transcription="whisper")
    assert msgspec.json.encode([settings, current]) == before


@pytest.mark.parametrize(
    ("path", "given_value", "taken"),
    [
        ("audio.input.turn_detection.threshold", 7, 1.0),
        ("audio.input.turn_detection.prefix_padding_ms", -1, 0),
        ("audio.input.turn_detection.silence_duration_ms", 10**9, 30_000),
        ("audio.input.turn_detection.idle_timeout_ms", 1, 5_000),
        ("audio.output.speed", 0.1, 0.25),
        ("temperature", -1, 0.0),
        ("max_output_tokens", 99.6, 100),
        ("max_output_tokens", "inf", "inf"),
        ("max_output_tokens", True, True),
        ("truncation.retention_ratio", -1, 0.0),
    ],
)
def test_numbers_are_brought_into_their_range_and_other_things_left_alone(path, given_value, taken):
    *outer, last = path.split(".")
    settings = {last: given_value}
    for key in reversed(outer):
        settings = {key: settings}
    found = normalised(settings)
    for key in outer:
        found = found[key]
    assert found[last] == taken
    assert type(found[last]) is type(taken)


def test_the_small_parts_do_what_they_say():
    assert without_nulls({"a": None, "b": 0, "c": ""}) == {"b": 0, "c": ""}
    assert clamped_speed({"speed": 2, "voice": "a"}) == {"speed": 1.5, "voice": "a"}
    assert common({"tools": [{"name": "f", "description": None}, 3]})["tools"] == [
        {"type": "function", "name": "f"},
        3,
    ]
