import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.rows import exchange, row
from voiceedge.bench.row import turn_row
from voiceedge.bench.wire import PathSegment


def test_the_leading_silence_of_the_voice_has_its_own_figure():
    found = turn_row(exchange("a", 0.5, silent_s=0.2))
    assert found.leading_silence_ms == pytest.approx(200.0)
    assert found.client_v2v_ms == pytest.approx(500.0)
    assert found.remainder_ms == pytest.approx(10.0)


def test_the_latest_append_speaks_for_a_turn():
    assert turn_row(exchange("a", 0.5)).send_lag_ms == pytest.approx(4.0)


def test_the_round_trip_around_the_turn_is_its_network():
    found = exchange("a", 0.5)
    found.trips_s = [0.010, 0.030, 0.020]
    assert turn_row(found).network_ms == pytest.approx(20.0)
    assert turn_row(exchange("a", 0.5)).network_ms is None


def test_the_moment_of_zero_and_the_connection_are_kept():
    found = turn_row(exchange("a", 0.5), 2, 3, 4)
    assert (found.zero_s, found.run, found.session, found.connection) == (1.0, 2, 3, 4)


def test_network_silence_and_shift_explain_what_the_client_measured_beyond_the_node():
    found = row("a", 540.0, network_ms=30.0, leading_silence_ms=5.0, zero_shift_ms=12.0)
    assert found.remainder_ms == pytest.approx(50.0)
    assert found.unexplained_ms == pytest.approx(3.0)
    assert row("a", 540.0, leading_silence_ms=None).unexplained_ms == pytest.approx(50.0)
    assert row("a", None).unexplained_ms is None


@given(st.floats(-200, 2000), *[st.none() | st.floats(-300, 300)] * 3)
def test_the_legs_add_up_to_what_the_client_measured(client_ms, shift_ms, network_ms, silence_ms):
    found = row("a", client_ms, zero_shift_ms=shift_ms, network_ms=network_ms, leading_silence_ms=silence_ms)
    assert sum(leg.ms for leg in found.legs) == pytest.approx(client_ms, abs=1e-6)
    assert found.legs[-1].segment == "unexplained"


def test_who_failed_or_tells_no_path_has_no_legs():
    assert row("a", None).legs == ()
    assert row("a", critical_path=()).legs == ()
    assert row("a", server_v2v_ms=None).legs == ()


def test_waiting_queueing_and_computing_are_told_apart():
    path = [("wait", 200.0), ("end_of_turn", 8.0), ("stt", 40.0), ("queue", 7.0), ("send", 1.0), ("weighing", 99.0)]
    found = row("a", critical_path=tuple(PathSegment(*part) for part in path))
    assert (found.wait_ms, found.queue_ms, found.compute_ms) == (200.0, 7.0, 49.0)
    assert row("a", critical_path=()).wait_ms is None


def test_a_transcript_is_wrong_only_where_it_is_known_what_was_said():
    assert row("a", user_text="a red house", expected_text="half past two").wrong_transcript
    assert not row("a", user_text="half past two", expected_text="Half past two.").wrong_transcript
    assert not row("a", user_text="a red house", expected_text=None).wrong_transcript
