from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.conversation.history import (
    FRONT,
    DuplicateItem,
    FunctionCall,
    History,
    Item,
    Line,
    SpokenClause,
    UnknownItem,
)


def message(item_id, role="user", text="words"):
    return Item(item_id, "message", role, text)


def history(*items, **settings):
    kept = History(**settings)
    for item in items:
        kept.insert(item)
    return kept


def ids(kept):
    return [item.id for item in kept.items]


def spoken(item_id="a", clauses=(("Hello there, my friend.", 1000.0), (" It is late.", 500.0)), **fields):
    """An answer whose clauses sound one after the other, with a token for each word."""
    at, sounds = 0.0, []
    for text, ms in clauses:
        sounds.append(SpokenClause(text, at, at + ms))
        at += ms
    text = "".join(clause.text for clause in sounds)
    words = [word if index == 0 else f" {word}" for index, word in enumerate(text.split(" "))]
    fields = {"pieces": tuple(enumerate(words, 100)), **fields}
    return Item(item_id, "message", "assistant", text, modality="audio", clauses=tuple(sounds), **fields)


# ── order ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_items_stand_in_the_order_in_which_they_come():
    assert ids(history(message("a"), message("b"), message("c"))) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("previous", "before", "order"),
    [
        (None, "b", ["a", "b", "new"]),
        (FRONT, None, ["new", "a", "b"]),
        ("a", "a", ["a", "new", "b"]),
        ("b", "b", ["a", "b", "new"]),
    ],
)
def test_an_item_goes_behind_the_one_that_is_named(previous, before, order):
    kept = history(message("a"), message("b"))
    assert kept.insert(message("new"), previous) == before
    assert ids(kept) == order


def test_the_first_item_has_none_before_it():
    assert History().insert(message("a")) is None


def test_an_item_behind_one_that_is_not_here_is_refused_and_changes_nothing():
    kept = history(message("a"))
    with pytest.raises(UnknownItem, match="'nowhere' does not exist"):
        kept.insert(message("new"), "nowhere")
    assert ids(kept) == ["a"]


def test_an_id_is_taken_once():
    kept = history(message("a", text="first"))
    with pytest.raises(DuplicateItem, match="'a' exists already"):
        kept.insert(message("a", text="second"), FRONT)
    assert [item.text for item in kept.items] == ["first"]


def test_beyond_its_bound_the_oldest_item_goes():
    kept = history(message("a"), message("b"), message("c"), max_items=2)
    assert ids(kept) == ["b", "c"]


def test_beyond_its_memory_the_oldest_items_go_and_the_newest_stays_however_large_it_is():
    kept = history(*(message(str(number), text="x" * 900) for number in range(5)), max_bytes=3000)
    assert ids(kept) == ["2", "3", "4"]
    kept.update(message("3", text="x" * 1900))
    assert ids(kept) == ["3", "4"]
    kept.insert(message("large", text="x" * 9000))
    assert ids(kept) == ["large"]


def test_what_is_deleted_or_shrinks_makes_room_again():
    kept = history(message("a", text="x" * 2000), message("b", text="x" * 900), max_bytes=3100)
    kept.update(message("a", text=""))
    kept.insert(message("c", text="x" * 1000))
    kept.delete("b")
    kept.insert(message("d", text="x" * 900))
    assert ids(kept) == ["a", "c", "d"]


@given(
    st.lists(st.tuples(st.sampled_from(["insert", "update", "delete"]), st.integers(0, 5), st.integers(0, 3000))),
)
def test_a_history_knows_what_it_weighs(moves):
    kept = history(max_items=4, max_bytes=5000)
    for move, name, size in moves:
        item = message(str(name), text="x" * size)
        with suppress(UnknownItem, DuplicateItem):
            {"insert": kept.insert, "update": kept.update, "delete": lambda item: kept.delete(item.id)}[move](item)
        weighed = sum(each.size_bytes for each in kept.items)
        assert kept._bytes == weighed
        assert len(kept.items) <= 1 or (weighed <= 5000 and len(kept.items) <= 4)


def test_tokens_clauses_calls_and_what_the_client_gave_count_as_well():
    empty = Item("a", "message", "assistant").size_bytes
    pieces = tuple((number, "x") for number in range(100))
    call = FunctionCall("c", "f", "x" * 5000)
    for item in (
        Item("a", "message", "assistant", pieces=pieces),
        Item("a", "message", "assistant", clauses=(SpokenClause("x" * 5000, 0, 1),)),
        Item("a", "function_call", call=call),
        Item("a", "message", data="opaque", data_bytes=5000),
    ):
        assert item.size_bytes > empty + 4900


def test_an_update_takes_the_place_of_the_item_and_does_not_bring_back_a_deleted_one():
    kept = history(message("a"), message("b"))
    kept.update(message("a", text="changed"))
    kept.delete("b")
    kept.update(message("b", text="back"))
    assert [(item.id, item.text) for item in kept.items] == [("a", "changed")]


@pytest.mark.parametrize("call", [History.get, History.delete, lambda kept, item_id: kept.truncate(item_id, 0)])
def test_what_is_not_here_cannot_be_found_deleted_or_truncated(call):
    kept = history(message("a"))
    with pytest.raises(UnknownItem):
        call(kept, "b")
    assert ids(kept) == ["a"]


# ── what the model is shown ───────────────────────────────────────────────────────────────────────────────


def test_the_model_sees_what_was_said_in_order():
    kept = history(message("a", "system", "Be kind."), message("b", "user", "Hi."), spoken("c"))
    assert [(line.role, line.text) for line in kept.lines()] == [
        ("system", "Be kind."),
        ("user", "Hi."),
        ("assistant", "Hello there, my friend. It is late."),
    ]


@pytest.mark.parametrize("text", [None, "", "  "])
def test_what_has_no_words_is_not_shown(text):
    assert history(message("a", text=text)).lines() == []


CALL = FunctionCall("c1", "look", "{}")


def test_a_call_belongs_to_what_was_said_before_it():
    said = Item("a", "message", "assistant", "Wait.", pieces=((1, "Wait."),))
    calls = [Item(f"f{i}", "function_call", call=CALL, pieces=((2 + i, ""),)) for i in range(2)]
    assert history(said, *calls).lines() == [Line("assistant", "Wait.", (1, 2, 3), (CALL, CALL))]


def test_the_tokens_of_a_call_do_not_stand_for_words_that_were_cut_off():
    said = Item("a", "message", "assistant", "Wait a bit.", pieces=((1, "Wait"), (2, " a bit.")), is_complete=False)
    call = Item("f", "function_call", call=CALL, pieces=((3, ""),))
    assert history(said, call).lines() == [Line("assistant", "Wait a bit.", (), (CALL,))]


def test_a_call_without_words_stands_alone_and_one_that_was_cut_off_is_forgotten():
    asked = Item("u", "message", "user", "Look!")
    call = Item("f", "function_call", call=CALL, pieces=((3, ""),))
    cut = Item("g", "function_call", call=CALL, is_complete=False)
    result = Item("o", "function_call_output", text="blue")
    assert history(asked, call, cut, result).lines() == [
        Line("user", "Look!"),
        Line("assistant", "", (3,), (CALL,)),
        Line("tool", "blue"),
    ]


def test_an_answer_keeps_the_tokens_that_it_was_generated_as():
    assert spoken().line == Line("assistant", "Hello there, my friend. It is late.", tuple(range(100, 107)))


# ── only what was heard ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("heard_ms", "text", "tokens"),
    [
        (1500, "Hello there, my friend. It is late.", 7),
        (1499, "Hello there, my friend. It is", 6),
        (1001, "Hello there, my friend.", 4),
        (1000, "Hello there, my friend.", 4),
        (999, "Hello there, my", 3),
        (500, "Hello", 1),  # in the middle of "there,"
    ],
)
def test_of_an_answer_that_was_cut_off_only_whole_words_that_were_heard_stay(heard_ms, text, tokens):
    kept = history(spoken("a"))
    item = kept.truncate("a", heard_ms)
    assert not item.is_complete
    assert kept.lines() == [Line("assistant", text, tuple(range(100, 100 + tokens)))]


@pytest.mark.parametrize("heard_ms", [-5, 0, 10])
def test_an_answer_of_which_nothing_was_heard_is_not_shown(heard_ms):
    kept = history(spoken("a"))
    kept.truncate("a", heard_ms)
    assert kept.lines() == []
    assert ids(kept) == ["a"]


def test_a_truncation_is_clamped_to_the_audio():
    kept = history(spoken("a"))
    assert kept.truncate("a", 99_999).heard_ms == 1500
    assert kept.truncate("a", -1).heard_ms == 0


def test_the_latest_word_on_what_was_heard_counts():
    kept = history(spoken("a"))
    kept.truncate("a", 0)
    kept.truncate("a", 1000)
    assert (kept.heard_ms("a"), kept.heard_ms("b")) == (1000, None)
    assert kept.lines()[0].text == "Hello there, my friend."


def test_a_token_that_is_half_of_a_character_does_not_stay_alone():
    pieces = ((1, "Hi"), (2, " all"), (3, ""), (4, " 😀"), (5, ""), (6, "!"))
    item = spoken(clauses=[("Hi all", 400.0), (" 😀!", 400.0)], pieces=pieces, heard_ms=400.0)
    assert item.line == Line("assistant", "Hi all", (1, 2))


def test_the_tokens_of_an_answer_that_was_heard_out_are_all_kept():
    item = spoken(clauses=[("Hi", 400.0)], pieces=((1, ""), (2, "Hi"), (3, "")))
    assert item.line == Line("assistant", "Hi", (1, 2, 3))


words = st.text(st.sampled_from("abü,."), min_size=1, max_size=6)
lengths_ms = st.sampled_from([0.0, 1.0, 300.0, 999.5])
clauses = st.lists(st.tuples(st.lists(words, min_size=1, max_size=5), lengths_ms), min_size=1, max_size=4).map(
    lambda parts: [((" " if n else "") + " ".join(said), ms) for n, (said, ms) in enumerate(parts)]
)


def tokens_of(text, cuts):
    """The text as pieces that end anywhere, also inside words."""
    at = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    return tuple((n, text[begin:end]) for n, (begin, end) in enumerate(pairwise(at)))


@given(clauses, st.lists(st.integers(0, 80), max_size=30), st.floats(-10, 4500), st.booleans())
def test_text_and_tokens_stay_one_whatever_was_heard(said, cuts, heard_ms, is_cut):
    text = "".join(part for part, _ in said)
    item = spoken(clauses=said, pieces=tokens_of(text, cuts), heard_ms=heard_ms if is_cut else None)
    if (line := item.line) is None:
        return
    pieces = dict(item.pieces)
    assert "".join(pieces[token] for token in line.tokens) == line.text
    assert text.startswith(line.text)
    if not is_cut:
        assert line.text == text


@given(clauses, st.floats(0, 4500), st.floats(0, 4500))
def test_who_heard_longer_heard_no_less_and_no_word_is_broken(said, one_ms, other_ms):
    text = "".join(part for part, _ in said)
    lines = [
        spoken(clauses=said, pieces=(), heard_ms=heard_ms).line
        for heard_ms in (min(one_ms, other_ms), one_ms, other_ms)
    ]
    first, *_ = heard = [line.text if line else "" for line in lines]
    for kept in heard:
        assert kept.startswith(first)
        assert text.startswith(kept)
        assert kept == text or not kept or text[len(kept)] == " "


# ── only what fits ────────────────────────────────────────────────────────────────────────────────────────


def dialogue(turns):
    kept = history(message("s", "system"))
    for n in range(turns):
        kept.insert(message(f"u{n}", "user"))
        kept.insert(message(f"a{n}", "assistant"))
    return kept


def shown(kept):
    """Ids that the model still sees."""
    return [item.id for item in kept.items if item.id not in kept.forgotten]


def one(_):
    return 1


def test_what_fits_stays():
    kept = dialogue(2)
    assert kept.forget(5, one) == 0
    assert shown(kept) == ids(kept)


def test_the_oldest_turns_are_forgotten_whole():
    kept = dialogue(3)
    assert kept.forget(6, one) == 2
    assert shown(kept) == ["s", "u1", "a1", "u2", "a2"]
    assert len(kept.lines()) == 5


def test_what_is_forgotten_can_still_be_retrieved():
    kept = dialogue(3)
    kept.forget(3, one)
    assert kept.get("u0").text == "words"


def test_the_last_question_and_what_the_client_set_stay_even_when_they_do_not_fit():
    kept = dialogue(3)
    kept.insert(message("late", "system"), "a0")
    kept.forget(0, one)
    assert shown(kept) == ["s", "late", "u2", "a2"]


def test_a_chat_without_a_question_is_kept():
    kept = history(message("s", "system"), message("a", "assistant"))
    assert kept.forget(0, one) == 0


def test_a_greeting_is_forgotten_before_the_first_question():
    kept = history(message("hello", "assistant"), message("u", "user"))
    assert kept.forget(1, one) == 1
    assert shown(kept) == ["u"]


def test_questions_that_were_asked_in_one_go_are_one_turn():
    kept = history(message("u0"), message("u1"), message("a1", "assistant"), message("u2"))
    assert kept.forget(3, one) == 3
    assert shown(kept) == ["u2"]


def test_a_deleted_or_dropped_item_is_not_remembered_as_forgotten():
    kept = dialogue(2)
    kept.forget(3, one)
    kept.delete("u0")
    assert kept.forgotten == {"a0"}
    kept.max_items = len(kept.items)
    kept.delete("s")
    kept.insert(message("x"))
    kept.insert(message("y"))
    assert kept.forgotten == set()


roles = st.lists(st.sampled_from(["user", "assistant", "system"]), max_size=15)


@given(roles, st.integers(0, 60), st.lists(st.integers(1, 9), min_size=15, max_size=15))
def test_forgetting_is_enough_and_never_too_much(said, budget, costs):
    kept = history(*(message(str(n), role, f"{n}") for n, role in enumerate(said)))

    def cost(line):
        return costs[int(line.text)]

    before = sum(cost(line) for line in kept.lines())
    count = kept.forget(budget, cost)
    lines = kept.lines()
    assert count == len(said) - len(lines)
    assert count == 0 or before > budget
    assert [line.text for line in lines if line.role == "system"] == [
        str(n) for n, r in enumerate(said) if r == "system"
    ]
    users = [n for n, role in enumerate(said) if role == "user"]
    if sum(cost(line) for line in lines) > budget:  # nothing more could go
        assert all(line.role == "system" or not users or int(line.text) >= users[-1] for line in lines)
    if count:
        assert next(line.role for line in lines if line.role != "system") == "user"
    assert kept.forget(budget, cost) == 0
