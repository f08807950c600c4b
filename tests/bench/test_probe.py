"""The probe against a scripted node over a real socket, at many times the speed of speech."""

import asyncio
import http
import json

import numpy as np
import pytest

from tests.bench.scripted_node import (
    ScriptedNode,
    Whistle,
    begin_answer,
    end_answer,
    options,
    say,
    tone,
    whole_answer,
    write_wav,
)
from voiceedge.bench import NodeUnreachable, run_bench, to_json
from voiceedge.bench.interval import Interval
from voiceedge.bench.pace import Pace
from voiceedge.bench.questions import questions
from voiceedge.bench.recording import WIRE_RATE_HZ
from voiceedge.errors import AudioUnreadable, ConfigError


async def test_recordings_are_played_answered_and_measured(recordings):
    async with ScriptedNode().up() as node:
        report = await run_bench(options(node, recordings))
    assert [row.audio for row in report.turns] == ["one.wav", "two.wav"]
    assert [row.user_text for row in report.turns] == ["question 1", "question 2"]
    assert [row.agent_text for row in report.turns] == ["answer 1", "answer 2"]
    assert [row.problems for row in report.turns] == [(), ()]
    for row in report.turns:
        # never earlier than the node's 300 ms of media time; at 25 times the pace a busy machine makes it later
        assert 299 < row.client_v2v_ms < 50_000
        assert row.server_v2v_ms == 305.0
        assert row.facts == {"prefill_tokens": 3}
    assert report.environment["round_trip_ms"] > 0
    assert to_json(report)["summary"]["failed"] == 0
    assert node.sessions == 1


async def test_it_asks_for_the_trace_and_presents_its_key(recordings):
    async with ScriptedNode().up() as node:
        await run_bench(options(node, recordings / "one.wav", api_key="secret", turn_detection="server_vad:500"))
    (request,) = node.requests
    assert request.path == "/v1/realtime?trace=1&model=voiceedge"
    assert request.headers["Authorization"] == "Bearer secret"
    assert "Sec-WebSocket-Extensions" not in request.headers  # no compression
    session = node.received[0]["session"]
    assert session["audio"]["input"]["turn_detection"] == {"type": "server_vad", "silence_duration_ms": 500}


async def test_what_may_be_secret_in_the_address_is_not_in_the_report(recordings):
    async def last_words(socket, turn):
        await whole_answer(socket, turn)
        node._refuse = http.HTTPStatus.SERVICE_UNAVAILABLE

    async with ScriptedNode(last_words).up() as node:
        url = f"ws://user:s3cret@{node.url}/v1?token=s3cret"
        report = await run_bench(options(node, recordings, fresh=True, url=url))
    assert report.interrupted.startswith(f"the node at ws://{node.url}/v1 is full")
    assert report.environment["url"] == f"ws://{node.url}/v1"
    assert "s3cret" not in json.dumps(to_json(report))


async def test_fresh_opens_a_session_for_each_recording(recordings):
    async with ScriptedNode().up() as node:
        report = await run_bench(options(node, recordings, fresh=True))
    assert node.sessions == 2
    assert len(report.turns) == 2


async def test_progress_is_told(recordings):
    told = []
    async with ScriptedNode().up() as node:
        await run_bench(options(node, recordings, progress=told.append))
    assert [(one.turn, one.turns, one.audio) for one in told if one.doing == "done"] == [
        (1, 2, "one.wav"),
        (2, 2, "two.wav"),
    ]
    assert {one.doing for one in told} == {"connecting", "speaking", "waiting", "listening", "done"}


async def test_an_answer_can_be_stopped_at_its_first_audible_sample(recordings):
    cancelled = asyncio.Event()

    async def long_answer(socket, turn):
        response = await begin_answer(socket, turn, seconds=30.0)
        async for message in socket:
            if json.loads(message)["type"] == "response.cancel":
                cancelled.set()
                break
        await end_answer(socket, response, "cancelled")

    async with ScriptedNode(long_answer).up() as node:
        report = await run_bench(options(node, recordings / "one.wav", listen="first-audible"))
    assert cancelled.is_set()
    (truncated,) = [event for event in node.received if event["type"] == "conversation.item.truncate"]
    assert truncated["item_id"] == "a1"
    assert 0 <= truncated["audio_end_ms"] < 30_000
    assert report.turns[0].problems == ()
    assert report.turns[0].client_v2v_ms is not None


async def test_a_text_is_spoken_behind_the_recordings(recordings):
    async with ScriptedNode().up() as node:
        asked = options(node, recordings, audio=(recordings / "one.wav",), say=("hello",), tts=Whistle())
        report = await run_bench(asked)
    assert [(row.audio, row.expected_text) for row in report.turns] == [("one.wav", None), ("hello", "hello")]


async def test_an_answer_in_a_pause_is_stopped_by_the_users_own_words(tmp_path):
    pause = np.zeros(5 * WIRE_RATE_HZ, np.float32)
    write_wav(tmp_path / "hesitates.wav", np.concatenate([tone(0.5), pause, tone(0.5)]))

    async def talkative(socket, turn):
        await end_answer(socket, await begin_answer(socket, turn, seconds=30.0 if turn == 1 else 0.4))

    async with ScriptedNode(talkative).up() as node:
        report = await run_bench(options(node, tmp_path))
    (row,) = report.turns
    assert row.problems == ("talked_over", "split")
    assert (row.user_text, row.agent_text) == ("question 1 question 2", "answer 2")
    assert row.client_v2v_ms > 299
    (truncated,) = [event for event in node.received if event["type"] == "conversation.item.truncate"]
    assert truncated["item_id"] == "a1"
    assert 0 < truncated["audio_end_ms"] < 30_000


async def test_a_greeting_is_heard_out_and_is_no_answer(recordings):
    async def greets(socket):
        await say(socket, "session.created", session={})
        await socket.recv()
        await say(socket, "session.updated", session={})
        await whole_answer(socket, 99)
        await answers(socket)

    node = ScriptedNode()
    answers, node._session = node._session, greets
    async with node.up():
        report = await run_bench(options(node, recordings / "one.wav"))
    assert (report.turns[0].problems, report.turns[0].agent_text) == ((), "answer 1")


async def test_a_node_that_never_answers_is_not_waited_for_and_gets_a_new_session(recordings):
    async def nothing(socket, turn):
        pass

    async with ScriptedNode(nothing).up() as node:
        report = await run_bench(options(node, recordings, timeout_s=1.0))
    assert [row.problems for row in report.turns] == [("no_answer",), ("no_answer",)]
    assert node.sessions == 2
    assert report.interrupted is None


async def test_a_failed_response_is_counted_and_the_session_goes_on(recordings):
    async def fails(socket, turn):
        if turn > 1:
            await whole_answer(socket, turn)
            return
        await say(socket, "response.created", response={"id": "r1"})
        await say(socket, "error", error={"type": "server_error", "message": "engine failed"})
        await say(socket, "response.done", response={"id": "r1", "status": "failed"})

    async with ScriptedNode(fails).up() as node:
        report = await run_bench(options(node, recordings))
    assert [row.problems for row in report.turns] == [("failed_response",), ()]
    assert report.turns[0].errors == ("engine failed",)
    assert node.sessions == 1


async def test_a_second_answer_in_the_thinking_pause_is_counted(recordings):
    async def twice(socket, turn):
        await whole_answer(socket, turn)
        await whole_answer(socket, turn + 10)

    async with ScriptedNode(twice).up() as node:
        report = await run_bench(options(node, recordings / "one.wav"))
    assert report.turns[0].problems == ("double_answer", "split")
    assert report.turns[0].responses == 2


async def test_a_node_that_hangs_up_costs_one_turn(recordings):
    async def hangs_up(socket, turn):
        if node.sessions == 1:
            await socket.close(1011)
        else:
            await whole_answer(socket, turn)

    async with ScriptedNode(hangs_up).up() as node:
        report = await run_bench(options(node, recordings))
    assert [row.problems for row in report.turns] == [("disconnected",), ()]
    assert "1011" in report.turns[0].errors[0]


async def test_a_node_that_goes_away_ends_the_run_and_keeps_what_was_measured(recordings):
    async def last_words(socket, turn):
        await whole_answer(socket, turn)
        node._refuse = http.HTTPStatus.SERVICE_UNAVAILABLE

    async with ScriptedNode(last_words).up() as node:
        report = await run_bench(options(node, recordings, fresh=True))
    assert [row.problems for row in report.turns] == [()]
    assert "full" in report.interrupted


async def test_messages_that_cannot_be_read_are_noted_and_passed_over(recordings):
    async def mumbles(socket, turn):
        await socket.send("{")
        response = await begin_answer(socket, turn)
        await say(socket, "response.output_audio.delta", response_id=response, delta="!!!")
        await say(socket, "response.output_audio.delta", response_id=response, delta="AAA=")
        await say(socket, "response.output_audio.delta", response_id=response, delta="AA==")
        await end_answer(socket, response)

    async with ScriptedNode(mumbles).up() as node:
        report = await run_bench(options(node, recordings / "one.wav"))
    assert len(report.turns[0].errors) == 3
    assert report.turns[0].problems == ()


@pytest.mark.parametrize(
    ("status", "said"), [(401, "key"), (403, "key"), (503, "try again in 7 s"), (404, "no Realtime node")]
)
async def test_a_refused_handshake_is_explained_in_one_line(recordings, status, said):
    async with ScriptedNode(refuse=http.HTTPStatus(status)).up() as node:
        with pytest.raises(NodeUnreachable, match=said) as refused:
            await run_bench(options(node, recordings))
    assert refused.value.exit_code == 3
    assert "\n" not in str(refused.value)


async def test_nobody_there_is_said(recordings):
    async with ScriptedNode().up() as node:
        pass
    with pytest.raises(NodeUnreachable, match=r"no node answers at .*: Connection refused"):
        await run_bench(options(node, recordings))


async def test_refused_settings_are_said(recordings):
    async def refuses(socket):
        await say(socket, "session.created", session={})
        await socket.recv()
        await say(socket, "error", error={"message": "no such voice"})
        await socket.wait_closed()

    node = ScriptedNode()
    node._session = refuses
    async with node.up():
        with pytest.raises(NodeUnreachable, match="no such voice"):
            await run_bench(options(node, recordings))


async def test_what_makes_no_run_is_refused_before_anything_is_sent(recordings):
    async with ScriptedNode().up() as node:
        for broken, error in (
            ({"audio": ()}, ConfigError),
            ({"url": "ftp://x"}, ConfigError),
            ({"turn_detection": "guess"}, ConfigError),
            ({"listen": "half"}, ConfigError),
            ({"say": ("hello",)}, ConfigError),
            ({"audio": (recordings / "missing.wav",)}, AudioUnreadable),
        ):
            with pytest.raises(error):
                await run_bench(options(node, recordings, **broken))
    assert node.requests == []


async def test_without_recordings_the_shipped_questions_are_spoken(recordings):
    told = []
    async with ScriptedNode().up() as node:
        asked = options(node, recordings, audio=(), tts=Whistle(), turns=2, progress=told.append)
        report = await run_bench(asked)
    assert [row.audio for row in report.turns] == list(questions()[:2])
    assert [row.expected_text for row in report.turns] == list(questions()[:2])
    preparing = [(one.turn, one.turns, one.audio) for one in told if one.doing == "preparing"]
    assert preparing == [(number, len(questions()), text) for number, text in enumerate(questions(), start=1)]


async def test_the_bench_looks_at_itself_while_it_measures(recordings):
    async with ScriptedNode().up() as node:
        asked = options(node, recordings / "one.wav", pace=Pace(), think=Interval(0.1, 0.1), listen="first-audible")
        report = await run_bench(asked)
        faster = await run_bench(options(node, recordings / "one.wav"))
    assert report.self_check.append_lag_ms.n == 25  # 0.5 s of 20 ms
    assert report.self_check.loop_lag_ms.n > 10
    assert 0.0 < report.self_check.cpu_percent < 200.0
    assert faster.self_check is None  # lags of another pace say nothing


# ── several conversations at once ─────────────────────────────────────────────────────────────────────────


async def test_every_conversation_has_its_session_its_order_and_all_the_recordings(recordings):
    for name in ("three", "four", "five"):
        write_wav(recordings / f"{name}.wav", tone(0.5))
    async with ScriptedNode().up() as node:
        report = await run_bench(options(node, recordings, sessions=3))
    played = {n: [row.audio for row in report.turns if row.session == n] for n in (1, 2, 3)}
    everything = sorted(path.name for path in recordings.iterdir())
    assert all(sorted(names) == everything for names in played.values())
    assert len({tuple(names) for names in played.values()}) > 1
    assert node.sessions == 3
    assert node.most_at_once == 3
    assert report.summary.turns == 15
    assert report.environment["conversations"] == 3


async def test_who_has_said_everything_talks_on_until_the_last_one_has(recordings):
    others_talked_on = asyncio.Event()

    async def one_is_slow(socket, turn):
        if socket is node.first:
            await others_talked_on.wait()
        elif turn == 4:
            others_talked_on.set()
        await whole_answer(socket, turn)

    async with ScriptedNode(one_is_slow).up() as node:
        report = await run_bench(options(node, recordings / "one.wav", sessions=2, turns=2))
    assert [row.session for row in report.turns] == [1, 1, 2, 2]
    assert others_talked_on.is_set()
    assert report.interrupted is None


async def test_runs_are_repeated_in_new_sessions_and_counted_apart(recordings):
    async with ScriptedNode().up() as node:
        report = await run_bench(options(node, recordings, runs=2))
    assert [(row.run, row.audio) for row in report.turns] == [
        (1, "one.wav"),
        (1, "two.wav"),
        (2, "one.wav"),
        (2, "two.wav"),
    ]
    assert node.sessions == 2
    assert {run: summary.turns for run, summary in report.runs.items()} == {1: 2, 2: 2}


async def test_a_conversation_that_is_not_let_in_does_not_end_the_others(recordings):
    async with ScriptedNode(room_for=1).up() as node:
        report = await run_bench(options(node, recordings, sessions=2))
    assert report.interrupted.startswith("1 of 2 conversations: the node at")
    assert len(report.turns) == 2


async def test_progress_says_what_all_conversations_do(recordings):
    told = []
    async with ScriptedNode().up() as node:
        await run_bench(options(node, recordings, sessions=2, progress=told.append))
    assert {len(one.all_doing) for one in told} == {2}
    assert [one.turn for one in told if one.doing == "done"] == [1, 2, 3, 4]
    assert {one.turns for one in told} == {4}


async def test_a_pause_is_put_into_recordings_and_an_answer_in_it_is_talking_over(tmp_path):
    words = np.concatenate([tone(0.7), np.zeros(WIRE_RATE_HZ // 10, np.float32), tone(0.7)])
    write_wav(tmp_path / "sentence.wav", words)
    async with ScriptedNode(answer_in_pauses).up() as node:
        report = await run_bench(options(node, tmp_path, hesitate=Interval(4.0, 4.0)))
    (row,) = report.turns
    assert row.hesitates_ms == 4000.0
    assert "talked_over" in row.problems
    assert row.restarts == 1


async def answer_in_pauses(socket, turn):
    await say(socket, "input_audio_buffer.speech_stopped")
    await whole_answer(socket, turn)


async def test_recordings_without_a_quiet_place_cannot_hesitate(recordings):
    async with ScriptedNode().up() as node:
        with pytest.raises(ConfigError, match="quiet place"):
            await run_bench(options(node, recordings, hesitate=Interval(1.0, 1.0)))
