"""Where a call begins, and what is read from it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.engines import Call, CallClosed, CallOpened, CallPiece, Piece
from voiceedge.engines.tool_calls import CallReader, CallWatch

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def markup(name, arguments):
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def cut(text, sizes):
    """`text` in tokens of these sizes, the last size over and over."""
    at = 0
    for size in [*sizes, *[sizes[-1]] * len(text)]:
        if at < len(text):
            yield text[at : at + size]
        at += size


def read(text, sizes=(3,), earlier=()):
    reader = CallReader(earlier)
    steps = [step for token, part in enumerate(cut(text, sizes)) for step in reader.read(token, part)]
    return reader, steps


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=3), st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_however_a_call_is_cut_into_tokens_it_is_read_as_it_was_written(arguments, sizes):
    written = json.dumps(arguments, ensure_ascii=False)
    reader, steps = read(markup("look", written), sizes)
    kinds = [type(step) for step in steps if not isinstance(step, Piece)]
    pieces = [step for step in steps if isinstance(step, CallPiece)]
    assert kinds == [CallOpened, *[CallPiece] * len(pieces), CallClosed]
    assert "".join(piece.text for piece in pieces) == written
    assert all(piece.text for piece in pieces)
    tokens = [step.token for step in steps if isinstance(step, Piece | CallPiece)]
    assert tokens == list(range(len(tokens)))
    assert len(tokens) == len(list(cut(markup("look", written), sizes)))
    assert all(step.text == "" for step in steps if isinstance(step, Piece))
    assert reader.call == Call("look", written)


def test_a_call_is_opened_as_soon_as_its_name_is_known():
    reader = CallReader(())
    assert list(reader.read(1, '<tool_call>\n{"name": "lo')) == [Piece(1, "")]
    assert list(reader.read(2, 'ok"')) == [Piece(2, ""), CallOpened("look")]


def test_a_call_that_is_not_complete_is_not_closed():
    _, steps = read(markup("look", '{"a": "}"}').removesuffix("}}\n</tool_call>"))
    assert CallClosed() not in steps


@pytest.mark.parametrize("sizes", [(1,), (4,), (100,)])
def test_the_same_call_again_is_never_opened(sizes):
    reader, steps = read(markup("look", '{"a": 1}'), sizes, (Call("hear", "{}"), Call("look", '{"a": 1}')))
    assert reader.is_repetition
    assert {type(step) for step in steps} == {Piece}


def test_a_call_that_begins_as_an_earlier_one_is_opened_where_it_differs():
    reader, steps = read(markup("look", '{"a": 12}'), (1,), (Call("look", '{"a": 13}'),))
    assert not reader.is_repetition
    assert [step for step in steps if not isinstance(step, Piece)][:2] == [
        CallOpened("look"),
        CallPiece(markup("look", '{"a": 12').rindex("2"), '{"a": 12'),
    ]
    assert steps.count(CallClosed()) == 1


def watched(*texts):
    """What is said of these tokens before a call begins, and the number of the token it begins with."""
    watch, said = CallWatch(), ""
    for token, text in enumerate(texts):
        if watch.begins_call(text):
            return watch, said, token
        said += watch.push(token, text)
    return watch, said + watch.flush(), None


@pytest.mark.parametrize(
    ("texts", "said", "begins"),
    [
        (["<tool_call>"], "", 0),
        (["Sure.", "\n", "<", "tool", "_call"], "Sure.", 3),
        (["Sure. <t", "ool"], "Sure.", 1),
        (["\n\n", '{"', "name"], "", 1),
        (["Sure.", "\n", " {"], "Sure.", 2),
        (["Sure.\n\n{", "name"], "", 0),
        (["A ", "{", "brace}"], "A {brace}", None),
        (["1 < 2", " <", " 3"], "1 < 2 < 3", None),
        (["a <t", "o> b"], "a <to> b", None),
        (["<", "<", "tool"], "<", 2),
        (["Sure.", "\n", "{\n"], "Sure.", 2),
        (["Sure.\n", "```", "json"], "Sure.", 2),
        (["```", "python"], "```python", None),
        (["For example:\n\n", "```", "json"], "For example:", 2),
        (["One.\nTwo.\n", "```", "json\n", "{"], "One.\nTwo.\n```json\n{", None),
        (["well ", "\n"], "well \n", None),
    ],
)
def test_a_call_is_seen_where_it_begins_and_its_markup_is_never_said(texts, said, begins):
    assert watched(*texts)[1:] == (said, begins)


def test_what_stands_before_the_markup_in_its_token_is_known():
    watch, _, _ = watched("Sure", ". <", "to", "ol")
    assert (watch.tokens, watch.lead) == ([1, 2], ". ")


@given(st.lists(st.text(alphabet="<tol {\n.", max_size=4)))
def test_text_without_a_call_is_said_as_it_is(texts):
    _, said, begins = watched(*texts)
    if begins is None:
        assert said == "".join(texts)
