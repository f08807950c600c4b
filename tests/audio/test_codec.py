import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.audio.codec import CODECS, codec
from voiceedge.audio.pcm import from_pcm16, to_pcm16
from voiceedge.errors import InvalidRequest

EVERY_BYTE = bytes(range(256))
EVERY_SAMPLE = np.arange(-32768, 32768).astype("<i2").tobytes()


@pytest.mark.parametrize("format_type", CODECS)
@given(data=st.binary(max_size=64), cuts=st.lists(st.integers(0, 64), max_size=4))
def test_where_messages_are_cut_does_not_change_the_audio(format_type, data, cuts):
    whole = codec(format_type).decoder().decode(data)
    decoder = codec(format_type).decoder()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [decoder.decode(data[a:b]) for a, b in pairwise(edges)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_half_a_sample_waits_for_its_other_half():
    decoder = codec("audio/pcm").decoder()
    assert decoder.decode(b"\x00").size == 0
    assert decoder.decode(b"\x40").tolist() == [0.5]


@pytest.mark.parametrize(
    ("format_type", "digest"),
    # of all 256 values as Python's audioop (ulaw2lin, alaw2lin) and Sun's g711.c give them
    [
        ("audio/pcmu", "3dab54339e520bb2c924826e3b72a917a2b612e9fd12fc867500f1d983a75827"),
        ("audio/pcma", "e04788d110e58ff8c70c93b8480190d973e3b67876b6119abbaec766cc75c174"),
    ],
)
def test_g711_code_words_have_the_values_of_the_standard(format_type, digest):
    linear = to_pcm16(codec(format_type).decoder().decode(EVERY_BYTE))
    assert hashlib.sha256(linear).hexdigest() == digest


@pytest.mark.parametrize(("word", "value"), [(0x00, -32124), (0x7E, -8), (0x80, 32124), (0xFF, 0), (0xF0, 120)])
def test_mu_law_agrees_with_the_table_of_g711(word, value):
    assert to_pcm16(codec("audio/pcmu").decoder().decode(bytes([word]))) == value.to_bytes(2, "little", signed=True)


@pytest.mark.parametrize(("word", "value"), [(0xD5, 8), (0x55, -8), (0xAA, 32256), (0x2A, -32256), (0x80, 5504)])
def test_a_law_agrees_with_the_table_of_g711(word, value):
    assert to_pcm16(codec("audio/pcma").decoder().decode(bytes([word]))) == value.to_bytes(2, "little", signed=True)


@pytest.mark.parametrize("format_type", ["audio/pcmu", "audio/pcma"])
def test_encoding_takes_the_nearest_code_word(format_type):
    law = codec(format_type)
    values = law.decoder().decode(EVERY_BYTE)
    samples = from_pcm16(EVERY_SAMPLE)
    heard = law.decoder().decode(law.encode(samples))
    edges = np.sort(values)
    above = np.clip(np.searchsorted(edges, samples), 1, 255)
    nearest = np.minimum(np.abs(edges[above] - samples), np.abs(edges[above - 1] - samples))
    assert np.array_equal(np.abs(heard - samples), nearest)


@pytest.mark.parametrize("format_type", ["audio/pcmu", "audio/pcma"])
def test_code_words_survive_the_way_there_and_back(format_type):
    law = codec(format_type)
    again = law.encode(law.decoder().decode(EVERY_BYTE))
    # µ-law's negative zero is the one value with two words
    assert [word for word in range(256) if again[word] != word] == ([0x7F] if format_type == "audio/pcmu" else [])


def test_silence_is_sent_as_the_telephone_network_expects_it():
    silence = np.zeros(1, dtype=np.float32)
    assert codec("audio/pcmu").encode(silence) == b"\xff"
    assert codec("audio/pcma").encode(silence) in (b"\xd5", b"\x55")


def test_rates_and_sizes_are_those_of_the_protocol():
    assert {name: (c.rate_hz, c.bytes_per_sample) for name, c in CODECS.items()} == {
        "audio/pcm": (24_000, 2),
        "audio/pcmu": (8_000, 1),
        "audio/pcma": (8_000, 1),
    }
    assert codec("audio/pcm").seconds(48_000) == 1.0


def test_an_unknown_format_is_the_callers_mistake_and_named():
    with pytest.raises(InvalidRequest, match=r"audio/opus.*audio/pcmu"):
        codec("audio/opus")
