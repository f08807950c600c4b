"""Text as its tokens arrive."""

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models

from voiceedge.engines.detokenise import BYTE_OF_CHARACTER, Detokeniser, StopText

BYTES = Tokenizer(models.BPE(vocab={word: token for token, word in enumerate(BYTE_OF_CHARACTER)}, merges=[]))
BYTES.decoder = decoders.ByteLevel()
BYTES.add_special_tokens([AddedToken("<|im_end|>", special=True)])
BYTES.add_tokens([AddedToken("<tool_call>")])
TOKEN_OF_BYTE = {byte: BYTES.token_to_id(word) for word, byte in BYTE_OF_CHARACTER.items()}


def tokens_of(text):
    return [TOKEN_OF_BYTE[byte] for byte in text.encode()]


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_a_token_a_byte_gives_the_text_again_and_only_whole_characters(text):
    words = Detokeniser(BYTES)
    pieces = [words.push(token) for token in tokens_of(text)]
    assert "".join(pieces) == text
    assert all(piece in text for piece in pieces)
    assert words.flush() == ""


def test_a_character_that_never_ends_becomes_one_replacement():
    words = Detokeniser(BYTES)
    assert [words.push(token) for token in tokens_of("€")[:2]] == ["", ""]
    assert words.flush() == "\ufffd"


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=10))
def test_looking_ahead_changes_nothing(text):
    words = Detokeniser(BYTES)
    for token in tokens_of(text):
        assert words.peek(token) == words.peek(token) == words.push(token)


def test_markup_is_silent_and_added_words_are_not():
    words = Detokeniser(BYTES)
    assert words.push(BYTES.token_to_id("<|im_end|>")) == ""
    assert words.push(BYTES.token_to_id("<tool_call>")) == "<tool_call>"
    assert words.push(999_999) == ""


@given(
    st.text("ab.", max_size=30),
    st.lists(st.text("ab.", min_size=1, max_size=4), max_size=3),
    st.lists(st.integers(1, 5), min_size=30, max_size=30),
)
def test_stop_strings_cut_where_they_begin_however_the_text_is_cut(text, stops, sizes):
    stop = StopText(stops)
    said = ""
    rest = text
    for size in sizes:
        said += stop.push(rest[:size])
        rest = rest[size:]
        if stop.stopped:
            break
        # nothing is said that a stop string could still take back
        assert not any(said.endswith(each) for each in stops)
    said += stop.flush()
    ends = [text.find(each) + len(each) for each in stops if each in text]
    if not ends:
        assert not stop.stopped
        assert said == text
    else:
        assert stop.stopped
        assert text.startswith(said)
        assert not any(each in said for each in stops)


def test_text_is_held_only_while_it_may_become_a_stop_string():
    stop = StopText(["\nUser:"])
    assert [stop.push(part) for part in ("Hi.", "\nUs", "eful", "\n", "User: ", "more")] == [
        "Hi.",
        "",
        "\nUseful",
        "",
        "",
        "",
    ]
    assert stop.stopped
