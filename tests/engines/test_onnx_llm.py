"""The decode loop: what is in the cache is always what the tokens say."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.modelstore.build.tiny import write_tiny
from voiceedge.engines import Finished, Message, Piece, Prefilled, Prompt, Sampling
from voiceedge.engines.onnx_llm import CHUNK_TOKENS, SHORTEST_ANSWER_TOKENS, OnnxLlm
from voiceedge.errors import ContextFull, EngineFailed, ModelCorrupt, ModelMissing, Overloaded
from voiceedge.modelstore.build import build_llm

GREEDY = Sampling(max_tokens=12)
LIVELY = Sampling(max_tokens=12, temperature=1.5, top_p=0.95, seed=5)
INSTRUCTIONS = Message("system", "you are a voice that answers in few words, and kindly " * 2)


def ask(text="hello there", *history):
    return Prompt((INSTRUCTIONS, *history, Message("user", text)))


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def folder(request, tmp_path_factory):
    """Unquantised: there one-token steps and chunks agree to the last few bits."""
    built = tmp_path_factory.mktemp(f"llm-{request.param}")
    build_llm(write_tiny(built / "tiny.gguf", request.param, tied=False), built, quantise=False)
    return built


@pytest.fixture
def llm(folder):
    return OnnxLlm(folder, slots=3, context_tokens=256, threads=1)


def tokens_of(steps):
    return [step.token for step in steps if isinstance(step, Piece)]


def answer(stream, prompt, sampling=GREEDY):
    return list(stream.generate(prompt, sampling))


def cache_is_true(llm, stream):
    """The rows of the slot's tokens are those that running these tokens afresh gives."""
    slot = stream._slot
    fresh = llm.open()
    fresh._lane.run(list(slot.tokens), 0)
    rows = np.s_[:, : len(slot.tokens)]
    same = all(
        np.allclose(array[slot.index][rows], array[fresh._slot.index][rows], atol=1e-4)
        for layer in llm.slab.layers
        for array in layer
    )
    fresh.close()
    return same


def test_prefill_comes_in_chunks_then_pieces_then_the_end(llm):
    stream = llm.open()
    prompt = ask()
    steps = answer(stream, prompt)
    kinds = [type(step) for step in steps]
    chunks = kinds.count(Prefilled)
    assert kinds == [Prefilled] * chunks + [Piece] * (len(kinds) - chunks - 1) + [Finished]
    prefilled = [step.tokens for step in steps[:chunks]]
    assert max(prefilled) <= CHUNK_TOKENS
    assert sum(prefilled) == stream.count(prompt) == steps[-1].prompt_tokens
    assert steps[-1].completion_tokens == len(tokens_of(steps))
    assert cache_is_true(llm, stream)


def test_chunks_give_what_one_prefill_gives(llm):
    tokens = llm.chat.tokens(ask("what " * 20))
    one, other = llm.open(), llm.open()
    whole = one._lane.run(tokens, 0).copy()
    for begin in range(0, len(tokens), CHUNK_TOKENS):
        logits = other._lane.run(tokens[begin : begin + CHUNK_TOKENS], begin)
    assert np.allclose(whole, logits, atol=1e-4)


def test_the_next_turn_prefills_only_what_is_new(llm):
    stream = llm.open()
    first = answer(stream, ask())
    said = tokens_of(first)
    prompt = ask("and more?", Message("user", "hello there"), Message("assistant", "…", tuple(said)))
    second = answer(stream, prompt)
    # all but the last token of the answer, which was chosen and never run
    assert second[-1].cached_tokens == first[-1].prompt_tokens + len(said) - 1
    assert tokens_of(second) == tokens_of(answer(llm.open(), prompt))
    assert cache_is_true(llm, stream)


@pytest.mark.parametrize("steps", range(1, 14))
def test_stopping_after_any_step_leaves_a_cache_that_goes_on_as_if_fresh(llm, steps):
    stream = llm.open()
    doomed = stream.generate(ask("a long story about the sea"), LIVELY)
    for _ in range(steps):
        next(doomed)
    doomed.close()
    assert cache_is_true(llm, stream)
    for prompt in (ask("a long story about the sea"), ask("something else")):
        assert tokens_of(answer(stream, prompt, LIVELY)) == tokens_of(answer_of_fresh(llm, prompt))


def answer_of_fresh(llm, prompt):
    stream = llm.open()
    steps = answer(stream, prompt, LIVELY)
    stream.close()
    return steps


def test_rewinding_by_length_is_exact(llm):
    stream = llm.open()
    before = answer(stream, ask())
    answer(stream, ask("quite another question, and a longer one"))
    again = answer(stream, ask())
    assert tokens_of(again) == tokens_of(before)
    assert 0 < again[-1].cached_tokens < again[-1].prompt_tokens


def test_streams_that_take_turns_step_by_step_do_not_disturb_each_other(llm):
    prompts = [ask("the first"), ask("quite another one"), ask("x")]
    alone = [tokens_of(answer_of_fresh(llm, prompt)) for prompt in prompts]
    running = [llm.open().generate(prompt, LIVELY) for prompt in prompts]
    together = [[] for _ in prompts]
    while any(steps is not None for steps in running):
        for i, steps in enumerate(running):
            if steps is None:
                continue
            step = next(steps, None)
            if step is None:
                running[i] = None
            else:
                together[i].append(step)
    assert [tokens_of(steps) for steps in together] == alone


def test_streams_may_run_in_threads_at_the_same_time(llm):
    prompts = [ask("the first"), ask("quite another one"), ask("x")]
    alone = [tokens_of(answer_of_fresh(llm, prompt)) for prompt in prompts]
    streams = [llm.open() for _ in prompts]
    with ThreadPoolExecutor(3) as pool:
        for _ in range(3):
            together = list(pool.map(lambda pair: tokens_of(answer(*pair, LIVELY)), zip(streams, prompts, strict=True)))
            assert together == alone


def test_warmed_instructions_are_shared_by_all_streams(llm):
    warmed = llm.open()
    opening = len(llm.chat.opening(Prompt((INSTRUCTIONS,))))
    assert sum(step.tokens for step in warmed.warm(Prompt((INSTRUCTIONS,)))) == opening
    assert list(warmed.warm(Prompt((INSTRUCTIONS,)))) == []
    other = llm.open()
    steps = answer(other, ask())
    assert steps[-1].cached_tokens == opening
    assert tokens_of(steps) == tokens_of(answer(warmed, ask()))
    assert cache_is_true(llm, other)


def test_a_conversation_is_warmed_and_shared_with_nobody(llm):
    stream = llm.open()
    prompt = Prompt((Message("system", "Be brief."), Message("user", "hello there"), Message("assistant", "hi")))
    list(stream.warm(prompt))
    assert llm.chat.opening(prompt) not in llm.prefixes
    again = Prompt((*prompt.messages, Message("user", "and now")))
    finished = answer(stream, again)[-1]
    assert finished.cached_tokens >= len(llm.chat.opening(prompt))


def test_warming_can_be_stopped_and_taken_up_again(llm):
    stream = llm.open()
    warming = stream.warm(Prompt((INSTRUCTIONS,)))
    first = next(warming)
    warming.close()
    assert next(stream.warm(Prompt((INSTRUCTIONS,)))).cached == first.tokens


def test_warming_again_keeps_the_conversation_behind_the_instructions(llm):
    stream = llm.open()
    before = answer(stream, ask())
    assert list(stream.warm(Prompt((INSTRUCTIONS,)))) == []
    again = answer(stream, ask())
    assert again[-1].cached_tokens == before[-1].prompt_tokens - 1
    assert tokens_of(again) == tokens_of(before)


def test_a_prompt_without_a_user_is_answered(llm):
    assert isinstance(answer(llm.open(), Prompt((INSTRUCTIONS,)))[-1], Finished)
    assert isinstance(answer(llm.open(), Prompt(()))[-1], Finished)


def test_the_answer_ends_at_its_limit(llm):
    steps = answer(llm.open(), ask(), Sampling(max_tokens=3, temperature=1.5, seed=5))
    assert (steps[-1].reason, steps[-1].completion_tokens) == ("length", 3)


def test_the_answer_ends_where_the_context_does(llm):
    stream = llm.open()
    room = llm.context_tokens - stream.count(ask(""))
    letters = "x" * (room - SHORTEST_ANSWER_TOKENS)
    prompt = ask(letters)
    assert stream.count(prompt) == llm.context_tokens - SHORTEST_ANSWER_TOKENS
    steps = answer(stream, prompt, Sampling(max_tokens=500, temperature=3.0, seed=1))
    assert steps[-1].reason == "length"
    assert steps[-1].completion_tokens == SHORTEST_ANSWER_TOKENS
    with pytest.raises(ContextFull, match="context holds 256"):
        answer(stream, ask(letters + "x"))


def test_the_end_token_ends_the_answer_and_is_no_piece(llm):
    stream = llm.open()
    first = tokens_of(answer(stream, ask()))[0]
    llm.stop_tokens = frozenset({first})
    steps = answer(stream, ask())
    assert tokens_of(steps) == []
    assert steps[-1].reason == "stop"
    assert steps[-1].completion_tokens == 0


def test_text_that_was_held_back_is_set_free_by_the_end_token(llm, monkeypatch):
    monkeypatch.setattr("voiceedge.engines.detokenise.Detokeniser.push", lambda *_: "U")
    stream = llm.open()
    said = tokens_of(answer(stream, ask(), LIVELY))
    end = next(token for token in said[1:] if token != said[0])
    llm.stop_tokens = frozenset({end})
    sampling = Sampling(max_tokens=12, temperature=1.5, top_p=0.95, seed=5, stop=("U" * 20 + "ser",))
    pieces = [step for step in answer(stream, ask(), sampling) if isinstance(step, Piece)]
    assert {piece.text for piece in pieces[:-1]} == {""}
    assert pieces[-1] == Piece(end, "U" * (len(pieces) - 1))


def test_a_stop_string_ends_the_answer_before_it(llm):
    stream = llm.open()
    whole = "".join(step.text for step in answer(stream, ask(), LIVELY) if isinstance(step, Piece))
    stop = whole[3:5]
    sampling = Sampling(max_tokens=12, temperature=1.5, top_p=0.95, seed=5, stop=(stop,))
    steps = answer(stream, ask(), sampling)
    assert "".join(step.text for step in steps if isinstance(step, Piece)) == whole[: whole.index(stop)]
    assert steps[-1].reason == "stop"
    assert cache_is_true(llm, stream)


def test_slots_run_out_and_closing_gives_them_back(llm):
    streams = [llm.open() for _ in range(3)]
    with pytest.raises(Overloaded):
        llm.open()
    streams[1].close()
    streams[1].close()
    llm.open()
    with pytest.raises(Overloaded):
        llm.open()


def test_an_answer_left_behind_cannot_write_into_the_slot_again(llm):
    stream = llm.open()
    left_behind = stream.generate(ask(), GREEDY)
    next(left_behind)
    answer(stream, ask("something else"))
    with pytest.raises(EngineFailed, match="another answer"):
        next(left_behind)
    assert cache_is_true(llm, stream)
    closed = stream.generate(ask(), GREEDY)
    next(closed)
    stream.close()
    with pytest.raises(EngineFailed, match="closed"):
        list(closed)


def test_a_run_that_fails_is_an_engine_error_and_the_stream_goes_on(llm, monkeypatch):
    stream = llm.open()
    expected = tokens_of(answer(stream, ask()))
    broken = stream.generate(ask("another"), GREEDY)
    with monkeypatch.context() as patch:
        patch.setattr(stream._lane._lanes, "_session", None)
        with pytest.raises(EngineFailed):
            list(broken)
    assert tokens_of(answer(stream, ask())) == expected


def test_a_folder_that_is_not_whole_is_named(folder, tmp_path):
    with pytest.raises(ModelCorrupt, match=r"llm\.json"):
        OnnxLlm(tmp_path, slots=1)
    (tmp_path / "llm.json").write_bytes((folder / "llm.json").read_bytes())
    with pytest.raises(ModelMissing, match=r"model\.onnx"):
        OnnxLlm(tmp_path, slots=1)


def test_words_that_are_still_coming_are_prefilled_all_but_the_last(llm):
    stream = llm.open()
    so_far = ask("hello there what about")
    words = sum(step.tokens for step in stream.warm(so_far, unfinished=True))
    opening = len(llm.chat.opening(Prompt((INSTRUCTIONS,))))
    assert opening < words < stream.count(so_far)
    whole = ask("hello there what about the sea")
    steps = answer(stream, whole)
    assert steps[-1].cached_tokens == words
    assert tokens_of(steps) == tokens_of(answer_of_fresh_greedy(llm, whole))
    assert cache_is_true(llm, stream)


def answer_of_fresh_greedy(llm, prompt):
    stream = llm.open()
    steps = answer(stream, prompt)
    stream.close()
    return steps


def test_words_that_grow_are_prefilled_once(llm):
    stream, text, prefilled = llm.open(), "hello", 0
    for word in ("there", "what", "about", "the", "sea"):
        text += f" {word}"
        prefilled += sum(step.tokens for step in stream.warm(ask(text), unfinished=True))
        assert len(stream._slot.tokens) == prefilled
    assert answer(stream, ask(text))[-1].cached_tokens == prefilled


def test_words_that_were_misheard_are_rewound(llm):
    stream = llm.open()
    list(stream.warm(ask("hello there what about you and me"), unfinished=True))
    prompt = ask("hello hair")
    assert tokens_of(answer(stream, prompt)) == tokens_of(answer_of_fresh_greedy(llm, prompt))
    assert cache_is_true(llm, stream)


def test_words_that_are_still_coming_are_shared_with_nobody(llm):
    stream = llm.open()
    list(stream.warm(ask("hello there what about"), unfinished=True))
    assert llm.prefixes.longest(llm.chat.tokens(ask("hello there what about"))) == (None, 0)


def test_before_the_first_word_there_is_only_the_opening_to_prefill(llm):
    stream = llm.open()
    prefilled = sum(step.tokens for step in stream.warm(ask(""), unfinished=True))
    assert prefilled == len(llm.chat.opening(Prompt((INSTRUCTIONS,))))
