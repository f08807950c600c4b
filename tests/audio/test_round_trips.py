"""What audio goes through on its way, held against soxr and against the best that G.711 can do."""

import pytest

from tests.audio.round_trips import PAIRS, apart_db, by_chunks, law_db, passed, rows, telephone, theirs
from voiceedge.audio.codec import codec
from voiceedge.audio.resample import Resampler, resample

LAWS = ("audio/pcmu", "audio/pcma")


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0]}-{pair[1]}", scope="module")
def pair(request):
    return request.param


def test_levels_in_the_pass_band_are_those_of_soxr(pair):
    assert passed(resample, *pair).level_db == pytest.approx(passed(theirs, *pair).level_db, abs=0.001)


def test_resampling_delays_nothing(pair):
    assert abs(passed(resample, *pair).delay_samples) < 1e-3


def test_aliases_and_images_are_80_db_down(pair):
    assert passed(resample, *pair).aliases_db < -80


def test_the_reference_is_better_than_what_is_asked_of_us(pair):
    assert passed(theirs, *pair).aliases_db < -120


def test_noise_in_the_pass_band_comes_out_as_from_soxr(pair):
    assert apart_db(*pair) < -80


@pytest.mark.parametrize("chunk_ms", [1, 20, 33, 250])
def test_chunks_do_not_change_what_comes_out(pair, chunk_ms):
    assert by_chunks(chunk_ms, *pair) < 1e-6


def test_a_measured_delay_would_be_seen(pair):
    def late(audio, rate_in_hz, rate_out_hz):
        resampler = Resampler(rate_in_hz, rate_out_hz)  # without its flush, and a sample late
        return resampler.push(audio)[1:]

    assert passed(late, *pair).delay_samples == pytest.approx(-1, abs=1e-3)


def test_a_coarse_resampling_would_be_seen(pair):
    def nearest(audio, rate_in_hz, rate_out_hz):
        places = range(round(audio.size * rate_out_hz / rate_in_hz))
        return audio[[min(round(place * rate_in_hz / rate_out_hz), audio.size - 1) for place in places]]

    assert passed(nearest, *pair).aliases_db > -20


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("level_dbfs", [-3, -10, -20, -30, -40])
def test_g711_is_as_quiet_as_its_256_values_allow(law, level_dbfs):
    ours, best = law_db(law, level_dbfs)
    assert ours == pytest.approx(best, abs=0.1)
    assert ours > 33


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("hz", [300.0, 1_013.0, 3_300.0])
def test_a_telephone_hears_the_voice_at_its_level_and_in_time(law, hz):
    heard = telephone(law, hz)
    assert heard.gain_db == pytest.approx(0, abs=0.05)
    assert abs(heard.delay_samples) < 1e-3
    assert heard.rest_db < -35


def test_the_table_has_a_row_for_each_way():
    table = "\n".join(rows())
    assert all(f"{a / 1000:g} → {b / 1000:g} kHz" in table for a, b in PAIRS)
    assert all(law in table for law in LAWS)
    assert codec(LAWS[0]).rate_hz == 8_000
