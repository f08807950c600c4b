import asyncio
import time

import numpy as np
import pytest

from tests.e2e.caller import calling
from tests.e2e.nodes import running_node
from voiceedge.conversation.history import Item
from voiceedge.engines.fake import fake_engines
from voiceedge.errors import EngineFailed
from voiceedge.protocol.extensions import TurnWords
from voiceedge.session.turn import Turn, Utterance
from voiceedge.trace import TurnTrace


def a_turn(utterance=None, said=None):
    turn = Turn(None, TurnTrace(1, 0.0), utterance, None, None)
    if said is not None:
        turn.message = Item("item_2", "message", "assistant", said)
    return turn


async def heard(text=None, error=None):
    words = asyncio.get_running_loop().create_future()
    if text is not None:
        words.set_result(text)
    if error is not None:
        words.set_exception(error)
    return Utterance("item_1", np.zeros(0, np.float32), TurnTrace(1, 0.0), words)


async def test_the_words_of_a_turn_are_the_users_and_the_answers():
    assert a_turn(await heard("Paris?"), "Yes.").words() == TurnWords("Paris?", "Yes.")


async def test_who_asks_in_writing_was_not_heard_and_an_answer_may_have_no_words():
    assert a_turn(None, "Yes.").words() == TurnWords(None, "Yes.")
    assert a_turn(await heard("Paris?")).words() == TurnWords("Paris?", None)


@pytest.mark.parametrize("known", [{}, {"text": ""}, {"error": EngineFailed("It broke.")}])
async def test_words_that_are_not_known_are_none(known):
    assert a_turn(await heard(**known), "Yes.").words().heard is None


async def test_a_turn_says_when_it_began_by_the_clock_of_the_wall():
    before = time.time()
    with running_node(fake_engines()) as node:
        async with calling(node.url) as caller:
            await caller.send("response.create")
            turn = await caller.until("voiceedge.turn")
    assert before < turn["zero_at"] < turn["zero_at"] + turn["total_ms"] / 1000 < time.time()
    assert "words" not in turn
