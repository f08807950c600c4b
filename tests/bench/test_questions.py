from voiceedge.bench.questions import questions
from voiceedge.bench.words import words


def test_the_script_holds_single_utterances_of_different_lengths():
    asked = questions()
    assert 20 <= len(asked) <= 30
    assert len(set(asked)) == len(asked)
    lengths = [len(words(text)) for text in asked]
    assert min(lengths) >= 3
    assert max(lengths) <= 20
    assert len(set(lengths)) > 6


def test_they_can_be_spoken_as_they_stand():
    for text in questions():
        assert text.isascii()
        assert not any(map(str.isdigit, text))
        assert text[-1] in ".?"
        assert not text.startswith("#")
