import pytest

from tests.real import engines
from voiceedge.engines.onnx_llm import OnnxLlm
from voiceedge.engines.sentence_end import SentenceEndByLlm

pytestmark = pytest.mark.models


@pytest.fixture(scope="module")
def sentence_end():
    llm = engines("nano").llm
    assert isinstance(llm, OnnxLlm)
    return SentenceEndByLlm(llm)


@pytest.mark.parametrize(
    ("beginning", "whole"),
    [
        ("What time does the", "What time does the shop close?"),
        ("I would like a cup of", "I would like a cup of tea."),
        ("Turn off the light in the", "Turn off the light in the kitchen."),
    ],
)
def test_a_sentence_ends_likelier_than_its_beginning(sentence_end, beginning, whole):
    assert sentence_end.probability(whole) > 0.1 > 10 * sentence_end.probability(beginning)


def test_the_final_mark_proves_nothing(sentence_end):
    assert sentence_end.probability("I would like a cup of.") == sentence_end.probability("I would like a cup of")


def test_one_text_leaves_nothing_behind_for_the_next(sentence_end):
    before = sentence_end.probability("Where are my keys?")
    sentence_end.probability("The old bridge was closed because of the flood and so we had to walk.")
    assert sentence_end.probability("Where are my keys?") == before


def test_only_the_end_of_a_long_text_is_read(sentence_end):
    end = " We went home because it was late." * 3
    assert sentence_end.probability("So it was. " * 400 + end) == pytest.approx(
        sentence_end.probability("So it is. " * 400 + end), abs=0.05
    )


@pytest.mark.parametrize("text", ["", " ", "..."])
def test_without_words_there_is_nothing_to_judge(sentence_end, text):
    assert sentence_end.probability(text) is None
