"""Answers that share a run are what they are alone."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.modelstore.build.tiny import write_tiny
from tests.real import local_model
from voiceedge.engines import Message, Piece, Prompt, Sampling
from voiceedge.engines.batching import LARGEST_BATCH, WIDEST_GAP
from voiceedge.engines.onnx_llm import OnnxLlm
from voiceedge.errors import EngineFailed
from voiceedge.modelstore.build import build_llm

SLOTS = LARGEST_BATCH + WIDEST_GAP + 2
GREEDY = Sampling(max_tokens=12)
REAL_MODELS = ("smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct")


def ask(text):
    return Prompt((Message("system", "You answer kindly."), Message("user", text)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    built = tmp_path_factory.mktemp("llm")
    build_llm(write_tiny(built / "tiny.gguf", "llama", tied=False), built, quantise=False)
    return built


@pytest.fixture
def llm(folder):
    return OnnxLlm(folder, slots=SLOTS, context_tokens=128, threads=1)


def to_first_row(answer):
    """Take an answer to where it needs a run of one token."""
    while answer.row is None:
        next(answer)
    return answer


def decoding(llm, words):
    """Answers to prompts of so many words, in neighbouring slots, that wait for a run of one token."""
    streams = [llm.open() for _ in words]
    prompts = [ask("hello " * each) for each in words]
    return streams, [
        to_first_row(stream.generate(prompt, GREEDY)) for stream, prompt in zip(streams, prompts, strict=True)
    ]


def reserve(answers):
    return answers[0].row.batch([answer.row for answer in answers[1:]])


def rest(answer):
    return [step.token for step in answer if isinstance(step, Piece)]


def holds(llm, stream):
    """Whether the rows of the slot's tokens are those that running these tokens afresh gives."""
    slot, fresh = stream._slot, llm.open()
    fresh._lane.run(list(slot.tokens), 0)
    rows = np.s_[:, : len(slot.tokens)]
    same = all(
        np.allclose(array[slot.index][rows], array[fresh._slot.index][rows], atol=1e-4)
        for layer in llm.slab.layers
        for array in layer
    )
    fresh.close()
    return same


def is_locked(llm, index):
    return llm.slab._rows[index].locked()


def test_neighbours_of_different_lengths_share_a_run_and_go_on_as_if_alone(llm):
    words = (1, 7, 3)
    alone = [rest(answer) for answer in decoding(llm, words)[1]]
    streams, answers = decoding(llm, words)
    before = [len(stream._slot.tokens) for stream in streams]
    batch = reserve(answers)
    assert len(batch.rows) == 3
    batch.run()
    assert [len(stream._slot.tokens) for stream in streams] == [length + 1 for length in before]
    assert all(answer.row is None for answer in answers)
    assert [rest(answer) for answer in answers] == alone
    assert all(holds(llm, stream) for stream in streams)


def test_a_row_that_a_batch_has_run_is_not_run_again(llm):
    streams, answers = decoding(llm, (1, 2))
    reserve(answers).run()
    length = len(streams[0]._slot.tokens)
    next(answers[0])
    assert len(streams[0]._slot.tokens) == length


def test_a_slot_that_stands_between_is_run_for_nothing(llm):
    streams, answers = decoding(llm, (1, 2, 3))
    expected = rest(decoding(llm, (2,))[1][0])
    between = list(streams[1]._slot.tokens)
    batch = reserve([answers[0], answers[2]])
    assert [row.slot.index for row in batch.rows] == [0, 2]
    batch.run()
    assert streams[1]._slot.tokens == between
    assert holds(llm, streams[1])
    assert rest(answers[1]) == expected


def test_a_slot_that_nobody_has_may_stand_between(llm):
    streams, answers = decoding(llm, (1, 2, 3))
    streams[1].close()
    reserve([answers[0], answers[2]]).run()
    newcomer = llm.open()
    assert newcomer._slot.index == 1
    answer = rest(newcomer.generate(ask("hello"), GREEDY))
    assert answer == rest(llm.open().generate(ask("hello"), GREEDY))
    assert holds(llm, newcomer)


@pytest.mark.parametrize(("gap", "joins"), [(WIDEST_GAP, True), (WIDEST_GAP + 1, False)])
def test_a_gap_may_only_be_so_wide(llm, gap, joins):
    _, answers = decoding(llm, (1,) * (gap + 2))
    batch = reserve([answers[-1], answers[0]])
    assert (batch is not None) == joins
    if batch is not None:
        batch.run()
    assert not any(is_locked(llm, index) for index in range(SLOTS))


def test_a_batch_is_only_so_large_and_has_the_first_row_in_it(llm):
    _, answers = decoding(llm, (1,) * (LARGEST_BATCH + 2))
    batch = reserve([answers[-1], *answers[:-1]])
    assert len(batch.rows) == LARGEST_BATCH
    assert batch.rows[0] is answers[-1].row
    batch.run()


def test_whoever_is_busy_is_left_out_and_so_is_what_lies_behind(llm):
    _, answers = decoding(llm, (1, 1, 1, 1))
    with answers[2].row.slot.rows:
        batch = reserve(answers)
        assert [row.slot.index for row in batch.rows] == [0, 1]
        batch.run()
    with answers[3].row.slot.rows:
        assert reserve([answers[3], answers[2]]) is None


def test_a_full_slot_cannot_stand_between(llm):
    streams, answers = decoding(llm, (1, 1, 1))
    streams[1]._slot.tokens.extend([5] * (llm.slab.capacity - len(streams[1]._slot.tokens)))
    assert reserve([answers[0], answers[2]]) is None
    assert not any(is_locked(llm, index) for index in range(SLOTS))


def test_a_batch_of_one_is_none(llm):
    _, answers = decoding(llm, (1,))
    assert reserve(answers) is None
    assert not is_locked(llm, 0)


def test_a_run_that_fails_gives_the_slots_back_as_they_were(llm, monkeypatch):
    streams, answers = decoding(llm, (1, 2))
    before = [list(stream._slot.tokens) for stream in streams]
    batch = reserve(answers)
    with monkeypatch.context() as patch:
        patch.setattr(llm.batching.lanes(0, 2), "_session", None)
        with pytest.raises(EngineFailed):
            batch.run()
    assert [stream._slot.tokens for stream in streams] == before
    assert not any(is_locked(llm, index) for index in range(SLOTS))
    assert rest(answers[0]) == rest(decoding(llm, (1,))[1][0])


def test_a_prefill_between_the_members_waits_for_the_run(llm):
    streams, answers = decoding(llm, (1, 1, 1))
    batch = reserve([answers[0], answers[2]])
    with ThreadPoolExecutor(1) as pool:
        prefilled = pool.submit(list, streams[1].warm(ask("something else entirely")))
        batch.run()
        prefilled.result()
    assert holds(llm, streams[1])


def test_an_answer_that_was_closed_while_it_waited_leaves_a_true_cache(llm):
    streams, answers = decoding(llm, (1, 2))
    batch = reserve(answers)
    answers[1].close()
    batch.run()
    assert all(holds(llm, stream) for stream in streams)
    again = rest(streams[1].generate(ask("hello " * 2), GREEDY))
    assert again == rest(llm.open().generate(ask("hello " * 2), GREEDY))


@pytest.mark.models
@pytest.mark.parametrize("model", REAL_MODELS)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_of_real_models_is_each_alone_bit_for_bit(model, threads):
    llm = OnnxLlm(local_model(model).build, slots=5, context_tokens=256, threads=threads)
    streams, answers = decoding(llm, (1, 30, 5, 12, 2))
    rows = [answer.row for answer in answers]
    expected = [stream._lane.run([row.token], len(row.slot.tokens)) for stream, row in zip(streams, rows, strict=True)]
    caches = [array.copy() for layer in llm.slab.layers for array in layer]
    reserve([answers[0], answers[1], answers[3], answers[4]]).run()  # the third stands between
    for row, logits in zip(rows, expected, strict=True):
        if row is not rows[2]:
            assert np.array_equal(row.logits, logits)
    for then, array in zip(caches, (array for layer in llm.slab.layers for array in layer), strict=True):
        for row in rows:
            end = len(row.slot.tokens)
            assert np.array_equal(then[row.slot.index, :, :end], array[row.slot.index, :, :end])
