"""The tokenizer that is written cuts text as the model was trained."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tests.modelstore.build.test_graph import real_gguf
from tests.modelstore.build.tiny import WORDS, write_tiny
from voiceedge.errors import ConfigError
from voiceedge.modelstore.build.source import Source
from voiceedge.modelstore.build.words import write_tokenizer


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def tokenizer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    write_tokenizer(Source(write_tiny(folder / "tiny.gguf", request.param)), folder / "tokenizer.json")
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="<"), max_size=40))
@settings(max_examples=50)
def test_text_survives_the_round_trip(tokenizer, text):
    encoded = tokenizer.encode(text)
    normalised = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
    assert tokenizer.decode(encoded.ids) == normalised


def test_merges_and_markup_keep_the_ids_of_the_file(tokenizer):
    tokens = tokenizer.encode("<|im_start|>hello<tool_call>").tokens
    assert tokens == ["<|im_start|>", "hello", "<tool_call>"]
    assert tokenizer.encode("<|im_start|>hello").ids == [WORDS.index("<|im_start|>"), WORDS.index("hello")]


@pytest.mark.parametrize("changes", [{"model": "llama"}, {"pre": "unheard-of"}])
def test_a_tokenizer_that_would_be_wrong_is_refused(tmp_path, changes):
    source = Source(write_tiny(tmp_path / "tiny.gguf", "llama", **changes))
    with pytest.raises(ConfigError):
        write_tokenizer(source, tmp_path / "tokenizer.json")


@pytest.mark.models
@pytest.mark.parametrize(
    ("model", "text", "words"),
    [
        # as the models' published tokenizers cut them
        (
            "smollm2-135m-instruct",
            "In 1984, it's 3pm",
            ["In", "Ġ", "1", "9", "8", "4", ",", "Ġit", "'s", "Ġ", "3", "pm"],
        ),
        (
            "qwen2.5-coder-0.5b-instruct",
            "In 1984,\n\nIT'S 3pm",
            ["In", "Ġ", "1", "9", "8", "4", ",ĊĊ", "IT", "'S", "Ġ", "3", "pm"],
        ),
    ],
)
def test_the_real_tokenizers_cut_numbers_and_contractions(tmp_path, model, text, words):
    write_tokenizer(Source(real_gguf(model)), tmp_path / "tokenizer.json")
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.encode(text).tokens == words
    end = {"smollm2-135m-instruct": 2, "qwen2.5-coder-0.5b-instruct": 151645}[model]
    assert tokenizer.encode("<|im_end|>").ids == [end]
