"""Real models through the scheduler: what sessions say together is what each says alone, bit for bit."""

import asyncio
import random
from contextlib import aclosing

import numpy as np
import pytest

from tests.real import local_model
from voiceedge.engines import Message, Piece, Prompt, Sampling
from voiceedge.engines.onnx_llm import OnnxLlm
from voiceedge.session.compute import Compute

MODELS = ("smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct")
SESSIONS = 6
WORKERS = 2
TOPICS = ("the sea", "an old lighthouse and its keeper, who lived there alone", "bread", "rain in the mountains")


def ask(number, turn):
    text = f"Tell me about {TOPICS[(number + turn) % len(TOPICS)]}" + ", please" * number
    return Prompt((Message("system", "You are a kind voice."), Message("user", text)))


async def converse(compute, stream, number, *, cancels, start):
    """Three turns of one session; those in `cancels` are broken off after so many tokens. What was said, by turn."""
    for _ in range(start):  # join at another moment than the others
        await compute.run(lambda: None, deadline=0.0)
    said = []
    for turn in range(3):
        prompt, limit, tokens = ask(number, turn), cancels.get(turn), []
        sampling = Sampling(max_tokens=6 + 2 * number)
        steps = compute.stream(lambda p=prompt, s=sampling: stream.generate(p, s), deadline=lambda: float(number % 3))
        async with aclosing(steps):
            async for step in steps:
                if isinstance(step, Piece):
                    tokens.append(step.token)
                if limit is not None and len(tokens) == limit:
                    break
        said.append(tokens)
    return said


def rows(llm, stream):
    slot = stream._slot
    # the last turn's tokens are all that stands in the slot, whether a run ahead has been made for one more or not
    return [array[slot.index, :, : len(slot.tokens)].copy() for layer in llm.slab.layers for array in layer]


@pytest.mark.models
@pytest.mark.parametrize("model", MODELS)
async def test_sessions_that_join_leave_and_break_off_say_what_each_says_alone(model, monkeypatch):
    chance = random.Random(1)
    plans = [
        {"cancels": {chance.randrange(2): chance.randrange(1, 5)}, "start": chance.randrange(6)}
        for _ in range(SESSIONS)
    ]
    llm = OnnxLlm(local_model(model).build, slots=SESSIONS, context_tokens=256, threads=2)
    compute = Compute(WORKERS)
    try:
        alone = []
        for number, plan in enumerate(plans):
            stream = llm.open()
            said = await converse(compute, stream, number, **plan)
            alone.append((said, list(stream._slot.tokens), rows(llm, stream)))
            stream.close()
        batches, reserve = [], llm.batching.reserve
        monkeypatch.setattr(llm.batching, "reserve", lambda *rows: batches.append(reserve(*rows)) or batches[-1])
        streams = [llm.open() for _ in plans]
        together = await asyncio.gather(
            *(
                converse(compute, stream, number, **plan)
                for number, (stream, plan) in enumerate(zip(streams, plans, strict=True))
            )
        )
        for (said, tokens, expected), stream, heard in zip(alone, streams, together, strict=True):
            assert heard == said
            assert stream._slot.tokens == tokens
            assert all(np.array_equal(one, other) for one, other in zip(expected, rows(llm, stream), strict=True))
        sizes = [len(batch.rows) for batch in batches if batch is not None]
        assert max(sizes) >= SESSIONS - 2
        assert len(set(sizes)) > 2  # they did join and leave
    finally:
        compute.close()
