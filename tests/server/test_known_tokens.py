"""Who was let in is known again, and what is remembered of them is bounded and opens nothing."""

from voiceedge.server.known_tokens import MAX_TOKENS, KnownTokens


def test_a_token_is_known_until_it_is_forgotten():
    known = KnownTokens()
    assert "a.b.c" not in known
    known.remember("a.b.c")
    assert "a.b.c" in known
    assert "a.b.d" not in known
    known.forget("a.b.c")
    known.forget("never.known.\ud800")
    assert "a.b.c" not in known


def test_tokens_without_end_take_no_memory_without_end():
    known = KnownTokens()
    known.remember("kept")
    known.remember("first")
    for number in range(MAX_TOKENS - 1):
        known.remember(str(number))
        known.remember("kept")
    assert len(known._tokens) == MAX_TOKENS
    assert "kept" in known
    assert "first" not in known


def test_no_token_is_kept_itself():
    known = KnownTokens()
    known.remember("a.b.c")
    assert "a.b.c" not in str(known._tokens)
