"""What a run of several conversations holds together; the talking itself is in test_probe."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from tests.bench.rows import exchange
from tests.bench.scripted_node import ScriptedNode, options, whole_answer
from voiceedge.bench import conversations, run_bench
from voiceedge.bench.conversations import Attendance, Conversation
from voiceedge.bench.interval import Interval
from voiceedge.bench.options import BenchOptions, NodeFull
from voiceedge.bench.plan import plans
from voiceedge.bench.probe import bench_recordings
from voiceedge.bench.recording import load_recordings
from voiceedge.bench.selfcheck import SelfWatch
from voiceedge.bench.watching import Watcher


def never():
    return False


def test_nobody_is_there_any_more_when_the_last_one_has_left():
    there = Attendance([1, 2], never)
    there.leave(1)
    there.leave(1)
    assert not there.empty.is_set()
    there.leave(2)
    assert there.empty.is_set()


def test_one_that_is_turned_away_leaves_the_others_alone():
    there = Attendance([1, 2], never)
    there.leave(1, NodeFull("full"))
    assert not there.empty.is_set()
    assert not there.given_up


def test_where_all_have_to_be_there_it_is_given_up_when_all_have_knocked():
    there = Attendance([1, 2, 3], never, all_or_none=True)
    there.let_in(1)
    there.leave(2, NodeFull("full"))
    assert there.given_up
    assert not there.empty.is_set()
    there.let_in(3)
    assert there.empty.is_set()


async def test_what_is_said_again_to_keep_the_node_busy_leaves_no_line_out(recordings, monkeypatch):
    said = []

    class Deaf:
        """A caller who says everything at once; the attendance is over with his last encore."""

        round_trip_s, lost = None, False

        @asynccontextmanager
        async def conversation(self, opening_s):
            yield

        async def say(self, line, watch):
            said.append(line.recording.name)
            if len(said) == 7:
                there.leave(2)
            return exchange(line.recording.name, 0.5)

        def note(self, *_, **__):
            pass

    @asynccontextmanager
    async def call(*_):
        yield Deaf()

    monkeypatch.setattr(conversations, "call", call)
    there = Attendance([1, 2], never)
    asked = BenchOptions(url="", fresh=True)
    (plan,) = plans(load_recordings([recordings]), asked, 1)
    one = Conversation(asked, plan, there, Watcher(asked, None), SelfWatch())
    await one.hold()
    assert said == ["one.wav", "two.wav", "one.wav", "two.wav", "one.wav", "two.wav", "one.wav"]
    assert (len(one.rows), one.encores, one.connections) == (2, 5, 7)


async def test_in_a_ramp_the_others_are_not_heard_out_and_those_let_in_are_counted(recordings):
    async def never_ends(socket, turn):
        await asyncio.Event().wait()

    async with ScriptedNode(never_ends, room_for=2).up() as node:
        asked = options(node, recordings, ramp=True, sessions=4)
        with pytest.raises(NodeFull) as full:
            await bench_recordings(asked, load_recordings([recordings]))
    assert full.value.sessions == 2


async def test_a_soak_goes_on_with_runs_until_the_time_is_over(recordings):
    async with ScriptedNode().up() as node:
        report = await run_bench(options(node, recordings, soak_s=20.0))
    assert len(report.runs) >= 2
    assert report.interrupted is None
    assert report.drift.first.n == len(report.turns) // 4
    assert all(row.client_v2v_ms is not None for row in report.turns)


async def test_who_has_seen_enough_gets_the_turns_that_are_done(recordings):
    async def enough(socket, turn):
        await whole_answer(socket, turn)
        if turn == 1:
            asked.halt.ask()

    async with ScriptedNode(enough).up() as node:
        asked = options(node, recordings)
        report = await run_bench(asked)
    assert [row.audio for row in report.turns] == ["one.wav"]
    assert report.turns[0].client_v2v_ms is not None
    assert report.interrupted == "stopped by hand"


async def test_what_still_came_for_an_interrupted_answer_is_in_its_row(recordings):
    async with ScriptedNode().up() as node:
        report = await run_bench(options(node, recordings, barge_in=Interval(0.1, 0.1)))
    assert [row.audio for row in report.turns] == ["one.wav", "two.wav"]
    assert [row.server_v2v_ms for row in report.turns] == [305.0, 305.0]
