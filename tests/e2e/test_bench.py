"""`voiceedge bench` finds what is wrong with a node."""

import numpy as np
import pytest

from tests.bench.scripted_node import tone, write_wav
from tests.e2e.nodes import running_node
from voiceedge.bench import BenchOptions, run_bench
from voiceedge.bench.interval import Interval
from voiceedge.budget import parse_budget
from voiceedge.engines.fake import fake_engines
from voiceedge.engines.fake_defects import planted


@pytest.fixture
def question(tmp_path):
    write_wav(tmp_path / "question.wav", np.concatenate([tone(0.6), np.zeros(2400, np.float32)]))
    return tmp_path / "question.wav"


def asking(node, question, **more):
    return BenchOptions(
        url=node.url, audio=(question,), turns=2, think=Interval(0.1, 0.1), listen="first-audible", **more
    )


@pytest.mark.parametrize("stage", ["stt", "llm"])
async def test_an_engine_that_is_late_is_found_in_its_segment(question, stage):
    with running_node(fake_engines(planted(f"fake:{stage}+300"))) as node:
        report = await run_bench(asking(node, question, budget=parse_budget("p50<300ms")))
    (judged,) = report.judged
    assert not judged.verdict.kept
    assert judged.blame.segment == stage
    assert judged.blame.ms > 290.0


async def test_a_ramp_that_ends_at_the_first_step_names_it_as_well(question):
    with running_node(fake_engines(planted("fake:llm+300"))) as node:
        report = await run_bench(asking(node, question, ramp=True, budget=parse_budget("p50<300ms")))
    assert report.ramp.capacity == 0
    assert "With 1 conversation p50<300ms is missed" in report.ramp.limit_reason
    assert "most of it in llm" in report.ramp.limit_reason
