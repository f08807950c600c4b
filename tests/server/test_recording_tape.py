"""The user left, the agent right, each where it was heard: for any order and any times in which they come."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.audio.codec import codec
from voiceedge.server.recording_tape import KEPT_S, LONGEST_PAUSE_S, RATE_HZ, Tape
from voiceedge.session.listening import SILENT_CLIENT_S

PCM, LAW = "audio/pcm", "audio/pcmu"
MS = RATE_HZ // 1000


def tone(value, ms):
    """So many ms of one value, as pcm16."""
    return np.full(ms * MS, value, "<i2").tobytes()


def runs(channel):
    """Where each value other than silence begins, and how long it lasts."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], channel, [0]])))
    return [
        (int(channel[begin]), int(begin), int(end - begin))
        for begin, end in itertools.pairwise(edges)
        if channel[begin]
    ]


class Played:
    """A tape that is taken from as it is played, and the clock that it is played by."""

    def __init__(self, *, takes=True):
        self.tape = Tape()
        self.at = 100.0
        self.frames = []
        self._takes = takes

    def wait(self, ms):
        self.at += ms / 1000
        if self._takes:
            self.frames.append(self.tape.take(self.at))

    def hear(self, value, ms, form=PCM):
        self.tape.hear(form, tone(value, ms), self.at)

    def say(self, value, ms, response="resp_1"):
        self.tape.say(response, "item_" + response, PCM, tone(value, ms), self.at)

    def all(self):
        return np.concatenate([*self.frames, self.tape.take_all()])


def test_what_is_heard_in_real_time_is_left_without_a_gap_and_the_answer_right_behind_it():
    played = Played()
    for value in range(1, 51):
        played.wait(20)
        played.hear(value, 20)
    played.wait(100)
    played.say(7, 200)
    played.wait(100)
    played.say(8, 200)  # comes while the one before plays
    frames = played.all()
    assert runs(frames[:, 0]) == [(value, (value - 1) * 20 * MS, 20 * MS) for value in range(1, 51)]
    assert runs(frames[:, 1]) == [(7, 1100 * MS, 200 * MS), (8, 1300 * MS, 200 * MS)]
    assert len(frames) == 1500 * MS


def test_audio_that_came_faster_than_real_time_is_there_in_full_and_is_answered_behind_it():
    played = Played()
    played.hear(1, 3000)
    played.wait(50)
    played.say(2, 100)
    frames = played.all()
    assert runs(frames[:, 0]) == [(1, 0, 3000 * MS)]
    assert runs(frames[:, 1]) == [(2, 3050 * MS, 100 * MS)]


def test_a_stall_of_the_network_cuts_no_word_in_two_and_a_pause_is_silence():
    played = Played()
    played.hear(1, 20)
    played.wait(1000)
    played.hear(2, 20)
    played.wait(4000)
    played.hear(3, 20)
    (_, first, _), (_, second, _), (_, third, _) = runs(played.all()[:, 0])
    assert second - first == 20 * MS
    assert third - second == pytest.approx(4000 * MS, abs=1)


def test_a_pause_in_which_nobody_speaks_is_shortened_and_it_is_known_by_how_much():
    played = Played()
    played.hear(1, 20)
    for _ in range(100):
        played.wait(1000)
    played.hear(2, 20)
    frames = played.all()
    (_, first, length), (_, second, _) = runs(frames[:, 0])
    assert second - first - length == pytest.approx(LONGEST_PAUSE_S * RATE_HZ, abs=21 * MS)
    assert played.tape.left_out_s == pytest.approx(100 - LONGEST_PAUSE_S, abs=0.1)


def test_an_hour_of_silence_takes_no_memory():
    played = Played(takes=False)
    played.hear(1, 20)
    played.wait(3_600_000)
    played.hear(2, 20)
    assert len(played.all()) < 1.1 * LONGEST_PAUSE_S * RATE_HZ


def test_a_text_session_that_only_listens_is_on_it_as_it_plays():
    played = Played()
    played.say(1, 200)
    played.wait(20_000)
    played.say(2, 200, "resp_2")
    frames = played.all()
    assert not frames[:, 0].any()
    assert runs(frames[:, 1]) == [(1, 0, 200 * MS), (2, 20_000 * MS, 200 * MS)]


def test_what_was_stopped_ends_where_it_was_stopped():
    played = Played()
    played.hear(1, 20)
    played.say(2, 3000)
    played.wait(500)
    assert played.tape.stop(played.at, "resp_1") == pytest.approx(2.5, abs=0.001)
    played.wait(500)
    played.say(3, 100, "resp_2")
    assert runs(played.all()[:, 1]) == [(2, 20 * MS, 500 * MS), (3, 1020 * MS, 100 * MS)]


def test_what_the_client_says_it_has_heard_is_kept_and_no_more():
    played = Played()
    played.say(2, 1000)
    played.wait(800)
    played.say(3, 1000)
    assert played.tape.truncate("item_resp_1", 1200) == pytest.approx(0.8)
    assert played.tape.truncate("item_other", 0) == 0
    assert runs(played.all()[:, 1]) == [(2, 0, 1000 * MS), (3, 1000 * MS, 200 * MS)]


def test_speech_stops_an_answer_but_none_beside_the_conversation():
    played = Played()
    played.say(2, 1000)
    played.say(16, 1000, "aside")
    played.wait(500)
    played.tape.stop(played.at, spared=frozenset({"aside"}))
    assert runs(played.all()[:, 1]) == [(18, 0, 500 * MS), (16, 500 * MS, 500 * MS)]


def test_two_voices_at_a_time_are_mixed_and_never_turn_over():
    played = Played()
    played.say(30_000, 10)
    played.say(30_000, 10, "resp_2")
    assert runs(played.all()[:, 1]) == [(32_767, 0, 10 * MS)]


@pytest.mark.parametrize("form", [PCM, LAW])
def test_every_format_of_the_wire_ends_up_where_it_belongs(form):
    tape, wire = Tape(), codec(form)
    wave = 0.5 * np.sin(2 * np.pi * 300 * np.arange(wire.rate_hz) / wire.rate_hz).astype(np.float32)
    data = wire.encode(wave)
    for begin in range(0, len(data), 161):  # also in the middle of a sample
        tape.hear(form, data[begin : begin + 161], 5 + (begin + 161) / len(data))
    tape.say("resp_1", "item_1", form, data, 6.0)
    tape.finish("resp_1", "item_1")
    frames = tape.take_all() / 32768
    assert len(frames) == pytest.approx(2 * RATE_HZ, abs=21 * MS)
    expected = 0.5 * np.sin(2 * np.pi * 300 * np.arange(RATE_HZ) / RATE_HZ)
    inner = slice(RATE_HZ // 10, 9 * RATE_HZ // 10)
    assert np.abs(frames[:RATE_HZ, 0] - expected)[inner].max() < 0.02
    begin = np.flatnonzero(frames[:, 1])[0]
    right = frames[begin - 1 : begin - 1 + RATE_HZ, 1] if form == PCM else frames[-RATE_HZ:, 1]
    assert np.abs(right - expected[: len(right)])[inner].max() < 0.03


def test_a_change_of_format_loses_nothing():
    tape = Tape()
    tape.hear(PCM, tone(1, 100), 1.0)
    tape.hear(LAW, codec(LAW).encode(np.full(800, 0.25, np.float32)), 1.1)
    tape.hear(PCM, tone(3, 100), 1.2)
    left = tape.take_all()[:, 0]
    assert len(left) == 300 * MS
    assert set(left[: 100 * MS]) == {1}
    assert set(left[200 * MS :]) == {3}


# ── whatever comes, whenever ──────────────────────────────────────────────────────────────────────────────

SMALL = st.integers(1, 60).map(lambda n: 10 * n)
STEPS = st.lists(
    st.tuples(st.sampled_from(["hear", "say", "say"]), st.integers(0, 400).map(lambda n: 10 * n), SMALL), max_size=30
)


def play(steps, *, takes):
    """Play steps; what each said by then of both: (value, ms, samples heard before it)."""
    played, heard, said = Played(takes=takes), [], []
    for value, (who, wait_ms, ms) in enumerate(steps, 1):
        played.wait(wait_ms)
        if who == "hear":
            played.hear(value, ms)
            heard.append((value, ms))
        else:
            said.append((value, ms, len(heard)))
            played.say(value, ms, "resp_1")
    return played.all(), heard, said


@given(STEPS)
def test_all_that_was_sent_is_on_it_in_order_and_each_answer_behind_what_it_may_answer(steps):
    frames, heard, said = play(steps, takes=True)
    left, right = runs(frames[:, 0]), runs(frames[:, 1])
    assert [(value, length) for value, _, length in left] == [(value, ms * MS) for value, ms in heard]
    assert [(value, length) for value, _, length in right] == [(value, ms * MS) for value, ms, _ in said]
    for (_, begin, length), (_, after, _) in itertools.pairwise(left):
        assert after == begin + length or after - begin - length > SILENT_CLIENT_S * RATE_HZ - MS
    for (_, begin, _), (_, _, before) in zip(right, said, strict=True):
        if before:
            _, last, length = left[before - 1]
            assert begin >= last + length
    ends = [begin + length for _, begin, length in (*left, *right)]
    assert len(frames) == max(ends, default=0)


@given(STEPS)
def test_when_it_is_written_changes_nothing(steps):
    at_once, *_ = play(steps, takes=False)
    bit_by_bit, *_ = play(steps, takes=True)
    assert len(at_once) == len(bit_by_bit)
    assert (at_once == bit_by_bit).all()


CHUNKS = st.lists(st.tuples(SMALL, st.integers(0, 3)), min_size=1, max_size=20)


@given(CHUNKS, st.integers(0, 5000))
def test_on_a_network_that_delays_the_answer_is_where_the_user_heard_it(chunks, after_ms):
    """Within what the network has delayed: 30 ms here."""
    played, sent_ms = Played(), 0
    for ms, delay in chunks:
        sent_ms += ms
        arrives = 100 + (sent_ms + 10 * delay) / 1000
        played.wait(max(0.0, arrives - played.at) * 1000)
        played.hear(1, ms)
    played.wait(max(0.0, 100 + (sent_ms + after_ms) / 1000 - played.at) * 1000)
    played.say(2, 20)
    ((_, begin, _),) = runs(played.all()[:, 1])
    assert begin / MS == pytest.approx(sent_ms + after_ms, abs=31 + 30)


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(20, 400)), max_size=15), st.integers(0, 9000))
def test_nothing_is_heard_behind_the_moment_it_was_stopped(said, stop_ms):
    played = Played()
    for number, (wait_ms, ms) in enumerate(said):
        played.wait(wait_ms)
        played.say(1 + number, ms)
    played.wait(stop_ms % 500)
    limit = played.tape.place(played.at)
    played.tape.stop(played.at)
    right = played.all()[:, 1]
    assert not right[limit:].any()


def test_what_is_held_in_memory_is_ten_seconds_and_what_is_sent_ahead():
    played = Played()
    for _ in range(1500):
        played.wait(20)
        played.hear(1, 20)
    held = sum(len(piece) for piece in played.tape._left)
    assert held <= (KEPT_S + 1.1) * RATE_HZ
