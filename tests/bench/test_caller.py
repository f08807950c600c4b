"""One session with a scripted node: interruptions, and the way to the node."""

import asyncio
import json

import pybase64
from websockets.asyncio.client import ClientConnection

from tests.bench.scripted_node import ScriptedNode, begin_answer, end_answer, options, say
from voiceedge.audio.pcm import from_pcm16, level_dbfs
from voiceedge.bench import run_bench
from voiceedge.bench.interval import Interval


async def at_length(socket, turn):
    """A first answer that is sent at once and would play for a minute; the last one is heard out and is short."""
    await end_answer(socket, await begin_answer(socket, turn, seconds=60.0 if turn == 1 else 0.4))


async def test_the_next_recording_interrupts_an_answer_and_the_time_to_the_stop_is_measured(recordings):
    async with ScriptedNode(at_length).up() as node:
        report = await run_bench(options(node, recordings, barge_in=Interval(0.5, 0.5), timeout_s=5.0))
    first, second = report.turns
    assert [row.problems for row in report.turns] == [(), ()]
    assert (first.interrupts, first.barge_in_ms, first.dead_audio_ms) == (False, None, None)
    # the scripted node says that it hears the user with the first loud append; 20 ms later than its first sample
    assert second.interrupts
    assert 20.0 <= second.barge_in_ms < 30_000
    assert second.dead_audio_ms >= 0.0
    truncated = [event for event in node.received if event["type"] == "conversation.item.truncate"]
    assert truncated[0]["item_id"] == "a1"
    assert 500 <= truncated[0]["audio_end_ms"] < 60_000


async def test_what_an_interrupted_answer_still_says_of_itself_is_kept(recordings):
    async def ends_when_interrupted(socket, turn):
        response = await begin_answer(socket, turn, seconds=60.0 if turn == 1 else 0.4)
        if turn > 1:
            await end_answer(socket, response)
            return
        async for message in socket:
            event = json.loads(message)
            if level_dbfs(from_pcm16(pybase64.b64decode(event.get("audio", "")))) > -40:
                await say(socket, "input_audio_buffer.speech_started", item_id="u2")
                await end_answer(socket, response, "cancelled")
                break

    async with ScriptedNode(ends_when_interrupted).up() as node:
        report = await run_bench(options(node, recordings, barge_in=Interval(0.5, 0.5), timeout_s=5.0))
    first, second = report.turns
    assert first.server_v2v_ms == 305.0
    assert first.agent_text == "answer 1"
    assert second.interrupts
    assert second.barge_in_ms is not None


async def test_an_answer_that_is_shorter_than_that_is_heard_out_and_nobody_is_interrupted(recordings):
    async with ScriptedNode().up() as node:
        report = await run_bench(options(node, recordings, barge_in=Interval(2.0, 2.0)))
    assert [row.interrupts for row in report.turns] == [False, False]
    assert [row.problems for row in report.turns] == [(), ()]


async def test_every_turn_knows_how_long_the_way_to_the_node_was(recordings):
    async with ScriptedNode().up() as node:
        report = await run_bench(options(node, recordings))
    assert all(0.0 < row.network_ms < 1000.0 for row in report.turns)


async def test_never_two_pings_are_on_their_way_and_they_go_on_while_answers_are_heard(recordings, monkeypatch):
    under_way, most, sent = 0, 0, 0
    ping = ClientConnection.ping

    async def counted(self, data=None):
        nonlocal under_way, most, sent
        under_way, sent = under_way + 1, sent + 1
        most = max(most, under_way)
        waiter = await ping(self, data)

        def back(_waiter):
            nonlocal under_way
            under_way -= 1

        waiter.add_done_callback(back)
        return waiter

    async def takes_a_while(socket, turn):
        await end_answer(socket, await begin_answer(socket, turn, seconds=8.0))

    monkeypatch.setattr(ClientConnection, "ping", counted)
    async with ScriptedNode(takes_a_while).up() as node:
        await run_bench(options(node, recordings, listen="full"))
    assert most == 1
    assert sent >= 3 + 2 * 3  # before the conversation; and in two answers of 8 s, however late a busy machine is


async def test_a_node_that_does_not_answer_pings_costs_the_figure_and_nothing_else(recordings, monkeypatch):
    async def deaf(_self, _data=None):
        return asyncio.get_running_loop().create_future()

    monkeypatch.setattr("voiceedge.bench.caller.OPEN_TIMEOUT_S", 0.3)
    monkeypatch.setattr(ClientConnection, "ping", deaf)
    async with ScriptedNode().up() as node:
        report = await run_bench(options(node, recordings))
    assert [row.network_ms for row in report.turns] == [None, None]
    assert [row.problems for row in report.turns] == [(), ()]
