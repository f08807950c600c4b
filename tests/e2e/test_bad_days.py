"""What a node has to survive: too much, too loud, too long, too slow, and its own end."""

from __future__ import annotations

import asyncio
import base64
import ctypes
import gc
import json
import logging
import re
import signal
import sys
import threading
import time
from asyncio.subprocess import PIPE
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from tests.e2e.caller import Caller, calling
from tests.e2e.faults import Faults, settled
from tests.e2e.nodes import RunningNode, running_node
from tests.protocol.order import check
from tests.real import engines as real_engines
from tests.speech import RATE_HZ, say, silence, utterance
from voiceedge.audio.pcm import PCM, to_pcm16
from voiceedge.engines import Prompt
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.fake_defects import FakeDelays
from voiceedge.engines.fake_llm import FakeLlm
from voiceedge.protocol.client_events import MAX_AUDIO_BYTES
from voiceedge.server import socket as server_socket
from voiceedge.session import outbox

log = logging.getLogger(__name__)

QUESTION = "What is the capital of France?"
ANSWER = "Paris is the capital of France. It lies on the Seine."


@pytest.fixture(scope="module")
def node():
    with running_node(fake_engines(text=QUESTION, answer=ANSWER, slots=8)) as node:
        yield node


async def asks(caller: Caller, text: str = QUESTION) -> None:
    content = [{"type": "input_text", "text": text}]
    await caller.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
    await caller.send("response.create")


async def is_answered(caller: Caller) -> None:
    done = (await caller.until("response.done"))["response"]
    assert done["status"] == "completed", done["status_details"]


async def closed(caller: Caller) -> int | None:
    """Read to the end and return the close code."""
    try:
        while True:
            await caller.socket.recv()
    except ConnectionClosed as end:
        return end.rcvd.code if end.rcvd else None


def hum(seconds: float) -> PCM:
    """A sound without a pause, at 24 kHz."""
    return np.sin(np.arange(round(seconds * RATE_HZ), dtype=np.float32) * 0.1) * np.float32(0.2)


# ── too much ──────────────────────────────────────────────────────────────────────────────────────────


async def test_fifteen_mebibytes_of_audio_in_one_message_hold_no_neighbour_up():
    quiet = base64.b64encode(to_pcm16(silence(1.0)) * (MAX_AUDIO_BYTES // (2 * RATE_HZ))).decode()

    async def burst(caller: Caller) -> None:
        for _ in range(2):
            await caller.send("input_audio_buffer.append", audio=quiet)
        await caller.hear(utterance(QUESTION))
        await is_answered(caller)

    with running_node(fake_engines(text=QUESTION, answer=ANSWER, slots=2), audio_ahead_s=700, byte_rate=1e8) as node:
        async with calling(node.url) as caller, calling(node.url) as neighbour:
            await neighbour.update(output_modalities=["text"])
            bursting = asyncio.create_task(burst(caller))
            for _ in range(3):
                await asks(neighbour)
                await is_answered(neighbour)
            assert not bursting.done()
            await bursting
        assert "error" not in caller.types()


async def test_a_message_that_takes_longer_than_a_silent_client_may_is_heard_to_its_end(monkeypatch):
    monkeypatch.setattr("voiceedge.session.listening.SILENT_CLIENT_S", 0.2)
    with running_node(fake_engines(FakeDelays(vad_s=0.002), text=QUESTION)) as node:
        async with calling(node.url) as caller:
            await caller.append(to_pcm16(hum(0.5)))
            await caller.append(to_pcm16(np.concatenate([hum(10.0), silence(2.0)])))
            await is_answered(caller)
    assert len(caller.of("input_audio_buffer.speech_stopped")) == 1
    assert caller.of("input_audio_buffer.speech_stopped")[0]["audio_end_ms"] > 10_000


async def test_a_turn_longer_than_the_memory_for_audio_is_answered(node: RunningNode):
    async with calling(node.url) as caller:
        for _ in range(2):
            await caller.append(to_pcm16(hum(160.0)))
        await caller.hear(to_pcm16(silence(2.0)))
        await is_answered(caller)


async def test_a_message_beyond_24_mebibytes_closes_its_own_socket_only(node: RunningNode):
    async with calling(node.url) as caller, calling(node.url) as neighbour:
        await asks(neighbour)
        with suppress(ConnectionClosed):  # it may be closed while it still sends
            await caller.socket.send("x" * (24 * 1024 * 1024 + 1))
        assert await closed(caller) == 1009
        await is_answered(neighbour)


async def test_text_that_is_no_utf_8_closes_its_own_socket_only(node: RunningNode):
    async with calling(node.url) as caller, calling(node.url) as neighbour:
        await asks(neighbour)
        await caller.socket.send(b'{"type": "\xff\xfe"}', text=True)
        assert await closed(caller) == 1007
        await is_answered(neighbour)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("depth", [100, 900, 5_000, 500_000])
@pytest.mark.parametrize(
    "message",
    [
        '{"type": "session.update", "session": {"type": "realtime", "tools": %s}}',
        '{"type": "session.update", "session": {"type": "realtime", "prompt": %s, "tracing": {"metadata": %s}}}',
        '{"type": "response.create", "response": {"metadata": {"x": %s}, "tools": %s}}',
        '{"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": %s}}',
        '{"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "c", "output": %s}}',
        '{"type": "no.such.type", "x": %s}',
        '{"event_id": %s}',
    ],
)
async def test_deep_nesting_is_an_error_and_the_session_goes_on(node: RunningNode, message: str, depth: int):
    async with calling(node.url) as caller:
        await caller.update(output_modalities=["text"])
        await caller.socket.send(message.replace("%s", nested(depth)))
        await caller.send("input_audio_buffer.clear")
        while (await caller.next())["type"] != "input_audio_buffer.cleared":
            pass
        if caller.of("response.created"):
            await is_answered(caller)
        await asks(caller)
        await is_answered(caller)


async def test_a_flood_of_requests_makes_one_response_at_a_time(node: RunningNode):
    requests = 300
    async with calling(node.url) as caller:
        await caller.update(output_modalities=["text"])
        for _ in range(requests):
            await caller.send("response.create")
        ended = 0
        while ended < requests:
            ended += (await caller.next())["type"] in {"response.done", "error"}
        assert {event["error"]["code"] for event in caller.of("error")} <= {"conversation_already_has_active_response"}
        assert len(caller.of("response.created")) + len(caller.of("error")) == requests
        check(caller.seen)
        await asks(caller)
        await is_answered(caller)


async def test_a_request_that_is_cancelled_at_once_is_created_and_done(node: RunningNode):
    async with calling(node.url) as caller:
        for _ in range(20):
            await caller.send("response.create")
            await caller.send("response.cancel")
        await caller.send("response.create", response={"output_modalities": ["text"]})
        done = [(await caller.until("response.done"))["response"]["status"] for _ in range(21)]
        assert done == ["cancelled"] * 20 + ["completed"]
        check(caller.seen)


async def test_a_flood_of_new_instructions_lets_one_task_at_a_time_into_the_llms_stream():
    faults = Faults(llm_step_s=0.001)
    updates = 100
    with running_node(faults.engines(fake_engines(slots=2))) as node:
        async with calling(node.url) as caller:
            for number in range(updates):
                await caller.send(
                    "session.update", session={"type": "realtime", "instructions": f"Be {number} times brief. " * 20}
                )
                if number % 10 == 5:
                    await caller.send("response.create")
                    await caller.send("response.cancel")
            for _ in range(updates):
                await caller.until("session.updated")
            await asks(caller)
            while (await caller.until("response.done"))["response"]["status"] == "cancelled":
                pass
            check(caller.seen)
    assert faults.shared_streams == 0


async def test_a_conversation_of_thousands_of_items_is_forgotten_down_to_the_context():
    prompts: list[Prompt] = []

    def answer(prompt: Prompt) -> str:
        prompts.append(prompt)
        return ANSWER

    with running_node(fake_engines(answer=answer, slots=1)) as node:
        async with calling(node.url) as caller:
            await caller.update(output_modalities=["text"])
            for number in range(2_100):
                role, kind = ("user", "input_text") if number % 2 == 0 else ("assistant", "output_text")
                item = {"id": f"item_{number}", "type": "message", "role": role}
                item["content"] = [{"type": kind, "text": f"This is number {number} of many."}]
                await caller.send("conversation.item.create", item=item)
            await caller.send("response.create")
            while json.loads(await caller.socket.recv())["type"] != "response.created":
                pass
            await is_answered(caller)
            await caller.send("conversation.item.retrieve", item_id="item_0")
            await caller.until("error")
            await caller.send("conversation.item.retrieve", item_id="item_2099")
            await caller.until("conversation.item.retrieved")
    shown = [message.text for message in prompts[0].messages[1:]]
    assert shown[-1] == "This is number 2099 of many."
    assert 10 < len(shown) < 200


async def test_text_that_costs_more_tokens_than_estimated_is_forgotten_too():
    # the fake has a token a word: these cost half as much again as their letters let expect
    with running_node(fake_engines(slots=1, context_tokens=1024), max_answer_tokens=16) as node:
        async with calling(node.url) as caller:
            await caller.update(output_modalities=["text"])
            for _ in range(6):
                await asks(caller, "a " * 300)
                await is_answered(caller)


# ── too loud ──────────────────────────────────────────────────────────────────────────────────────────


async def test_minutes_of_silence_say_nothing(node: RunningNode):
    async with calling(node.url) as caller:
        caller.seen.clear()
        for _ in range(18):
            await caller.append(to_pcm16(silence(10.0)))
        await caller.send("input_audio_buffer.clear")
        await caller.until("input_audio_buffer.cleared")
    assert caller.types() == ["input_audio_buffer.cleared"]


async def test_noise_without_words_becomes_neither_an_item_nor_an_answer():
    def heard(audio: PCM) -> str:
        return "" if len(audio) > 5 * 16_000 else QUESTION

    noise = np.random.default_rng(0).normal(0, 0.1, 20 * RATE_HZ).astype(np.float32)
    with running_node(fake_engines(text=heard, slots=1)) as node:
        async with calling(node.url) as caller:
            for _ in range(3):
                await caller.append(to_pcm16(np.concatenate([noise, silence(2.0)])))
            await caller.hear(utterance(QUESTION))
            await is_answered(caller)
    assert len(caller.of("input_audio_buffer.speech_started")) == 4
    assert len(caller.of("input_audio_buffer.committed")) == 1
    assert len(caller.of("response.created")) == 1


async def test_clipped_speech_is_answered(node: RunningNode):
    async with calling(node.url) as caller:
        await caller.hear(to_pcm16(np.concatenate([np.clip(30 * say(QUESTION), -1, 1), silence(2.0)])))
        await is_answered(caller)


@pytest.mark.models
async def test_noise_hum_and_an_offset_are_no_speech_to_the_real_models():
    random = np.random.default_rng(0)
    seconds = 8
    hum = np.sin(np.arange(seconds * RATE_HZ) * 2 * np.pi * 50 / RATE_HZ) * 0.3
    offset = np.full(seconds * RATE_HZ, 0.3) + random.normal(0, 0.001, seconds * RATE_HZ)
    full_scale = np.ones(seconds * RATE_HZ)
    noise = random.normal(0, 0.2, seconds * RATE_HZ)
    clipped = np.clip(random.normal(0, 5, seconds * RATE_HZ), -1, 1)
    with running_node(real_engines("nano")) as node:
        async with calling(node.url) as caller:
            for sound in (offset, full_scale, hum):
                await caller.append(to_pcm16(sound.astype(np.float32)))
                await caller.append(to_pcm16(silence(2.0)))
            assert await _quiet(caller)
            assert "input_audio_buffer.speech_started" not in caller.types()
            for sound in (noise, clipped):
                await caller.append(to_pcm16(sound.astype(np.float32)))
                await caller.append(to_pcm16(silence(2.0)))
            assert await _quiet(caller)
            speech = say(QUESTION)
            for heard in (speech + np.float32(0.2), np.clip(20 * speech, -1, 1)):
                await caller.append(to_pcm16(np.concatenate([heard, silence(2.0)])))
                await is_answered(caller)


async def _quiet(caller: Caller) -> bool:
    """Whether nothing that was heard so far became an item."""
    await caller.send("input_audio_buffer.clear")
    await caller.until("input_audio_buffer.cleared")
    return not caller.of("input_audio_buffer.committed") and not caller.of("response.created")


# ── too slow ──────────────────────────────────────────────────────────────────────────────────────────

BIG = "word " * 100_000


async def stall(caller: Caller) -> None:
    """Ask for far more than the system's buffers hold, and read nothing of it."""
    item = {"id": "big", "type": "message", "role": "user", "content": [{"type": "input_text", "text": BIG}]}
    caller.socket.transport.pause_reading()
    await caller.send("conversation.item.create", item=item)
    for _ in range(60):
        await caller.send("conversation.item.retrieve", item_id="big")


async def until_slots(llm: FakeLlm, free: int) -> None:
    """Wait until the sessions that have failed have given their slots back."""
    deadline = time.monotonic() + 5.0
    while llm.free_slots != free:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


async def test_a_reader_that_stalls_is_cut_off_with_1008_and_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outbox, "STALL_S", 0.2)
    engines = fake_engines(slots=2)
    assert isinstance(engines.llm, FakeLlm)
    with running_node(engines, max_sessions=2) as node:
        async with calling(node.url) as neighbour:
            async with calling(node.url) as caller:
                await stall(caller)
                await asks(neighbour)
                await is_answered(neighbour)
                await until_slots(engines.llm, 1)
                caller.socket.transport.resume_reading()
                assert await closed(caller) == 1008
            await settled(node, sessions=1)


async def test_a_reader_that_never_reads_again_does_not_keep_its_place(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outbox, "STALL_S", 0.2)
    monkeypatch.setattr(server_socket, "CLOSE_S", 0.1)
    with running_node(fake_engines(slots=2), max_sessions=2) as node:
        async with calling(node.url), calling(node.url) as caller:
            await stall(caller)
            await settled(node, sessions=1)
            async with calling(node.url) as next_one:
                await asks(next_one)
                await is_answered(next_one)
            caller.socket.transport.abort()


async def test_more_events_than_may_wait_are_a_reason_in_words(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outbox, "MAX_EVENTS", 30)
    with running_node(fake_engines(slots=1, answer="word " * 200)) as node:
        async with calling(node.url) as caller:
            await stall(caller)
            caller.socket.transport.resume_reading()
            with pytest.raises(ConnectionClosed) as end:
                await caller.until("no event of this name: the socket is closed first")
    assert end.value.rcvd is not None
    assert (end.value.rcvd.code, end.value.rcvd.reason) == (1008, "30 events wait to be read.")


async def test_a_node_that_stops_does_not_wait_for_who_does_not_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server_socket, "GOODBYE_S", 0.1)
    with running_node(fake_engines(slots=2), drain_s=0.1) as node:
        node.server.config.timeout_graceful_shutdown = 1
        async with calling(node.url) as caller, calling(node.url) as neighbour:
            await stall(caller)
            node.stop()
            assert await closed(neighbour) == 1001
            caller.socket.transport.abort()


# ── turned off ────────────────────────────────────────────────────────────────────────────────────────

STORY = " ".join(f"This is sentence number {n}." for n in range(6))


async def listening(caller: Caller) -> int:
    await caller.send("input_audio_buffer.clear")
    await caller.until("input_audio_buffer.cleared")
    return 0


async def hearing(caller: Caller) -> int:
    await caller.hear(to_pcm16(say(QUESTION)))
    await caller.until("input_audio_buffer.speech_started")
    return 0


async def thinking(caller: Caller) -> int:
    await asks(caller)
    await caller.until("response.created")
    return 1


async def speaking(caller: Caller) -> int:
    await asks(caller)
    await caller.until("response.output_audio.delta")
    return 1


async def overlap(caller: Caller) -> int:
    await caller.update(audio={"input": {"turn_detection": {"type": "server_vad", "interrupt_response": False}}})
    await speaking(caller)
    await caller.hear(to_pcm16(say(QUESTION)))
    await caller.until("input_audio_buffer.speech_started")
    return 1


async def queued(caller: Caller) -> int:
    await overlap(caller)
    await caller.hear(to_pcm16(silence(1.0)))
    await caller.until("input_audio_buffer.committed")
    return 2


@pytest.mark.parametrize("state", [listening, hearing, thinking, speaking, overlap, queued])
async def test_a_node_may_stop_in_every_state(state, caplog: pytest.LogCaptureFixture):
    delays = FakeDelays(llm_first_token_s=0.05, llm_token_s=0.005)
    with running_node(fake_engines(delays, answer=STORY, slots=2)) as node:
        async with calling(node.url) as caller, calling(node.url) as neighbour:
            await speaking(neighbour)
            answers = await state(caller)
            assert len(caller.of("response.done")) == 0
            node.stop()
            for client, count in ((caller, answers), (neighbour, 1)):
                for _ in range(count):
                    await is_answered(client)
                with pytest.raises(ConnectionClosed) as end:
                    await client.until("no event of this name: the socket is closed first")
                assert end.value.rcvd is not None
                assert end.value.rcvd.code == 1001
                check(client.seen)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_an_answer_that_takes_too_long_is_cut_when_the_node_stops(caplog: pytest.LogCaptureFixture):
    with running_node(fake_engines(FakeDelays(llm_token_s=0.01), answer="word " * 500), drain_s=0.05) as node:
        async with calling(node.url) as caller:
            await caller.update(output_modalities=["text"])
            await asks(caller)
            await caller.until("response.output_text.delta")
            node.stop()
            assert await closed(caller) == 1001
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def listener(port: int) -> None:
    """Wait until somebody listens: the node names its port a moment before."""
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return


async def test_a_full_disk_costs_trace_lines_only_and_sigterm_ends_the_process_well():
    flags = ("--engines", "fake", "--port", "0", "--trace-file", "/dev/full")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "voiceedge.cli", "serve", *flags), stdout=PIPE, stderr=PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(20):
            while not (page := re.search(rb"http://[^:]+:(\d+)/", await process.stdout.readline())):
                assert process.returncode is None
            await listener(int(page[1]))
            async with calling(f"ws://127.0.0.1:{int(page[1])}/v1/realtime") as caller:
                for _ in range(2):
                    await asks(caller)
                    await is_answered(caller)
                await caller.send("response.create")
                await caller.until("response.created")
                process.send_signal(signal.SIGTERM)
                await is_answered(caller)
                assert await closed(caller) == 1001
            errors = await process.stderr.read()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
    assert errors.count(b"trace file cannot be written") == 1  # of three turns
    assert b"Traceback" not in errors


SOAK = Path(__file__).resolve().parents[2] / "scripts" / "soak"


@pytest.mark.models
async def test_a_long_conversation_neither_slows_down_nor_grows():
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, SOAK, "--turns", "12", "--context-tokens", "1024", "--max-ratio", "3"), stdout=PIPE
    )
    table, _ = await process.communicate()
    assert process.returncode == 0, table.decode()
    assert b"forgotten" in table


# ── too often ─────────────────────────────────────────────────────────────────────────────────────────

CYCLES, WARM_UP = 200, 100
MEBIBYTE = 1024 * 1024
MOST_GROWN_MIB = 16
"""80 KiB a call; the audio of one session takes 940. Less is noise: both event loops keep up to a hundred timers that
were cancelled, and with them sockets that are closed."""


def resident_bytes() -> int:
    """What is in use: glibc keeps freed pieces, 4 to 14 MiB more of them after 200 calls, and no more after 2,000."""
    gc.collect()
    with suppress(AttributeError):  # musl has no such function
        ctypes.CDLL(None).malloc_trim(0)
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_two_hundred_calls_leave_nothing_behind(caplog: pytest.LogCaptureFixture):
    for noisy in ("voiceedge", "uvicorn"):
        caplog.set_level(logging.WARNING, logger=noisy)  # what pytest keeps of the log is no leak of the node's
    with running_node(fake_engines(slots=2), max_sessions=2) as node:
        threads = files = memory = 0
        for cycle in range(WARM_UP + CYCLES):
            if cycle == WARM_UP:
                await settled(node, sessions=0)
                threads, files, memory = threading.active_count(), descriptors(), resident_bytes()
            async with calling(node.url) as caller:
                await caller.append(utterance(QUESTION)[: 2 * RATE_HZ])
                await caller.send("response.create")
                await caller.until(("response.created", "response.output_audio.delta", "response.done")[cycle % 3])
                if cycle % 2:
                    caller.socket.transport.abort()
        await settled(node, sessions=0)
        assert threading.active_count() == threads
        deadline = time.monotonic() + 5.0
        while descriptors() > files:  # both ends close their sockets a moment after the session
            assert time.monotonic() < deadline, (files, descriptors())
            await asyncio.sleep(0.002)
        grown = (resident_bytes() - memory) / MEBIBYTE
        log.info("%d calls: %+.1f MiB", CYCLES, grown)
        assert grown < MOST_GROWN_MIB
