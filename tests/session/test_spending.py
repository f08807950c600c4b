import pytest

from voiceedge.errors import Refused
from voiceedge.session.spending import Spending


class Told:
    """An allowance that hears of tokens."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    async def message(self, size_bytes: int) -> None:
        raise NotImplementedError

    async def audio(self, seconds: float) -> None:
        raise NotImplementedError

    def tokens(self, count: int) -> None:
        self.counts.append(count)


def test_answers_may_begin_until_the_limit_is_reached_and_everybody_hears_of_them():
    told = Told()
    spending = Spending(10, told)
    spending.check()
    spending.took(9)
    spending.check()
    spending.took(5)
    assert spending.is_over
    with pytest.raises(Refused, match="10 tokens and have had 14") as caught:
        spending.check()
    assert caught.value.wire_code == "session_tokens_reached"
    assert told.counts == [9, 5]


def test_without_a_limit_there_is_none():
    spending = Spending(0, Told())
    spending.took(10**9)
    spending.check()
    assert not spending.is_over
