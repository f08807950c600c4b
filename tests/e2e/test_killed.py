"""A node that is killed leaves nothing behind that the next one stumbles over, and its clients come back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.killed import kill_in_mid_answer
from tests.e2e.processes import FAKE, SLOW, node
from tests.speech import RATE_HZ, silence, utterance
from voiceedge.audio.pcm import to_pcm16

QUESTION = "What is the capital of France?"
STORY = "Tell me a long story about a dog and a cat."


def start(*flags: str, module: str):
    return lambda port: node(*flags, port=port, module=module)


async def test_a_client_that_reconnects_talks_on_with_a_node_that_was_killed_in_mid_answer(tmp_path: Path):
    trace = tmp_path / "trace.jsonl"
    hum = np.sin(np.arange(RATE_HZ // 2, dtype=np.float32) * 0.1) * np.float32(0.2)
    question = to_pcm16(np.concatenate([hum, silence(1.0)]))
    found = await kill_in_mid_answer(start(*FAKE, "--trace-file", str(trace), module=SLOW), STORY, question)
    assert found.close_code == 1006
    assert found.answer.startswith("This is sentence number 1 of four.")
    assert found.ready_s <= found.reconnected_s <= found.answered_s
    turns = [json.loads(line) for line in trace.read_text("utf-8").splitlines()]
    # the second node may be gone before it has written its line
    assert [turn["status"] for turn in turns] in ([], ["completed"]), "the killed one is over for nobody"


@pytest.mark.models
@pytest.mark.slow
async def test_the_same_with_models():
    found = await kill_in_mid_answer(
        start("--profile", "nano", "--offline", module="voiceedge.cli"), STORY, utterance(QUESTION)
    )
    assert "Paris" in found.answer
