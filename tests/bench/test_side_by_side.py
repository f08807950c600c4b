"""Two scripted nodes asked in turn, over real sockets."""

import contextlib
import os

import pytest

from tests.bench.scripted_node import WAIT_APPENDS, ScriptedNode, options, whole_answer
from voiceedge.bench import NodeUnreachable
from voiceedge.bench.plan import plans
from voiceedge.bench.recording import load_recordings
from voiceedge.bench.side_by_side import CpuUse, Side, take_turns

PID = os.getpid()


class Table:
    """Two nodes and what becomes of them: who was asked, in which order, and what was heard."""

    def __init__(self, recordings, *nodes):
        self.nodes = nodes
        self.order = []
        self.pairs = []
        self.uses = (CpuUse(), CpuUse())
        self.lines = plans(load_recordings([recordings]), options(nodes[0], recordings), 1)[0].lines
        self.sides = tuple(
            Side(name, options(node, recordings, timeout_s=1.0), PID)
            for name, node in zip(("ours", "theirs"), nodes, strict=True)
        )

    def watch(self, side, audio, doing):
        if doing == "speaking":
            self.order.append((side.name, audio))

    async def take_turns(self, run=1):
        await take_turns(self.sides, self.lines, run, self.uses, self.watch, self.pairs.append)


@contextlib.asynccontextmanager
async def table(recordings, ours=None, theirs=None):
    async with ScriptedNode(ours).up() as first, ScriptedNode(theirs).up() as second:
        yield Table(recordings, first, second)


async def test_both_are_asked_everything_and_who_begins_alternates(recordings):
    async with table(recordings) as at:
        await at.take_turns()
    assert at.order == [("ours", "one.wav"), ("theirs", "one.wav"), ("theirs", "two.wav"), ("ours", "two.wav")]
    assert [(ours.audio, theirs.audio) for ours, theirs in at.pairs] == [("one.wav", "one.wav"), ("two.wav", "two.wav")]
    assert all(row.problems == () and row.client_v2v_ms > 299 for pair in at.pairs for row in pair)


async def test_another_run_begins_with_the_other_side_in_new_conversations(recordings):
    async with table(recordings) as at:
        await at.take_turns(run=1)
        await at.take_turns(run=2)
    assert [name for name, _ in at.order] == ["ours", "theirs", "theirs", "ours", "theirs", "ours", "ours", "theirs"]
    assert [node.sessions for node in at.nodes] == [2, 2]
    assert [ours.run for ours, _ in at.pairs] == [1, 1, 2, 2]


async def test_while_one_is_asked_the_other_hears_nothing(recordings):
    appends = []

    async def compare(socket, turn):
        appends.append(tuple(node.appends for node in at.nodes))
        await whole_answer(socket, turn)

    async with table(recordings, compare, compare) as at:
        await at.take_turns()
    # asked were ours, theirs, theirs, ours
    (_, before), (behind_its_turn, _), (meanwhile, _), (resumed, _) = appends
    assert before == 0
    assert behind_its_turn == meanwhile
    assert resumed - meanwhile == 25 + WAIT_APPENDS  # its next recording and the quiet behind it, nothing else


async def test_a_conversation_is_kept_for_all_lines_and_begun_anew_behind_silence(recordings):
    async def nothing(socket, turn):
        pass

    async with table(recordings, nothing) as at:
        await at.take_turns()
    assert [node.sessions for node in at.nodes] == [2, 1]
    assert [ours.problems for ours, _ in at.pairs] == [("no_answer",), ("no_answer",)]
    assert [theirs.problems for _, theirs in at.pairs] == [(), ()]


async def test_a_node_that_goes_away_is_said_and_the_other_is_hung_up_on(recordings):
    async def dies(socket, turn):
        at.nodes[0]._room_for = 0
        await socket.close(1011)

    async with table(recordings, dies) as at:
        with pytest.raises(NodeUnreachable, match="full"):
            await at.take_turns()
    assert len(at.pairs) == 1


async def test_the_processor_time_of_the_node_is_counted_while_it_is_asked(recordings):
    async with table(recordings) as at:
        assert at.uses[0].percent is None
        await at.take_turns()
    assert all(use.lasted_s > 0.0 and use.percent >= 0.0 for use in at.uses)


async def test_a_session_in_which_nobody_speaks_and_none_at_all_are_measured(recordings):
    async with table(recordings) as at:
        silent, resting = await at.sides[0].silence(0.05), await at.sides[0].rest(0.01)
        assert at.nodes[0].appends > 10
    assert silent.lasted_s >= 0.05
    assert resting.lasted_s >= 0.01
    assert at.nodes[0].sessions == 1


async def test_several_conversations_can_be_held_with_one_side(recordings):
    async with table(recordings) as at:
        crowd = options(at.nodes[1], recordings, sessions=2)  # the address is the side's own
        report, use = await at.sides[0].crowd(crowd, load_recordings([recordings]))
    assert report.summary.turns == 4
    assert at.nodes[0].sessions == 2
    assert at.nodes[1].sessions == 0
    assert use.lasted_s > 0.0
