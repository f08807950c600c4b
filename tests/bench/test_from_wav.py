"""The figures of a run, measured again from its tape."""

import wave

import numpy as np
import pytest

from tests.bench.scripted_node import ScriptedNode, begin_answer, end_answer, options, tone, whole_answer, write_wav
from voiceedge.audio.pcm import to_int16
from voiceedge.bench import run_bench
from voiceedge.bench.from_wav import bench_from_wav
from voiceedge.bench.interval import Interval
from voiceedge.bench.recording import WIRE_RATE_HZ
from voiceedge.bench.tape import Tapes, numbered
from voiceedge.errors import AudioUnreadable, ConfigError


async def taped(tmp_path, node, recordings, **more):
    """Hold conversations with a node, and measure them a second time; gives both reports' rows."""
    several = more.get("sessions", 1) > 1
    path = tmp_path / "tape" / "talk.wav"
    path.parent.mkdir()
    with Tapes(path, several=several) as tapes:
        live = await run_bench(options(node, recordings, tapes=tapes, **more))
    paths = [numbered(path, session + 1) for session in range(more["sessions"])] if several else [path]
    return live.turns, [row for one in paths for row in bench_from_wav(one).turns]


def same(live, again):
    return live == again if live is None or again is None else abs(live - again) < 1.0


async def test_a_tape_says_what_was_measured_live(recordings, tmp_path):
    async with ScriptedNode().up() as node:
        live, again = await taped(tmp_path, node, recordings, runs=2)
    assert len(again) == 4
    for one, other in zip(live, again, strict=True):
        assert one.client_v2v_ms == pytest.approx(other.client_v2v_ms, abs=0.1)
        assert one.leading_silence_ms == pytest.approx(other.leading_silence_ms, abs=0.1)
        assert (one.audio, one.run, one.session, one.problems) == (other.audio, other.run, other.session, ())


async def test_every_conversation_has_its_own_tape_and_encores_do_not_count(recordings, tmp_path):
    async def slow_for_one(socket, turn):
        await end_answer(socket, await begin_answer(socket, turn, seconds=6.0 if socket is node.first else 0.3))

    async with ScriptedNode(slow_for_one).up() as node:
        live, again = await taped(tmp_path, node, recordings, sessions=2)
    assert [(row.session, row.audio) for row in live] == [(row.session, row.audio) for row in again]
    assert all(same(a.client_v2v_ms, b.client_v2v_ms) for a, b in zip(live, again, strict=True))


async def test_sessions_of_their_own_lie_behind_each_other_on_one_tape(recordings, tmp_path):
    async with ScriptedNode().up() as node:
        live, again = await taped(tmp_path, node, recordings, fresh=True)
    assert node.sessions == 2
    assert all(same(a.client_v2v_ms, b.client_v2v_ms) for a, b in zip(live, again, strict=True))


async def test_cut_ins_missing_and_double_answers_are_found_again(tmp_path):
    folder = tmp_path / "said"
    folder.mkdir()
    pause = np.zeros(3 * WIRE_RATE_HZ, np.float32)
    for name in ("1-twice", "2-cut-in", "3-nothing"):
        write_wav(folder / f"{name}.wav", tone(0.5))
    write_wav(folder / "2-cut-in.wav", np.concatenate([tone(0.5), pause, tone(0.5)]))

    async def various(socket, turn):
        if turn == 1:
            await whole_answer(socket, 11)
            await whole_answer(socket, 12)
        elif turn in (2, 3):
            await end_answer(socket, await begin_answer(socket, turn, seconds=30.0 if turn == 2 else 0.4))

    async with ScriptedNode(various).up() as node:
        live, again = await taped(tmp_path, node, folder, timeout_s=2.0)
    audible = {"no_answer", "talked_over", "double_answer"}  # a split is the node's own account
    assert [set(row.problems) & audible for row in live] == [{"double_answer"}, {"talked_over"}, {"no_answer"}]
    assert [set(row.problems) for row in again] == [{"double_answer"}, {"talked_over"}, {"no_answer"}]
    assert all(same(a.client_v2v_ms, b.client_v2v_ms) for a, b in zip(live, again, strict=True))


async def test_a_barge_in_can_be_heard_on_the_tape(recordings, tmp_path):
    async def at_length(socket, turn):
        await end_answer(socket, await begin_answer(socket, turn, seconds=60.0 if turn == 1 else 0.4))

    async with ScriptedNode(at_length).up() as node:
        live, again = await taped(tmp_path, node, recordings, barge_in=Interval(0.5, 0.5), listen="full", timeout_s=5.0)
    assert [row.interrupts for row in again] == [row.interrupts for row in live] == [False, True]
    assert same(live[1].barge_in_ms, again[1].barge_in_ms)


# ── recordings that something else has made ───────────────────────────────────────────────────────────────

RATE_HZ = 48_000


def sound(seconds, amplitude=0.2):
    return (amplitude * np.sin(np.arange(round(seconds * RATE_HZ)) / 20)).astype(np.float32)


def record(path, seconds, user, agent, hiss=10 ** (-68 / 20)):
    """A call: (second, sound) of both sides, and the hiss of the user's room."""
    stereo = np.zeros((round(seconds * RATE_HZ), 2), np.float32)
    stereo[:, 0] = np.random.default_rng(0).standard_normal(len(stereo), np.float32) * hiss
    for side, said in enumerate((user, agent)):
        for at, audio in said:
            begin = round(at * RATE_HZ)
            stereo[begin : begin + len(audio), side] += audio
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(to_int16(stereo.reshape(-1)).tobytes())
    return path


def test_utterances_are_found_by_their_level_where_nobody_states_them(tmp_path):
    user = [(1.003, sound(1.0)), (9.0, sound(0.7)), (10.5, sound(0.5, 0.02)), (20.0, sound(1.0))]
    agent = [(2.6537, sound(2.0)), (5.0, sound(1.0)), (11.4, sound(3.0))]
    report = bench_from_wav(record(tmp_path / "call.wav", 25.0, user, agent))
    first, second, third = (row.client_v2v_ms for row in report.turns)
    assert (first, second) == (pytest.approx(650.7, abs=10.1), pytest.approx(400.0, abs=10.1))
    assert third is None
    assert [row.problems for row in report.turns] == [(), (), ("no_answer",)]
    assert report.environment["utterances"] == "found by level"
    assert report.environment["seconds"] == 25.0


def test_who_is_talked_over_is_found_there_too(tmp_path):
    user = [(1.0, sound(1.0)), (3.0, sound(1.0))]
    agent = [(2.5, sound(1.7)), (5.0, sound(1.0))]
    (row,) = bench_from_wav(record(tmp_path / "call.wav", 8.0, user, agent)).turns
    assert row.problems == ("talked_over",)
    assert row.client_v2v_ms == pytest.approx(1000.0, abs=10.1)


def test_a_long_silence_before_an_answer_is_only_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("voiceedge.bench.from_wav._READ_S", 1)
    user, agent = [(1.0, sound(1.0))], [(5.5, sound(1.0))]
    (row,) = bench_from_wav(record(tmp_path / "call.wav", 8.0, user, agent)).turns
    assert row.client_v2v_ms == pytest.approx(3500.0, abs=10.1)


def mono(path):
    write_wav(path, tone(0.5))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.write_text("hello, I am no sound at all, whatever my name says"), "no WAV file"),
        (lambda path: path.write_bytes(b""), "no WAV file"),
        (mono, "not two channels of 16 bits"),
        (lambda path: record(path, 2.0, [], [], hiss=0.0), "holds no speech"),
    ],
)
def test_what_is_no_recording_of_a_conversation_is_refused(tmp_path, make, said):
    make(tmp_path / "call.wav")
    with pytest.raises(AudioUnreadable, match=said):
        bench_from_wav(tmp_path / "call.wav")


def test_what_lies_beside_it_must_be_what_it_looks_like(tmp_path):
    path = record(tmp_path / "call.wav", 2.0, [(0.5, sound(0.5))], [])
    path.with_suffix(".jsonl").write_text("{}\n{}\n")
    with pytest.raises(ConfigError):
        bench_from_wav(path)
