"""Recordings over real sockets: what a session heard and said is on them, of those that agree."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.e2e.caller import Caller, calling
from tests.e2e.nodes import running_node
from tests.e2e.whole import whole_node
from tests.server.test_recording_files import read
from tests.speech import utterance
from voiceedge.engines.fake import fake_engines
from voiceedge.server.recording_files import EVENTS
from voiceedge.server.recording_tape import RATE_HZ

DETECTION = {"type": "server_vad"}
QUESTION = "What is the capital of France?"
YES, NO = {"record": True}, {"record": False}
LONG_ANSWER = " ".join(f"This is sentence number {n} of a long answer." for n in range(20))


def recordings(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def lines_of(recording: Path) -> list[dict]:
    return [json.loads(line) for line in (recording / EVENTS).read_bytes().splitlines()]


async def asks(caller: Caller) -> None:
    await caller.hear(utterance(QUESTION, 1.2))
    await caller.until("response.done")


async def fetched(url: str, body: bytes | None = None) -> Any:
    with await asyncio.to_thread(urllib.request.urlopen, url, body) as answer:
        return json.load(answer)


def samples(pcm16: bytes) -> np.ndarray:
    return np.frombuffer(pcm16, "<i2")


async def test_a_turn_is_on_it_as_it_was_heard_and_said(tmp_path: Path):
    with whole_node(fake_engines(slots=1), record=tmp_path / "r") as node:
        assert (await fetched(node.http + "/v1/node"))["records"] == "client"
        async with calling(node.url) as caller:
            told = await caller.update(voiceedge=YES, audio={"input": {"transcription": {"model": "x"}}})
            assert told["session"]["voiceedge"] == YES
            spoken = utterance(QUESTION, 1.2)
            speech = samples(spoken)
            await caller.hear_in_real_time(spoken)
            await caller.until("response.done")
            said = samples(caller.audio())
            stopped = caller.of("input_audio_buffer.speech_stopped")[0]
    (recording,) = recordings(tmp_path / "r")
    left, right = read(recording).T
    assert (left[: len(speech)] == speech).all()
    assert not left[len(speech) :].any()
    begin = int(np.flatnonzero(right)[0])
    first = int(np.flatnonzero(said)[0])
    assert (right[begin - first : begin - first + len(said)] == said).all()
    assert np.count_nonzero(right) == np.count_nonzero(said)
    # heard behind the end of the turn, as fast as the fakes are
    place_s = (begin - first) / RATE_HZ
    assert stopped["audio_end_ms"] / 1000 - 0.05 < place_s < len(speech) / RATE_HZ + 1.0
    first_line, *lines, last = lines_of(recording)
    assert recording.name.endswith(first_line["session"])
    words = json.dumps(lines)
    assert QUESTION in words
    assert "Paris is the capital of France." in words
    assert "input_audio_buffer.append" not in words
    assert last["event"]["is_complete"]
    (done,) = (line["event"] for line in lines if line["event"]["type"] == "response.done")
    assert done["event_id"] == caller.of("response.done")[0]["event_id"]


async def test_what_barge_in_has_cut_off_is_not_on_it(tmp_path: Path):
    with whole_node(fake_engines(answer=LONG_ANSWER, slots=1), record=tmp_path) as node:
        async with calling(node.url) as caller:
            await caller.update(
                voiceedge=YES, audio={"input": {"turn_detection": {**DETECTION, "create_response": False}}}
            )
            await caller.send("response.create")
            await caller.until("response.output_audio.delta")
            await caller.hear_in_real_time(utterance("Stop. What about London?", 0.4))
            done = await caller.until("response.done")
            assert done["response"]["status_details"]["reason"] == "turn_detected"
            sent = len(samples(caller.audio()))
    (recording,) = recordings(tmp_path)
    right = read(recording)[:, 1]
    (cut,) = [line for line in lines_of(recording)[1:] if line["event"]["type"] == "cut"]
    assert cut["event"]["unheard_s"] > 1.0
    heard = np.flatnonzero(right)
    assert heard[-1] / RATE_HZ == pytest.approx(cut["at_s"], abs=0.01)
    heard_s = (heard[-1] - heard[0]) / RATE_HZ
    assert heard_s == pytest.approx(sent / RATE_HZ - cut["event"]["unheard_s"], abs=0.05)


@pytest.mark.parametrize("format_type", ["audio/pcmu", "audio/pcma"])
async def test_telephones_are_recorded_as_well(tmp_path: Path, format_type: str):
    with whole_node(fake_engines(slots=1), record=tmp_path) as node:
        async with calling(node.url) as caller:
            form = {"format": {"type": format_type}}
            await caller.update(voiceedge=YES, audio={"input": {**form, "turn_detection": None}, "output": form})
            await caller.append(bytes(range(256)) * 40)  # 1.28 s at 8 kHz
            await caller.send("input_audio_buffer.commit")
            await caller.send("response.create")
            await caller.until("response.done")
            sent = len(caller.audio()) * 3
    (recording,) = recordings(tmp_path)
    left, right = read(recording).T
    assert np.flatnonzero(left)[-1] == pytest.approx(1.28 * RATE_HZ, abs=100)
    heard = np.flatnonzero(right)
    assert heard[-1] - heard[0] == pytest.approx(sent, abs=0.02 * RATE_HZ)


async def test_nobody_who_has_not_agreed_is_recorded_and_nobody_who_says_no(tmp_path: Path):
    with whole_node(fake_engines(slots=4), record=tmp_path) as node:
        async with calling(node.url) as caller:
            assert (await caller.update(instructions="Be brief."))["session"]["voiceedge"] == NO
            await asks(caller)
        assert recordings(tmp_path) == []
        async with calling(node.url) as caller:
            await caller.update(voiceedge=YES)
            await asks(caller)
            assert len(recordings(tmp_path)) == 1
            assert (await caller.update(voiceedge=NO))["session"]["voiceedge"] == NO
            await asks(caller)
            assert recordings(tmp_path) == []
    assert recordings(tmp_path) == []


async def test_consent_may_come_with_a_client_secret(tmp_path: Path):
    with whole_node(fake_engines(slots=2), record=tmp_path) as node:
        body = json.dumps({"session": {"type": "realtime", "voiceedge": YES}}).encode()
        made = await fetched(node.http + "/v1/realtime/client_secrets", body)
        assert made["session"]["voiceedge"] == YES
        async with calling(node.url, additional_headers={"Authorization": f"Bearer {made['value']}"}) as caller:
            assert caller.seen[0]["session"]["voiceedge"] == YES
            await asks(caller)
    assert len(recordings(tmp_path)) == 1


async def test_where_the_operator_answers_for_it_everybody_is_told_and_recorded(tmp_path: Path):
    with whole_node(fake_engines(slots=1), record=tmp_path, record_consent="operator") as node:
        async with calling(node.url) as caller:
            assert caller.seen[0]["session"]["voiceedge"] == YES
            await asks(caller)
    assert len(recordings(tmp_path)) == 1


async def test_a_node_that_records_nobody_says_so_to_who_asks_for_it(tmp_path: Path):
    with running_node(fake_engines(slots=1)) as node:
        async with calling(node.url) as caller:
            assert "voiceedge" not in caller.seen[0]["session"]
            assert (await caller.update(voiceedge=YES))["session"]["voiceedge"] == NO
            await asks(caller)
    assert recordings(tmp_path) == []


def test_without_the_setting_nothing_of_it_is_even_imported():
    code = (
        "import sys\n"
        "from tests.e2e.whole import whole_node\n"
        "from voiceedge.engines.fake import fake_engines\n"
        "with whole_node(fake_engines()): print([name for name in sys.modules if 'recording' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
