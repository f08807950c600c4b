import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.bench.playout import FirstAudible, Playout
from voiceedge.bench.recording import WIRE_RATE_HZ

SECOND = np.zeros(WIRE_RATE_HZ, np.float32)


def test_deltas_faster_than_real_time_are_played_one_behind_the_other():
    playout = Playout()
    assert playout.play(SECOND, 5.0) == 5.0
    assert playout.play(SECOND, 5.1) == 6.0
    assert playout.ends == 7.0
    assert playout.unplayed_s(6.5) == 0.5


def test_a_delta_behind_a_dry_speaker_is_played_when_it_arrives():
    playout = Playout()
    playout.play(SECOND, 5.0)
    assert playout.play(SECOND, 9.0) == 9.0


def test_a_stopped_speaker_plays_the_next_delta_at_once():
    playout = Playout()
    playout.play(np.tile(SECOND, 10), 5.0)
    playout.stop(6.0)
    assert playout.unplayed_s(6.0) == 0.0
    assert playout.play(SECOND, 6.5) == 6.5


def answer(silent_samples):
    return np.concatenate([np.zeros(silent_samples, np.float32), np.full(2400, 0.1, np.float32)])


@given(windows=st.integers(0, 50), cuts=st.lists(st.integers(0, 14_400), max_size=8))
def test_how_an_answer_is_cut_into_deltas_does_not_move_its_first_audible_sample(windows, cuts):
    audio = answer(windows * 240)
    audible, playout = FirstAudible(), Playout()
    for piece in np.split(audio, sorted(min(cut, len(audio)) for cut in cuts)):
        audible.add(piece, 3.0, playout.play(piece, 3.0))
    assert audible.heard == pytest.approx(3.0 + windows * 0.010)
    assert audible.arrived == 3.0


def test_arrival_is_that_of_the_delta_which_holds_the_first_audible_sample():
    audible, playout = FirstAudible(), Playout()
    for arrived, piece in ((1.0, np.zeros(4800, np.float32)), (1.5, answer(240))):
        audible.add(piece, arrived, playout.play(piece, arrived))
    assert audible.arrived == 1.5
    assert audible.heard == pytest.approx(1.5 + 0.010)  # the speaker had run dry at 1.2


def test_what_is_below_minus_50_dbfs_is_not_heard():
    audible = FirstAudible()
    audible.add(np.full(4800, 10 ** (-51 / 20), np.float32), 1.0, 1.0)
    assert audible.heard is None
    audible.add(np.full(240, 10 ** (-49 / 20), np.float32), 1.1, 1.2)
    assert audible.heard == pytest.approx(1.2)
