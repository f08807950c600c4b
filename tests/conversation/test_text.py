import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voiceedge.conversation.text import (
    FIRST_CLAUSE_CHARS,
    LONGEST_BEFORE_CHARS,
    LONGEST_CLAUSE_CHARS,
    SECOND_CLAUSE_CHARS,
    Clause,
    Clauses,
)

OPENING = "Well now, my friend."
"""A first clause, so that what follows is cut by the rule for later ones."""


def cut(*chunks):
    """The clauses of a text that comes in these chunks."""
    clauses = Clauses()
    return [clause for chunk in chunks for clause in clauses.push(chunk)] + clauses.flush()


def written(*chunks):
    return [clause.written for clause in cut(*chunks)]


def later(text):
    """How `text` is cut behind a first clause."""
    first, *rest = written(f"{OPENING} {text}")
    assert first == OPENING
    return [clause.strip() for clause in rest]


# ── the first clause is early, the others are whole ───────────────────────────────────────────────────────


def test_the_first_clause_is_there_as_soon_as_a_comma_is_followed_by_a_space():
    clauses = Clauses()
    assert clauses.push("Paris is the capital,") == []
    assert [c.written for c in clauses.push(" of")] == ["Paris is the capital,"]


def test_a_first_clause_that_would_sound_clipped_waits_for_more():
    assert written("Well, I think so, because it is late.")[0] == "Well, I think so,"
    short = "a" * (FIRST_CLAUSE_CHARS - 2)
    assert written(f"{short}, and on.")[0] == f"{short}, and on."
    assert written(f"{short}a, and on.")[0] == f"{short}a,"


def test_without_punctuation_the_first_clause_ends_with_its_first_phrase():
    clauses = Clauses()
    assert clauses.push("The capital of France is") == []
    (clause,) = clauses.push(" ")
    assert clause == Clause("The capital of France", "The capital of France", "", goes_on=True)


def test_a_bracket_is_a_breath():
    assert written("It weighs 384.5 grams (13.6 ounces) in all.")[0] == "It weighs 384.5 grams"


def test_what_is_left_of_a_sentence_knows_how_it_began():
    clauses = cut("The capital of France is Paris, of course. It is old.")
    assert [(clause.spoken, clause.before, clause.goes_on) for clause in clauses] == [
        ("The capital of France", "", True),
        ("is Paris, of course.", "The capital of France", False),
        ("It is old.", "", False),
    ]


def test_how_a_long_sentence_began_is_forgotten():
    *_, last = cut("one two three, " * 60)
    assert 0 < len(last.before) <= LONGEST_BEFORE_CHARS


def test_the_plain_baseline_waits_for_whole_sentences():
    clauses = Clauses(whole_sentences=True)
    long = "well, and so it went on " * 12 + "and on"
    assert clauses.push(long) == []
    assert [c.written for c in clauses.push(". Then, at last, it was over.\nYes") + clauses.flush()] == [
        f"{long}.",
        " Then, at last, it was over.",
        "\nYes",
    ]


def test_the_end_of_a_line_ends_even_a_short_clause():
    assert written("Sure:\n- milk, please") == ["Sure:\n", "- milk, please"]


def test_a_short_sentence_is_a_clause():
    assert written("Yes. It is.") == ["Yes.", " It is."]
    assert written("No! Why? Because… Well.") == ["No!", " Why?", " Because…", " Well."]


def test_later_sentences_are_kept_whole():
    assert later("When it rains, it pours; always. So be it.") == ["When it rains, it pours; always.", "So be it."]


def test_a_later_sentence_that_is_long_is_cut_at_its_last_comma_in_reach():
    text = "First, once more, then, it was over, and after that nothing at all came for ever."
    assert later(text) == ["First, once more, then, it was over,", "and after that nothing at all came for ever."]


def test_where_no_comma_is_in_reach_it_is_cut_at_a_phrase():
    text = "All the boats in the harbour were built by fishermen from the small village."
    assert later(text) == ["All the boats in the harbour were built", "by fishermen from the small village."]


def test_where_nothing_is_in_reach_it_is_cut_at_the_first_place_behind():
    text = "Multidisciplinary telecommunication infrastructures everywhere, if at all, fail."
    assert later(text)[0] == "Multidisciplinary telecommunication infrastructures everywhere,"


def test_the_second_clause_is_not_much_longer_than_what_covers_its_making():
    first, second, *_ = written("The sky is blue because the air scatters light, and blue most of all, so we see it.")
    assert (first, second) == ("The sky is blue", " because the air scatters light,")
    assert len(second) <= SECOND_CLAUSE_CHARS


def test_clauses_grow_until_sentences_are_whole():
    text = "The air is thin. " + "Nobody knows why it is so, but it was always so and will be. " * 3
    assert [len(clause) for clause in written(text)] == [16, 27, 34, 61, 61, 1]


def test_a_dash_and_a_colon_end_a_first_clause():
    assert written("Here is my answer: it is blue")[0] == "Here is my answer:"
    assert written("That is a good one – I like it")[0] == "That is a good one – "
    assert written("That is a good one — I like it")[0] == "That is a good one —"


def test_quotes_and_brackets_stay_with_the_sentence_that_they_close():
    assert later('He said "Go!" Then he left (at last.) The end.') == [
        'He said "Go!"',
        "Then he left (at last.)",
        "The end.",
    ]


def test_a_text_without_punctuation_is_cut_at_a_space():
    clauses = written("word " * 200)
    assert all(len(clause) <= LONGEST_CLAUSE_CHARS for clause in clauses)
    assert all(clause.strip().replace("word", "").replace(" ", "") == "" for clause in clauses)


def test_a_text_without_any_space_is_cut_all_the_same():
    assert [len(clause) for clause in written("x" * 500)] == [LONGEST_CLAUSE_CHARS, LONGEST_CLAUSE_CHARS, 60]


def test_a_sentence_that_ends_far_away_is_bounded_too():
    assert max(len(clause) for clause in written("word " * 200 + "end. And on.")) <= LONGEST_CLAUSE_CHARS


def test_an_empty_text_has_no_clauses():
    assert cut("", "") == []


# ── where a full stop ends nothing ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "sentence",
    [
        "Ask Dr. Smith about it.",
        "Fruit, e.g. an apple, is good.",
        "Meet Mr. and Mrs. Jones.",
        "The U.S. economy grew.",
        "It opens at 5 p.m. on Sundays.",
        "J. R. R. Tolkien wrote it.",
        "Room No. 5 is yours.",
        "Nuts, seeds, etc. are fine.",
        "He was born on Jan. 5 in Rome.",
        "Pi is 3.14 or so.",
        "It costs $3.50 or £1,200.99 now.",
        "Version 2.0.1 is out.",
        "See voiceedge.example.com for more.",
        "(Prof. Plum did it.)",
    ],
)
def test_a_full_stop_inside_a_sentence_does_not_cut_it(sentence):
    assert later(f"{sentence} That is all.") == [sentence, "That is all."]


@pytest.mark.parametrize(
    "sentence", ["It opens at 5 p.m.", "She lives in the U.S.", "So do I.", "It is 42.", "Nuts, seeds, etc."]
)
def test_an_abbreviation_before_a_capital_ends_the_sentence(sentence):
    assert later(f"{sentence} Then we go.") == [sentence, "Then we go."]


def test_an_abbreviation_waits_for_the_word_behind_it():
    clauses = Clauses()
    clauses.push(OPENING + " ")
    assert clauses.push("At 5 p.m. ") == []
    assert [c.written for c in clauses.push("T")] == [" At 5 p.m."]


def test_an_abbreviation_at_the_end_of_a_line_ends_the_sentence():
    assert later("At 5 p.m.\nor later.") == ["At 5 p.m.", "or later."]


# ── what is spoken of it ──────────────────────────────────────────────────────────────────────────────────

MARKDOWN = "*_`~#|<>[](){}!-+=.:1\\ \n\t"


@given(st.text(st.sampled_from(MARKDOWN + "aB,?é😀\u200d\u2028•$/"), max_size=80))
@example("_a_ _ __b __")
@example("[a](b)[c]")
def test_no_mark_of_markdown_is_ever_spoken(text):
    for clause in cut(text):
        assert not set(clause.spoken) & set("*`~#|<>[]{}\\")
        # an underscore inside a name is part of it; one beside a word is emphasis
        assert not any(word.startswith("_") or word.endswith("_") for word in clause.spoken.split())


def test_an_emoji_is_written_but_not_spoken():
    (clause,) = cut("Sure 😀")
    assert (clause.written, clause.spoken) == ("Sure 😀", "Sure")


def test_the_items_of_a_list_are_clauses():
    assert written("You need these things:\n- milk\n- eggs\n") == ["You need these things:", "\n- milk\n", "- eggs\n"]
    assert [c.spoken for c in cut("First of all, do this:\n1. Boil it.\n2. Eat it.")] == [
        "First of all, do this:",
        "1, Boil it.",
        "2, Eat it.",
    ]


def test_a_code_block_is_never_cut_and_never_spoken():
    code = "```py\nx = 1. \ny = 2, \n" + "z = 3; \n" * 60 + "```"
    assert [c.spoken for c in cut(f"Here is how {code} And now run it.")] == ["Here is how", "And now run it."]


def test_a_code_block_that_begins_where_a_clause_would_be_cut_stays_whole():
    head = "x" * (LONGEST_CLAUSE_CHARS - 2)
    assert written(*f"{head}```code here``` And on.") == [f"{head}```code here```", " And on."]


def test_what_was_said_before_a_code_block_does_not_wait_for_its_end():
    clauses = Clauses()
    assert [c.spoken for c in clauses.push("Here you are. ```py\nx = 1\n")] == ["Here you are."]


def test_a_code_block_that_is_never_closed_is_given_up_at_some_length():
    assert len(cut("Look: ```" + "x = 1\n" * 3000)) > 2


# ── whatever the chunks ───────────────────────────────────────────────────────────────────────────────────

WORDS = [
    "Well",
    " no",
    " Dr.",
    " p.m.",
    " U.S.",
    " I.",
    " 3.5",
    " 1.",
    ".",
    ",",
    "?!",
    "…",
    '"',
    ")",
    ": ",
    " – ",
    " — ",
]
MARKS = [
    "\n",
    "\n\n",
    " ",
    "  ",
    "\n- ",
    "\n2. ",
    "```",
    "``",
    "**",
    "_",
    " [a, b](http://x.y) ",
    " 😀",
    " The",
    " cat",
    " with",
    " throughout ",
    " to",
    " which",
    " (",
    " word" * 50,
]
texts = st.lists(st.sampled_from(WORDS + MARKS), max_size=25).map("".join)


@given(texts, st.data())
@example("x " * 600 + "end. More.", None)
def test_the_clauses_add_up_to_the_text_and_are_the_same_however_it_comes(text, data):
    letters = cut(*text)
    assert "".join(clause.written for clause in letters) == text
    assert cut(text) == letters
    if data is not None:
        at = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
        assert cut(*(text[a:b] for a, b in zip([0, *at], [*at, len(text)], strict=True))) == letters


@given(texts.filter(lambda text: "`" not in text))
def test_no_clause_is_longer_than_the_longest(text):
    assert all(0 < len(clause.written) <= LONGEST_CLAUSE_CHARS for clause in cut(text))
