import pytest

from voiceedge.conversation.phrases import _OPENERS, LONGEST_OPENER_CHARS, ends_phrase


@pytest.mark.parametrize(
    "sentence",
    [
        "The capital of France | is",
        "I can help you | with",
        "The weather in New York | can",
        "A dog named Max | was",
        "Photosynthesis is the process | by",
        "The sky is blue | because",
        "The ocean is a vast realm | that",
        "To make eggs you whisk them | in",
        "The difference between a cat and a dog | lies",
        "I would be very happy | to",
        "She bought some bread | and",
        "The year was 1066 | when",
        'The word "river" appears twice here | in',
    ],
)
def test_a_speaker_could_breathe_here(sentence):
    phrase, opener = sentence.split(" | ")
    assert ends_phrase(phrase, opener)


@pytest.mark.parametrize(
    ("sentence", "why"),
    [
        ("The sky | is", "too short"),
        ("You can stay in the | in", "an article asks for its noun"),
        ("They all live in | on", "a preposition asks for its noun"),
        ("It is made of | in", "a preposition asks for its noun"),
        ("I think it is very | in", "an intensifier asks for its adjective"),
        ("You should eat many | with", "a quantity asks for its noun"),
        ("That is a quick | and", "two adjectives before one noun"),
        ("Numbers between five | and", "a pair"),
        ("The distance between a star | and", "a pair"),
        ("The play about Romeo | and", "inside a name"),
        ("He works at the Bank | in", "perhaps inside a name"),
        ("It costs about 3.5 | to", "a number asks for its unit"),
        ("There are some twenty-five | in", "a number asks for its unit"),
        ("The man that you | can", "a pronoun and its verb"),
        ("The sun is usually | is", "an adverb and its verb"),
        ("I really do want | to", "a verb that asks for its infinitive"),
        ("I want you | to", "too short for an infinitive"),
        ("This one really depends | on", "a verb that asks for its preposition"),
        ('He said "I am here | with', "inside a quotation"),
        ("The result (a number | with", "inside a bracket"),
        ("This is **very good | with", "inside an emphasis"),
        ("It opens at 2:30 p.m. | on", "behind an abbreviation"),
        ("The capital of France | city", "not a word that opens a phrase"),
        ("The capital of France | withdraw", "only begins like one"),
    ],
)
def test_a_speaker_would_not_breathe_here(sentence, why):
    phrase, opener = sentence.split(" | ")
    assert not ends_phrase(phrase, opener), why


def test_a_word_that_opens_a_phrase_is_known_within_its_length():
    assert max(map(len, _OPENERS)) == LONGEST_OPENER_CHARS
