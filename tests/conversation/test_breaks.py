from voiceedge.conversation.breaks import LOOKAHEAD_CHARS, Break, Kind, breaks

TEXT = "The old house on the hill is empty, but Dr. Smith (its owner) will be back. Soon!\nYes"


def found(text, longest=1000):
    return list(breaks(text, longest))


def test_each_place_says_what_ends_there():
    assert [(TEXT[: at.end].rsplit(maxsplit=1)[-1], at.kind) for at in found(TEXT)] == [
        ("hill", Kind.PHRASE),
        ("empty,", Kind.PART),
        ("Smith", Kind.PHRASE),
        ("back.", Kind.SENTENCE),
        ("Soon!", Kind.SENTENCE),
        ("Soon!", Kind.SENTENCE),  # the line behind it
    ]


def test_what_was_told_is_never_taken_back_and_is_told_in_time():
    whole = found(TEXT)
    for end in range(len(TEXT)):
        seen = found(TEXT[:end])
        assert seen == whole[: len(seen)]
        assert all(at in seen for at in whole if at.end + LOOKAHEAD_CHARS <= end)


def test_there_is_no_place_in_a_code_block():
    assert found("Well: ```a, b. c``` So") == [Break(5, Kind.PART)]
