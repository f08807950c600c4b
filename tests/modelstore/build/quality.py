"""How much of a model quantisation leaves: perplexity on a fixed text and agreement of greedy answers."""

from __future__ import annotations

import numpy as np

from voiceedge.engines import Message, Prompt

TEXT = """The lighthouse at the end of the bay was built in 1821, after three merchant ships had been lost on the
rocks in a single winter. Its first keeper, a retired sailor named Thomas Hale, lived there with his wife and
their two daughters for almost thirty years. Every evening he climbed the hundred and twelve steps to the
lantern room, trimmed the wicks, filled the lamps with oil and wrote down the weather in a large leather book.
Those books still exist. They are kept in the town library, and historians have used them to describe how the
climate of the coast has changed over the last two centuries.

Life on the rock was not easy. In bad weather no boat could land, and the family had to live on dried fish,
potatoes and whatever they had stored in the cellar. The younger daughter, Mary, taught herself to read from the
only books in the house, an old Bible and a manual of navigation. When she was fifteen she rescued four men
from a sinking boat, and the newspapers in London wrote about her for weeks. She received a medal from the king
and dozens of letters, but she refused to leave the lighthouse.

Today the light is automatic. A small computer switches it on when the sun goes down, and an engineer visits
twice a year to clean the lens and check the batteries. Most ships find their way by satellite, so there is
little need for the old tower. Even so, the people of the town voted to keep it. They say that on a dark night
it is good to see that somebody is still watching, even if that somebody is only a machine. In the summer
tourists come to take pictures, and children count the seconds between the flashes: one, two, three, four, five."""

QUESTIONS = """What is the capital of France?
How many legs does a spider have?
What is the largest ocean on Earth?
Who wrote Romeo and Juliet?
What colour is the sky on a clear day?
How do I boil an egg?
What is the opposite of hot?
Tell me a short story about a dog.
What is seven times eight?
Name three fruits.
Why do leaves fall in autumn?
What is the boiling point of water?
Can you recommend a book?
How far away is the moon?
What day comes after Monday?
Explain gravity in one sentence.
What do bees make?
Who painted the Mona Lisa?
How many minutes are in an hour?
What is a good breakfast?
What language is spoken in Brazil?
How do planes fly?
What is the fastest land animal?
Give me a tip for sleeping better.
What is the square root of nine?
Where do penguins live?
What is the currency of Japan?
How do I make tea?
What is photosynthesis?
Which planet is known as the red planet?
What should I wear when it rains?
How old is the universe?
What is the tallest mountain in the world?
Tell me something about Rome.
What is the freezing point of water?
How many continents are there?
What does a doctor do?
Who was the first person on the moon?
What is bread made of?
How do I say hello in Spanish?
What is the largest mammal?
Why is exercise important?
What is the capital of Italy?
How many days are in a year?
What is a computer?
Who discovered penicillin?
What is the main ingredient of an omelette?
What is the longest river in Africa?
How do I fix a flat tyre?
What is your name?""".splitlines()

FIRST_TOKENS = 8


def perplexity(stream, tokens, chunk=32):
    """Exp of the mean negative log-likelihood of `tokens` behind the first.

    The graph gives logits for the last position only; every position is scored with its context prefilled in
    chunks, as a prompt is, and by single tokens, as an answer is: the kernels differ.
    """
    losses = []
    past = 0
    for position in range(1, len(tokens)):
        if chunk > 1:
            past = max(0, (position - 1) // chunk * chunk)
            logits = stream._lane.run(tokens[past:position], past)
        else:
            logits = stream._lane.run(tokens[position - 1 : position], position - 1)
        losses.append(loss(logits, tokens[position]))
    return float(np.exp(np.mean(losses)))


def loss(logits, token):
    high = logits.max()
    return float(high + np.log(np.exp(logits - high, dtype=np.float64).sum()) - logits[token])


def greedy(llm, stream, count=FIRST_TOKENS):
    """First `count` greedy tokens of the answer to each question."""
    answers = []
    for question in QUESTIONS:
        prompt = llm.chat.tokens(Prompt((Message("user", question),)))
        logits = stream._lane.run(prompt, 0)
        answer = []
        while True:
            answer.append(int(logits.argmax()))
            if len(answer) == count or answer[-1] in llm.stop_tokens:
                break
            logits = stream._lane.run(answer[-1:], len(prompt) + len(answer) - 1)
        answers.append(answer)
    return answers


def agreement(answers, others):
    """Share of the first tokens that both chose at the same place."""
    same = sum(a == b for one, other in zip(answers, others, strict=True) for a, b in zip(one, other, strict=False))
    total = sum(max(len(one), len(other)) for one, other in zip(answers, others, strict=True))
    return same / total


def forced_agreement(llm, stream, answers):
    """Share of the tokens of `answers` that would be chosen given the ones before."""
    same = total = 0
    for question, answer in zip(QUESTIONS, answers, strict=True):
        prompt = llm.chat.tokens(Prompt((Message("user", question),)))
        logits = stream._lane.run(prompt, 0)
        for at, token in enumerate(answer):
            same += int(logits.argmax()) == token
            total += 1
            if at + 1 < len(answer):
                logits = stream._lane.run([token], len(prompt) + at)
    return same / total
