import pytest

from voiceedge.conversation.backchannel import is_backchannel


@pytest.mark.parametrize(
    "text",
    [
        "uh-huh",
        "Uh-huh.",
        "Okay.",
        "mm",
        "Mm-hmm.",
        "Right.",
        "Yeah.",
        "yeah, yeah",
        "Oh, I see.",
        "got it",
        "All right.",
    ],
)
def test_who_says_go_on_takes_no_turn(text):
    assert is_backchannel(text)


@pytest.mark.parametrize(
    "text",
    [
        "No.",
        "Stop!",
        "Wait.",
        "Okay, stop.",
        "Right, but what about Paris?",
        "Yeah I want two",
        "Really?",
        "Hello?",
        "I",
    ],
)
def test_who_asks_objects_or_goes_on_does(text):
    assert not is_backchannel(text)


def test_many_small_words_are_no_backchannel():
    assert not is_backchannel("yeah yeah yeah yeah okay")


@pytest.mark.parametrize("text", ["", "  ", "...", "?"])
def test_nothing_is_no_backchannel(text):
    assert not is_backchannel(text)
