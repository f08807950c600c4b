import errno
import json
import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voiceedge.audio.pcm import to_pcm16
from voiceedge.bench import NodeUnreachable, run_bench
from voiceedge.bench.microphone import APPEND_SAMPLES
from voiceedge.bench.options import BenchOptions
from voiceedge.bench.playout import Playout
from voiceedge.bench.recording import WIRE_RATE_HZ
from voiceedge.bench.tape import LONGEST_SAMPLES, Tape, TapedTurn, Tapes, numbered, stated_turns, turns_beside
from voiceedge.errors import ConfigError

OPENED = 100.0 / 3
"""A moment that no float holds exactly."""


def read(path):
    """Both channels as integers."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, WIRE_RATE_HZ)
        stereo = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    return stereo[:, 0], stereo[:, 1]


def sample_at(moment):
    return round((moment - OPENED) * WIRE_RATE_HZ)


def at(sample):
    return OPENED + sample / WIRE_RATE_HZ


@pytest.fixture
def tape(tmp_path):
    with Tape(tmp_path / "talk.wav") as tape:
        tape.begin_session(sample_at)
        yield tape


def append(number=0):
    return np.full(APPEND_SAMPLES, number + 1, "<i2").tobytes()


def ramp(samples, first=1):
    """Every sample another one, so that each can be found again."""
    return (np.arange(first, first + samples) / 32768).astype(np.float32)


def run(tape, appends):
    for number in range(appends):
        tape.hear_user(append(number))


def turn(**changes):
    fields = {"audio": "a", "run": 1, "session": 1, "begins": 1, "last_voiced": 2, "ends": 3, "answers": (4,)}
    return TapedTurn(**(fields | changes))


def test_left_is_what_was_sent_and_right_what_was_played_when_it_was_played(tape):
    playout = Playout(tape)
    run(tape, 3)
    playout.play(ramp(1000), at(1500))
    run(tape, 7)
    tape.close()
    left, right = read(tape.path)
    assert np.array_equal(left, np.concatenate([np.frombuffer(append(k), "<i2") for k in (0, 1, 2, *range(7))]))
    assert np.array_equal(right[1500:2500], np.arange(1, 1001))
    assert not right[:1500].any()
    assert not right[2500:].any()


def test_what_is_stopped_ends_at_the_stop_and_what_comes_next_is_played_at_once(tape):
    playout = Playout(tape)
    run(tape, 1)
    playout.play(ramp(5000), at(480))
    run(tape, 2)
    playout.stop(at(1500))
    playout.play(ramp(100, 9000), at(1700))
    run(tape, 2)
    tape.close()
    right = read(tape.path)[1]
    assert np.array_equal(right[480:1500], np.arange(1, 1021))
    assert not right[1500:1700].any()
    assert np.array_equal(right[1700:1800], np.arange(9000, 9100))


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["play", "stop", "wait"]), st.integers(0, 2000), st.integers(0, 479)), max_size=25
    )
)
def test_the_tape_is_what_a_speaker_does_sample_by_sample(steps, tmp_path_factory):
    path = tmp_path_factory.mktemp("tape") / "t.wav"
    heard = np.zeros(60_000, np.int64)
    with Tape(path) as tape:
        tape.begin_session(sample_at)
        playout, made, moment, ends, number = Playout(tape), 0, 0, 0, 1
        for kind, size, later in steps:
            moment = max(moment, made + later)  # time goes on, and nothing happens before the tape's end
            if kind == "play":
                begins = max(moment, ends)
                playout.play(ramp(size, number), at(moment))
                heard[begins : begins + size] = np.arange(number, number + size) % 30_000
                ends, number = begins + size, (number + size) % 20_000
            elif kind == "stop":
                playout.stop(at(moment))
                heard[moment:] = 0
                ends = min(ends, moment)
            else:
                tape.hear_user(append())
                made += APPEND_SAMPLES
    right = read(path)[1]
    assert np.array_equal(right, heard[: len(right)])


def test_the_file_is_whole_to_the_second_while_it_is_written(tape):
    run(tape, 130)
    left, _ = read(tape.path)  # as after a power cut
    assert len(left) == 100 * APPEND_SAMPLES


def test_memory_does_not_grow_with_the_tape(tape):
    playout = Playout(tape)
    for second in range(20):
        playout.play(ramp(WIRE_RATE_HZ), at(second * WIRE_RATE_HZ))
        run(tape, 50)
    assert sum(len(block) for block in tape._unwritten) < 4 * WIRE_RATE_HZ
    assert not tape._to_play


def test_a_second_session_follows_the_first_and_what_that_had_to_say_is_gone(tape):
    Playout(tape).play(ramp(5000), at(0))
    run(tape, 2)
    tape.begin_session(sample_at)
    assert tape.position(at(10)) == 2 * APPEND_SAMPLES + 10
    Playout(tape).play(ramp(10), at(100))
    run(tape, 2)
    tape.close()
    right = read(tape.path)[1]
    assert np.flatnonzero(right[2 * APPEND_SAMPLES :]).tolist() == list(range(100, 110))


def test_turns_are_stated_beside_the_tape_as_soon_as_they_are_over(tape):
    tape.note(turn())
    tape.note(turn(interrupts_at=7, counted=False))
    assert stated_turns(tape.path) == (turn(), turn(interrupts_at=7, counted=False))
    first = json.loads(turns_beside(tape.path).read_text().splitlines()[0])
    assert first == {"format": "voiceedge.tape/1", "rate_hz": 24000, "channels": ["user", "agent"]}


def test_a_recording_of_something_else_states_nothing(tmp_path):
    assert stated_turns(tmp_path / "call.wav") is None


@pytest.mark.parametrize("lines", ["", "{\n", '{"format":"other/9"}\n', '{"format":"voiceedge.tape/1"}\n{"audio":1}\n'])
def test_what_states_turns_in_another_form_is_refused(tmp_path, lines):
    (tmp_path / "talk.jsonl").write_text(lines)
    with pytest.raises(ConfigError, match=r"talk\.jsonl"):
        stated_turns(tmp_path / "talk.wav")


def test_a_line_that_was_cut_while_it_was_written_costs_only_its_own_turn(tape):
    tape.note(turn())
    with turns_beside(tape.path).open("ab") as lines:
        lines.write(b'{"audio":"b","ru')
    assert stated_turns(tape.path) == (turn(),)


def test_a_tape_that_is_full_takes_no_more_and_stays_readable(tape, monkeypatch, caplog):
    monkeypatch.setattr("voiceedge.bench.tape.LONGEST_SAMPLES", 30_000)
    run(tape, 200)
    tape.note(turn(ends=30_001))
    tape.close()
    assert len(read(tape.path)[0]) == 30_000
    assert stated_turns(tape.path) == ()
    assert [record.message for record in caplog.records] == [
        f"The tape {tape.path} ends here: a WAV file holds no more than 12 hours."
    ]
    assert 4 * LONGEST_SAMPLES + 36 < 2**32


def test_a_full_disk_ends_the_tape_and_not_the_conversation(tape, monkeypatch, caplog):
    def full(_block):
        raise OSError(errno.ENOSPC, "No space left on device")

    run(tape, 60)
    tape.note(turn())
    with monkeypatch.context() as patched:
        patched.setattr(tape._wav, "writeframes", full)
        run(tape, 60)
    run(tape, 60)
    tape.note(turn())
    tape.close()
    assert len(read(tape.path)[0]) == 50 * APPEND_SAMPLES
    assert stated_turns(tape.path) == (turn(),)
    assert [record.message for record in caplog.records] == [
        f"The tape {tape.path} ends here: No space left on device."
    ]


def test_several_conversations_have_a_tape_each_and_keep_it(tmp_path):
    with Tapes(tmp_path / "talk.wav", several=True) as tapes:
        assert tapes.of(2).path == numbered(tmp_path / "talk.wav", 2) == tmp_path / "talk-2.wav"
        assert tapes.of(2) is tapes.of(2)
    with Tapes(tmp_path / "talk.wav", several=False) as tapes:
        assert tapes.of(1).path == tmp_path / "talk.wav"


def test_a_tape_that_cannot_be_written_is_said_so(tmp_path):
    with pytest.raises(ConfigError, match="No such file or directory"):
        Tape(tmp_path / "nowhere" / "talk.wav")
    with pytest.raises(ConfigError), Tapes(tmp_path / "nowhere" / "talk.wav", several=True):
        pass


def test_a_tape_that_lies_there_is_replaced_when_a_conversation_begins_and_not_before(tmp_path):
    (tmp_path / "talk.wav").write_bytes(b"of yesterday")
    with Tapes(tmp_path / "talk.wav", several=False) as tapes:
        assert [file.name for file in tmp_path.iterdir()] == ["talk.wav"]
        assert (tmp_path / "talk.wav").read_bytes() == b"of yesterday"
        tapes.of(1)
    assert len(read(tmp_path / "talk.wav")[0]) == 0


def test_to_save_pcm_is_to_keep_it(tape):
    sent = to_pcm16(np.linspace(-1, 1, APPEND_SAMPLES, dtype=np.float32))
    tape.hear_user(sent)
    tape.close()
    assert read(tape.path)[0].tobytes() == sent


# ── in a run ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_tape_that_is_played_is_not_recorded_over(recordings):
    before = (recordings / "two.wav").read_bytes()
    for asked, name in (({}, "two.wav"), ({"sessions": 2, "audio": (recordings / "t-2.wav",)}, "t.wav")):
        (recordings / "t-2.wav").write_bytes(before)
        with Tapes(recordings / name, several="sessions" in asked) as tapes:
            played = BenchOptions(**({"url": "127.0.0.1:1", "audio": (recordings,), "tapes": tapes} | asked))
            with pytest.raises(ConfigError, match=r"--wav would record over .*, which is played"):
                await run_bench(played)
    assert (recordings / "two.wav").read_bytes() == (recordings / "t-2.wav").read_bytes() == before


async def test_a_node_that_is_not_there_leaves_the_tape_of_yesterday(recordings, tmp_path_factory):
    path = tmp_path_factory.mktemp("tapes") / "talk.wav"
    path.write_bytes(b"of yesterday")
    with Tapes(path, several=False) as tapes, pytest.raises(NodeUnreachable):
        await run_bench(BenchOptions(url="127.0.0.1:1", audio=(recordings,), tapes=tapes))
    assert path.read_bytes() == b"of yesterday"
