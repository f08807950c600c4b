import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceedge.conversation.speakable import speakable


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("This is **very** important.", "This is very important."),
        ("This is *so* _nice_, ***really***.", "This is so nice, really."),
        ("Use `print` and ~~this~~ that.", "Use print and this that."),
        ("# Title\nText.", "Title Text."),
        ("> quoted", "quoted"),
        ("- milk\n- eggs\n* tea\n• jam", "milk eggs tea jam"),
        ("1. Boil water.\n2. Add tea.", "1, Boil water. 2, Add tea."),
        ("See [the docs](https://example.com/a_b), please.", "See the docs, please."),
        ("![a cat](cat.png) sits.", "a cat sits."),
        ("Go to https://www.example.com/long/path?x=1 now.", "Go to example.com now."),
        ("Before ```py\nx = 1\n``` after.", "Before after."),
        ("Never closed ```py\nx = 1", "Never closed"),
        ("Great 😀! 👩‍🚀 Well 👍🏽.", "Great! Well."),
        ("a | b\n---|---\n1 | 2", "a b 1 2"),
        ("That costs $3.50, or 20% more.", "That costs $3.50, or 20% more."),
        ("It’s a “test” – isn’t it?", "It’s a “test” – isn’t it?"),
        ("snake_case stays, _ goes", "snake_case stays, goes"),
        ("_Half of an emphasis", "Half of an emphasis"),
        ("zero\u200bwidth and\u00a0hard\tspaces", "zerowidth and hard spaces"),
        ("caf\u00e9 na\u00efve 日本", "caf\u00e9 na\u00efve 日本"),
        ("2 + 2 = 4", "2 + 2 = 4"),
        ("...", ""),
        ("😀", ""),
        ("---", ""),
        ("```\ncode\n```", ""),
    ],
)
def test_only_the_words_are_spoken(text, spoken):
    assert speakable(text) == spoken


@given(st.text(max_size=80))
def test_what_is_spoken_is_one_line_without_emoji_or_controls_and_has_a_word(text):
    spoken = speakable(text)
    assert spoken == spoken.strip()
    assert "  " not in spoken
    assert not any(unicodedata.category(char) in {"So", "Sk", "Cc", "Cf", "Cs"} for char in spoken if char != "°")
    assert not spoken or any(char.isalnum() for char in spoken)


def test_degrees_are_spoken():
    assert speakable("It is **24 °C** today.") == "It is 24 °C today."
