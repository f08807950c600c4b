import asyncio
import http
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench.scripted_node import ScriptedNode, options, whole_answer
from voiceedge.bench import run_bench, to_json
from voiceedge.bench.arrivals import TURNS, conversations_of, moments
from voiceedge.bench.options import BenchOptions, NodeUnreachable


def asking(**more):
    return BenchOptions(url="", **({"arrivals_per_minute": 12.0} | more))


# ── when they come ────────────────────────────────────────────────────────────────────────────────────────


@given(st.integers(0, 1000), st.floats(0.1, 1000.0))
def test_arrivals_come_one_after_the_other_as_often_as_asked_for(seed, per_minute):
    at = list(islice(moments(asking(arrivals_per_minute=per_minute, seed=seed)), 400))
    assert all(one < other for one, other in pairwise(at))
    assert at[-1] / len(at) == pytest.approx(60.0 / per_minute, rel=0.25)  # 400 gaps: five standard deviations


def test_the_same_seed_gives_the_same_moments():
    first, again, other = (list(islice(moments(asking(seed=seed)), 5)) for seed in (1, 1, 2))
    assert first == again != other


def test_there_are_as_many_conversations_as_play_every_recording_once():
    assert conversations_of(asking(), 24) == 24 // TURNS
    assert conversations_of(asking(turns=5, runs=2), 24) == 10
    assert conversations_of(asking(soak_s=60.0), 24) is None


# ── over sockets ──────────────────────────────────────────────────────────────────────────────────────────


async def test_conversations_come_about_whatever_the_node_does(recordings):
    all_there = asyncio.Event()

    async def waits_for_all(socket, turn):
        if node.most_at_once == 4:
            all_there.set()
        await all_there.wait()
        await whole_answer(socket, turn)

    async with ScriptedNode(waits_for_all).up() as node:
        report = await run_bench(options(node, recordings, arrivals_per_minute=600.0, turns=1, runs=2))
    found = report.arrivals
    assert (found.arrived, found.dropped, found.refused, found.most_at_once) == (4, 0, 0, 4)
    assert sorted(row.session for row in report.turns) == [1, 2, 3, 4]
    assert sorted(row.audio for row in report.turns) == ["one.wav", "one.wav", "two.wav", "two.wav"]
    assert found.connect_ms.n == 4
    assert found.connect_ms.max > 0.0
    assert report.interrupted is None


async def test_who_comes_when_the_line_is_busy_is_counted_as_dropped(recordings):
    some_left = asyncio.Event()

    async def waits(socket, turn):
        await some_left.wait()
        await whole_answer(socket, turn)

    def told(progress):
        if progress.doing == "waiting":
            asyncio.get_running_loop().call_later(0.2, some_left.set)  # 5 s of media time: all have come by then

    async with ScriptedNode(waits).up() as node:
        report = await run_bench(
            options(node, recordings, arrivals_per_minute=1200.0, turns=1, runs=4, at_most=2, progress=told)
        )
    assert (report.arrivals.arrived, report.arrivals.dropped, report.arrivals.most_at_once) == (8, 6, 2)
    assert len(report.turns) == 2


async def test_turns_of_conversations_that_are_turned_away_count_as_failed(recordings):
    others_came = asyncio.Event()

    async def waits(socket, turn):
        await others_came.wait()
        await whole_answer(socket, turn)

    def told(progress):
        if progress.doing == "waiting":
            asyncio.get_running_loop().call_later(0.2, others_came.set)

    async with ScriptedNode(waits, room_for=1).up() as node:
        report = await run_bench(options(node, recordings, arrivals_per_minute=1200.0, turns=2, runs=3, progress=told))
    assert (report.arrivals.arrived, report.arrivals.refused) == (3, 2)
    assert [row.problems for row in report.turns] == [(), ()] + [("disconnected",)] * 4
    assert all("full" in row.errors[0] for row in report.turns[2:])
    assert report.summary.failed == 4
    assert [turn["at_s"] is None for turn in to_json(report)["turns"]] == [False, False] + [True] * 4
    assert report.arrivals.connect_ms.n == 1


async def test_turns_that_never_were_lie_in_the_quarter_in_which_their_conversation_came(recordings):
    async def last_words(socket, turn):
        await whole_answer(socket, turn)
        node._refuse = http.HTTPStatus.SERVICE_UNAVAILABLE

    async with ScriptedNode(last_words).up() as node:
        report = await run_bench(options(node, recordings, arrivals_per_minute=15.0, turns=1, soak_s=30.0))
    assert report.summary.failed == len(report.turns) - 1 >= 3
    assert (report.drift.first.failed, report.drift.last.failed) == (
        report.drift.first.n - 1,
        report.drift.last.n,
    )


@pytest.mark.parametrize("status", [http.HTTPStatus.SERVICE_UNAVAILABLE, http.HTTPStatus.UNAUTHORIZED])
async def test_where_not_one_comes_about_the_node_is_unreachable(recordings, status):
    async with ScriptedNode(refuse=status).up() as node:
        with pytest.raises(NodeUnreachable):
            await run_bench(options(node, recordings, arrivals_per_minute=60.0, turns=1, runs=4))
    is_full = status == http.HTTPStatus.SERVICE_UNAVAILABLE  # there may be room for the next
    assert len(node.requests) == 8 if is_full else len(node.requests) < 8


async def test_it_ends_when_the_time_is_over(recordings):
    async with ScriptedNode().up() as node:
        report = await run_bench(options(node, recordings, arrivals_per_minute=60.0, turns=1, soak_s=12.0))
    assert report.arrivals.arrived >= 3
    assert report.drift is not None or len(report.turns) < 4
    assert report.interrupted is None
