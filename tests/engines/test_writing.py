"""An answer from logits that stand for a model: scripted ones say what was written down, random ones anything."""

import json

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tests.modelstore.build.tiny import END, WORDS, write_tiny
from voiceedge.engines import CallClosed, CallOpened, CallPiece, Message, Piece, Prompt, Sampling, Tool, ToolChoice
from voiceedge.engines.constraint import Grammars
from voiceedge.engines.tool_calls import MOST_CALLS
from voiceedge.engines.writing import Writer
from voiceedge.modelstore.build.source import Source
from voiceedge.modelstore.build.words import write_tokenizer

LOOK = Tool("look", "", {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]})
WAIT = Tool("wait", "", {"type": "object", "properties": {"s": {"type": "integer", "minimum": 0, "maximum": 99}}})
CALL = '<tool_call>\n{"name": "look", "arguments": {"at": "é"}}\n</tool_call>'
OTHER = CALL.replace("é", "ö")
ANY = ToolChoice()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("writing")
    write_tokenizer(Source(write_tiny(folder / "tiny.gguf", "qwen2")), folder / "tokenizer.json")
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def grammars(tokenizer):
    return Grammars(tokenizer, len(WORDS), [END])


@pytest.fixture
def begin(tokenizer, grammars):
    def begin(choice=ANY, tools=(LOOK, WAIT), limit=400, **sampling):
        prompt = Prompt((Message("user", "Hi"),), tools, choice)
        sampling = Sampling(**{"max_tokens": 300, **sampling})
        return Writer(tokenizer, frozenset({END}), prompt, sampling, limit=limit, grammars=grammars)

    return begin


def drive(writer, logits_for):
    """All steps of an answer; what is chosen for the next logits goes by what has been written."""
    steps, tokens = [], []
    while not writer.is_over:
        new = list(writer.write(logits_for(tokens)))
        steps += new
        written = [step.token for step in new if isinstance(step, Piece | CallPiece) and step.token != END]
        assert writer.pending in (written, [])
        tokens += written
    assert writer.pending == []
    return steps, tokens


def scripted(tokenizer, text):
    """Logits of a model that would like to write `text`, word by word, and then end."""
    script = [*tokenizer.encode(text).ids, END]

    def logits_for(tokens):
        logits = np.zeros(len(WORDS), np.float32)
        logits[script[min(len(tokens), len(script) - 1)]] = 5.0
        logits[END] += 1.0
        return logits

    return logits_for


@pytest.fixture
def write(begin, tokenizer):
    return lambda text, choice=ANY, **given: drive(begin(choice, **given), scripted(tokenizer, text))


def said(steps):
    return "".join(step.text for step in steps if isinstance(step, Piece))


def calls(steps):
    """Names and arguments of the calls that were closed."""
    found = []
    for step in steps:
        if isinstance(step, CallOpened):
            name, arguments = step.name, ""
        elif isinstance(step, CallPiece):
            arguments += step.text
        elif isinstance(step, CallClosed):
            found.append((name, json.loads(arguments)))
    return found


def test_without_tools_markup_is_text_like_any_other(write):
    steps, _ = write(CALL, tools=())
    assert said(steps) == CALL


def test_a_call_is_told_from_the_text_before_it(write, tokenizer):
    steps, tokens = write(f"hello. {CALL}")
    assert said(steps) == "hello."
    assert calls(steps) == [("look", {"at": "é"})]
    assert tokenizer.decode(tokens) == f"hello. {CALL}"


def test_what_cannot_be_otherwise_is_chosen_at_once(begin, tokenizer):
    writer = begin()
    list(writer.write(scripted(tokenizer, CALL)([])))
    assert tokenizer.decode(writer.pending).startswith('<tool_call>\n{"nam')


@pytest.mark.parametrize("text", ['{"name": "look", "arguments": {"at": "é"}}', "hello\n{", "<tools>", "```json"])
def test_a_call_whose_markup_is_forgotten_is_a_call(begin, tokenizer, text):
    steps, tokens = drive(begin(), scripted(tokenizer, text))
    assert tokenizer.decode(tokens).count("<tool_call>") == 1
    assert len(calls(steps)) == 1


def test_a_model_that_only_talks_is_left_alone(write):
    steps, _ = write("hello { <to <b> hell")
    assert (said(steps), calls(steps)) == ("hello { <to <b> hell", [])


def test_with_none_a_call_cannot_begin_in_any_way(write):
    for text in (CALL, "<" + CALL, '{"name"', "hello\n{", "```json\n{"):
        steps, _ = write(text, ToolChoice("none"))
        assert not any(isinstance(step, CallOpened) for step in steps)
        assert "<tool" not in said(steps)


@pytest.mark.parametrize(("mode", "count"), [("auto", 0), ("required", 1)])
def test_what_a_function_returned_is_talked_about_unless_a_call_is_required(tokenizer, grammars, mode, count):
    chat = (Message("user", "Hi"), Message("tool", "12"), Message("system", "Be brief."))
    prompt = Prompt(chat, (LOOK,), ToolChoice(mode))
    writer = Writer(tokenizer, frozenset({END}), prompt, Sampling(), limit=300, grammars=grammars)
    steps, _ = drive(writer, scripted(tokenizer, CALL))
    assert len(calls(steps)) == count


@pytest.mark.parametrize("text", ["hello", "", CALL])
def test_with_required_the_answer_is_a_call(write, text):
    steps, _ = write(text, ToolChoice("required"))
    assert said(steps) == ""
    assert len(calls(steps)) == 1


def test_a_named_function_is_called_once_whatever_the_model_would_like(write):
    steps, _ = write(CALL + OTHER, ToolChoice("required", "wait"))
    assert [name for name, _ in calls(steps)] == ["wait"]


@pytest.mark.parametrize(("parallel", "count"), [(True, 2), (False, 1)])
def test_several_calls_are_made_where_they_may(write, parallel, count):
    steps, _ = write(f"{CALL}\n{OTHER}", ToolChoice(parallel=parallel))
    assert [arguments["at"] for _, arguments in calls(steps)] == ["é", "ö"][:count]
    assert said(steps) == ""


def test_the_same_call_again_ends_the_answer_and_is_not_made(write):
    steps, _ = write(f"{CALL}\n{CALL}\n{OTHER}")
    assert len(calls(steps)) == sum(isinstance(step, CallOpened) for step in steps) == 1


def test_there_are_only_so_many_calls(write):
    many = "\n".join(CALL.replace("é", "x" * i) for i in range(12))
    steps, _ = write(many, limit=2000, max_tokens=2000)
    assert len(calls(steps)) == MOST_CALLS


def test_what_is_said_behind_a_call_ends_the_answer(write, tokenizer):
    steps, tokens = write(f"{CALL}\nhello")
    assert said(steps) == ""
    assert tokenizer.decode(tokens) == f"{CALL}\n"


@pytest.mark.parametrize("penalty", [1.0, 2.0])
@pytest.mark.parametrize("temperature", [0.0, 5.0])
def test_neither_penalty_nor_chance_changes_what_a_call_says(write, penalty, temperature):
    text = CALL.replace("é", "hello hello hello")
    steps, _ = write(text, ToolChoice("required"), repetition_penalty=penalty, temperature=temperature, max_tokens=300)
    assert calls(steps)[0] == ("look", {"at": "hello hello hello"})


@pytest.mark.parametrize("text", ["x" * 300, "x" + "}" * 300, "x" + "\\\\" * 300, "x" + "ü" * 150])
def test_a_call_that_would_not_end_in_time_is_brought_to_its_end(write, text):
    steps, tokens = write(CALL.replace("é", text), limit=140)
    assert calls(steps)[0][1]["at"].startswith("x")
    assert len(tokens) < 140


def test_no_call_begins_where_none_can_end(write):
    steps, _ = write("hello " * 20 + CALL, limit=48)
    assert not any(isinstance(step, CallOpened) for step in steps)


def test_a_call_that_is_cut_off_is_never_closed(begin, tokenizer):
    for limit in range(1, 30):
        writer = begin(ToolChoice("required"), limit=limit)
        steps, tokens = drive(writer, scripted(tokenizer, CALL))
        assert len(tokens) == limit == writer.tokens
        assert CallClosed() not in steps
        assert writer.reason == "length"


def test_stop_strings_are_for_what_is_said_only(write):
    steps, _ = write(f"hello {CALL}", stop=("look",))
    assert calls(steps)
    steps, _ = write(f"hello {CALL}", stop=("ell",))
    assert (said(steps), calls(steps)) == ("h", [])


@given(seed=st.integers(0, 2**32 - 1), mode=st.sampled_from(["auto", "none", "required"]), parallel=st.booleans())
@settings(max_examples=60, deadline=None)
def test_whatever_a_model_would_like_its_calls_are_valid_and_its_tokens_add_up(
    tokenizer, grammars, seed, mode, parallel
):
    random = np.random.default_rng(seed)
    prompt = Prompt((), (LOOK, WAIT), ToolChoice(mode, parallel=parallel))
    writer = Writer(tokenizer, frozenset({END}), prompt, Sampling(max_tokens=300), limit=300, grammars=grammars)
    wished = [WORDS.index(word) for word in ("<tool_call>", "<", '"', "}")]

    def logits_for(tokens):
        logits = random.normal(size=len(WORDS)).astype(np.float32)
        logits[wished] += 2.0
        return logits

    steps, tokens = drive(writer, logits_for)
    schemas = {tool.name: tool.parameters for tool in (LOOK, WAIT)}
    for name, arguments in calls(steps):
        jsonschema.validate(arguments, schemas[name])
    made = sum(isinstance(step, CallOpened) for step in steps)
    assert made == len(calls(steps)) + (writer.reason == "length" and made > len(calls(steps)))
    assert made <= (MOST_CALLS if parallel else 1)
    assert made >= (mode == "required")
    assert made == 0 or mode != "none"
    assert writer.tokens == len(tokens)
    assert tokenizer.decode(tokens).count("<tool") >= made
